"""The outbox file: one user's at one server, and readable by its owner alone."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import landline
from landline.client import ClientError, ForeignOutbox, OutboxInUse
from landline.client.looking import DETAILS, OUTBOX_APPLICATION_ID, SCHEMA
from landline.client.outbox import Draft, FileOutbox

USER, SERVER = "alice", "ws://chat.example.org/ws/chat"
DRAFT = Draft("r1", "bob", "kept")


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Whatever the account that runs the client has set."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def fill(path: Path, user: str = USER, server: str = SERVER) -> None:
    outbox = FileOutbox(path, user, server)
    await outbox.open()
    await outbox.add(DRAFT)
    await outbox.hand(["id"])
    await outbox.close()


async def test_a_new_file_is_its_owners_alone_whatever_the_umask(
    umask: int, tmp_path: Path
) -> None:
    path = tmp_path / "state" / "landline" / "alice.db"
    outbox = FileOutbox(path, USER, SERVER)
    await outbox.open()
    await outbox.add(DRAFT)
    assert {file.name: mode(file) for file in path.parent.iterdir()} == dict.fromkeys(
        ("alice.db", "alice.db-journal"), 0o600
    )
    assert [mode(path.parent), mode(path.parent.parent)] == [0o700, 0o700]
    await outbox.close()


async def test_a_directory_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    set_mode(tmp_path, 0o755)
    await fill(tmp_path / "alice.db")
    assert mode(tmp_path) == 0o755


@pytest.mark.parametrize("open_to_all", [0o644, 0o666, 0o664, 0o604])
async def test_a_file_of_before_is_closed_to_others_with_all_that_belongs_to_it(
    open_to_all: int, tmp_path: Path
) -> None:
    path = tmp_path / "alice.db"
    await fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO handed (id) VALUES ('in the WAL')")
        wal, shm = path.with_name("alice.db-wal"), path.with_name("alice.db-shm")
        copies = [(file, file.read_bytes()) for file in (wal, shm)]
    for file, content in copies:
        file.write_bytes(content)
    for file in (path, wal, shm):
        file.chmod(open_to_all)
    outbox = FileOutbox(path, USER, SERVER)
    drafts, _handed = await outbox.open()
    assert drafts == [DRAFT]
    assert [mode(file) for file in (path, wal, shm)] == [0o600] * 3
    await outbox.close()


async def test_a_second_chat_of_the_same_process_does_not_unlock_the_first(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    first = FileOutbox(path, USER, SERVER)
    await first.open()
    for _ in range(2):
        with pytest.raises(OutboxInUse):
            await FileOutbox(path, USER, SERVER).open()
    await first.add(DRAFT)
    await first.close()


@pytest.mark.parametrize(
    ("user", "server"),
    [
        ("bob", SERVER),
        ("Alice", SERVER),
        (USER, "wss://chat.example.org/ws/chat"),
        (USER, "ws://chat.example.org:8081/ws/chat"),
        (USER, "ws://chat.example.org/other/ws/chat"),
        (USER, "ws://chat.example.com/ws/chat"),
    ],
)
async def test_the_file_of_another_user_or_server_is_refused_and_stays_as_it_is(
    user: str, server: str, tmp_path: Path
) -> None:
    path = tmp_path / "alice.db"
    await fill(path)
    with pytest.raises(ForeignOutbox) as caught:
        await FileOutbox(path, user, server).open()
    assert (caught.value.user, caught.value.server) == (USER, SERVER)
    for part in (USER, SERVER, user, server, str(path)):
        assert part in str(caught.value)
    outbox = FileOutbox(path, USER, SERVER)
    drafts, handed = await outbox.open()
    assert (list(drafts), list(handed)) == ([DRAFT], ["id"])
    await outbox.close()


async def test_a_file_of_the_version_before_becomes_its_first_users(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE outbox (place INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE,
                recipient TEXT NOT NULL, content TEXT NOT NULL);
            CREATE TABLE handed (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
            INSERT INTO outbox (ref, recipient, content) VALUES ('r1', 'bob', 'kept');""")
    outbox = FileOutbox(path, USER, SERVER)
    drafts, _handed = await outbox.open()
    await outbox.close()
    assert drafts == [DRAFT]
    with pytest.raises(ForeignOutbox):
        await FileOutbox(path, "bob", SERVER).open()


@pytest.mark.parametrize(
    "kind",
    ["a directory", "no database", "below a file", "a pipe", "a loop of links", "below /proc"],
)
async def test_what_cannot_be_an_outbox_is_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "it"
    match kind:
        case "a directory":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "a loop of links":
            path.symlink_to(path)
        case "below /proc":
            path = Path("/proc/x/landline/alice.db")
        case _:
            path.write_text("not what SQLite wrote\n" * 100)
            set_mode(path, 0o644)
    if kind == "below a file":
        path /= "alice.db"
    with pytest.raises(ClientError, match="cannot use the outbox") as caught:
        await FileOutbox(path, USER, SERVER).open()
    assert str(path) in str(caught.value)
    assert "; give " in str(caught.value)
    assert "Errno" not in str(caught.value)
    if kind == "no database":
        assert mode(path) == 0o644


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE recipes (a);",
        "CREATE TABLE outbox (a); CREATE TABLE handed (b);",
        "CREATE TABLE outbox (place, ref, recipient, content);",
        "CREATE VIEW outbox AS SELECT 1;",
        "PRAGMA user_version = 3; PRAGMA application_id = 252006673;",
        "the schema; CREATE TABLE other (a);",
        "the schema; CREATE TRIGGER t AFTER INSERT ON outbox BEGIN DELETE FROM handed; END;",
        "the schema; PRAGMA application_id = 252006673;",
        "PRAGMA journal_mode = WAL; CREATE TABLE recipes (a);",
    ],
)
async def test_the_database_of_another_program_is_refused_and_stays_as_it_is(
    script: str, tmp_path: Path
) -> None:
    path = tmp_path / "its.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script.replace("the schema;", SCHEMA))
    set_mode(path, 0o644)
    before = path.read_bytes()
    with pytest.raises(ClientError, match="a database of another program"):
        await FileOutbox(path, USER, SERVER).open()
    assert (path.read_bytes(), mode(path)) == (before, 0o644)


async def test_an_outbox_says_whose_program_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    path.touch()  # an empty file is nobody's
    await fill(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (OUTBOX_APPLICATION_ID,)
    await fill_again(path)


async def fill_again(path: Path) -> None:
    outbox = FileOutbox(path, USER, SERVER)
    drafts, _handed = await outbox.open()
    await outbox.close()
    assert drafts == [DRAFT]


async def test_what_a_killed_process_left_in_the_journal_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    await fill(path)
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN EXCLUSIVE')\n"
        "c.execute('DELETE FROM outbox')\n"
        "rows = [(str(n) * 99,) for n in range(999)]\n"
        "c.executemany('INSERT INTO handed (id) VALUES (?)', rows)\n"
        "os._exit(0)\n"
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code, str(path)], check=True)
    journal = path.with_name("alice.db-journal")
    assert journal.stat().st_size > 0
    await fill_again(path)


@pytest.mark.parametrize("is_there", [False, True])
async def test_where_a_link_leads_to_is_its_owners_alone(
    umask: int, is_there: bool, tmp_path: Path
) -> None:
    there, link = tmp_path / "there" / "real.db", tmp_path / "link.db"
    if is_there:
        await fill(there)
        set_mode(there, 0o644)
    link.symlink_to(there)
    outbox = FileOutbox(link, USER, SERVER)
    await outbox.open()
    await outbox.hand(["id 2"])
    assert link.is_symlink()
    assert {file.name: mode(file) for file in there.parent.iterdir()} == dict.fromkeys(
        ("real.db", "real.db-journal"), 0o600
    )
    await outbox.close()


async def test_a_file_may_have_the_name_that_sqlite_uses_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await fill(Path(":memory:"))
    outbox = FileOutbox(Path(":memory:"), USER, SERVER)
    drafts, _handed = await asyncio.wait_for(outbox.open(), 60)
    await outbox.close()
    assert drafts == [DRAFT]


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


async def test_what_belongs_to_a_draft_is_kept_for_as_long_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    rich = [
        Draft("r2", "bob", "with data", {"n": 1}),
        Draft("r3", "", "", change={"type": "create", "title": None}),
    ]
    await fill(path)
    assert "details" not in tables(path)
    outbox = FileOutbox(path, USER, SERVER)
    await outbox.open()
    for draft in rich:
        await outbox.add(draft)
    await outbox.remove([DRAFT.ref, "r2"])
    await outbox.close()
    assert "details" in tables(path)
    outbox = FileOutbox(path, USER, SERVER)
    drafts, _handed = await outbox.open()
    assert drafts == rich[1:]
    await outbox.remove(["r3"])
    await outbox.add(rich[0])  # and it is made anew
    await outbox.remove(["r2"])
    await outbox.close()
    assert "details" not in tables(path)


OPEN_BEFORE = """
import asyncio, sys
from pathlib import Path
from landline.client.outbox import FileOutbox
drafts, handed = asyncio.run(FileOutbox(Path(sys.argv[1]), sys.argv[2], sys.argv[3]).open())
print([draft.ref for draft in drafts], list(handed))
"""


@pytest.mark.parametrize("was_killed", [False, True])
async def test_the_version_before_can_use_the_file_where_no_request_waits(
    was_killed: bool, tmp_path: Path, version_before: Path
) -> None:
    path = tmp_path / "alice.db"
    await fill(path)
    if was_killed:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(DETAILS)
    outbox = FileOutbox(path, USER, SERVER)
    await outbox.open()
    if not was_killed:
        await outbox.add(Draft("r2", "", "", change={"type": "create"}))
        await outbox.remove(["r2"])
    await outbox.close()
    opened = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", OPEN_BEFORE, str(path), USER, SERVER],
        env={**os.environ, "PYTHONPATH": str(version_before), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (opened.stdout, opened.stderr) == ("['r1'] ['id']\n", "")


@pytest.mark.parametrize(
    "fields",
    [
        '{"data": null, "change": null, "reply_to": "x"}',
        '{"data": [1]}',
        '{"change": {"title": "Lunch"}}',
        '{"change": "create"}',
        "[]",
        "{",
        "",
    ],
)
async def test_a_draft_that_this_version_cannot_read_is_told_in_a_sentence(
    fields: str, tmp_path: Path
) -> None:
    path = tmp_path / "alice.db"
    await fill(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(DETAILS)
        connection.execute("INSERT INTO details VALUES ('r1', ?)", (fields,))
    with pytest.raises(ClientError, match="this version cannot read; use the version") as caught:
        async with landline.connect(SERVER, username=USER, outbox=path):
            pass
    assert str(path) in str(caught.value)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT fields FROM details").fetchall() == [(fields,)]


async def test_what_a_later_version_left_empty_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "alice.db"
    await fill(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(DETAILS)
        given = '{"data": {"n": 1}, "change": null, "reply_to": null}'
        connection.execute("INSERT INTO details VALUES ('r1', ?)", (given,))
    outbox = FileOutbox(path, USER, SERVER)
    drafts, _handed = await outbox.open()
    await outbox.close()
    assert drafts == [Draft("r1", "bob", "kept", {"n": 1})]
