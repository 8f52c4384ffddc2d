"""The outbox file: one user's at one server, and readable by its owner alone."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from landline.client import ClientError, ForeignOutbox, OutboxInUse
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
        connection.execute("CREATE TABLE other (a)")
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


@pytest.mark.parametrize("kind", ["a directory", "no database", "below a file"])
async def test_what_cannot_be_an_outbox_is_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "it"
    if kind == "a directory":
        path.mkdir()
    else:
        path.write_text("not what SQLite wrote\n" * 100)
    if kind == "below a file":
        path /= "alice.db"
    with pytest.raises(ClientError, match="cannot use the outbox"):
        await FileOutbox(path, USER, SERVER).open()


async def test_a_file_may_have_the_name_that_sqlite_uses_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await fill(Path(":memory:"))
    outbox = FileOutbox(Path(":memory:"), USER, SERVER)
    drafts, _handed = await asyncio.wait_for(outbox.open(), 60)
    await outbox.close()
    assert drafts == [DRAFT]
