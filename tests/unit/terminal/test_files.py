"""The file of unsent lines: one user's at one full address, and no secret in its name."""

import itertools
import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from landline.client import ClientError, OutboxInUse
from landline.client.looking import Looks, look
from landline.client.outbox import Draft, FileOutbox
from landline.terminal.files import default_outbox, take_over


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "landline"


def test_every_user_at_every_address_has_a_file_of_their_own(state: Path) -> None:
    urls = [
        "ws://h/ws/chat", "wss://h/ws/chat", "ws://h:81/ws/chat", "ws://h/a/ws/chat",
        "ws://h/a_ws/chat", "ws://h_81/ws/chat", "ws://[::1]:81/ws", "ws://1_81/ws",
    ]  # fmt: skip
    users = ["alice", "Alice", "bob", "..", "x" * 64, "\u00e9" * 32, "@", "a@h"]
    files = [default_outbox(url, user) for url, user in itertools.product(urls, users)]
    assert len({str(file).casefold() for file in files}) == len(files)
    assert {file.parent for file in files} == {state}
    assert all(len(os.fsencode(f"{file.name}-journal")) <= 255 for file in files)


def test_two_spellings_of_one_address_are_one() -> None:
    spellings = ["ws://h/ws", "WS://H:80/ws", "ws://h./ws", "ws://user:pass@h/ws", "ws://h/ws?a=b"]
    assert len({default_outbox(url, "alice") for url in spellings}) == 1


def test_no_secret_is_in_the_name() -> None:
    url = "wss://user:hunter2@chat.example.org/hunter2/ws?token=hunter2"
    name = default_outbox(url, "alice").name
    assert "hunter2" not in name
    assert "user" not in name
    assert name.startswith("alice@chat.example.org-")
    long = default_outbox(f"ws://{'x' * 63}.{'y' * 63}.{'z' * 63}/ws", "alice")
    assert len(long.name) < 255


@pytest.mark.parametrize("given", ["", "relative/path"])
def test_what_is_no_state_directory_is_not_used(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", given)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = tmp_path / ".local" / "state" / "landline"
    assert default_outbox("ws://h/ws", "alice").parent == expected


def test_without_a_home_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ClientError, match="set XDG_STATE_HOME"):
        default_outbox("ws://h/ws", "alice")


URL = "ws://user:hunter2@h:81/ws"


async def kept(path: Path) -> list[Draft]:
    outbox = FileOutbox(path, "alice", "ws://h:81/ws")
    drafts, _handed = await outbox.open()
    await outbox.close()
    return list(drafts)


@pytest.fixture
def before(state: Path) -> Path:
    """The file as an earlier version named it, with a line that a killed process left."""
    state.mkdir()
    path = state / "alice@user_hunter2@h_81.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE outbox (place INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE,
                recipient TEXT NOT NULL, content TEXT NOT NULL);
            CREATE TABLE handed (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
            INSERT INTO outbox (ref, recipient, content) VALUES ('r1', 'bob', 'unsent');""")
    return path


async def test_the_file_of_an_earlier_version_is_taken_over(before: Path) -> None:
    outbox = default_outbox(URL, "alice")
    take_over(URL, "alice", outbox)
    assert not before.is_file()  # noqa: ASYNC240 - a file of the test
    assert await kept(outbox) == [Draft("r1", "bob", "unsent")]
    take_over(URL, "alice", outbox)  # there is nothing more to do


async def test_it_is_left_alone_where_there_is_a_newer_one(before: Path) -> None:
    outbox = default_outbox(URL, "alice")
    await kept(outbox)
    note = take_over(URL, "alice", outbox)
    assert note is not None
    assert str(before) in note
    assert await kept(outbox) == []
    assert before.is_file()  # noqa: ASYNC240 - a file of the test


def test_it_is_left_alone_while_an_earlier_version_uses_it(before: Path) -> None:
    with closing(sqlite3.connect(before, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OutboxInUse, match="another process"):
            take_over(URL, "alice", default_outbox(URL, "alice"))
        connection.execute("COMMIT")
    assert before.is_file()


@pytest.mark.parametrize("moment", ["before it is looked at", "after it was looked at"])
async def test_one_that_somebody_else_takes_over_meanwhile_is_not_emptied(
    before: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several pipes may have waited for the same chat of an earlier version to end."""
    outbox = default_outbox(URL, "alice")

    def meanwhile(path: Path) -> Looks:
        if moment.startswith("before"):
            before.rename(outbox)
            return look(path)
        looks = look(path)
        before.rename(outbox)
        return looks

    monkeypatch.setattr("landline.terminal.files.look", meanwhile)
    with pytest.raises(OutboxInUse, match="another process"):
        take_over(URL, "alice", outbox)
    assert await kept(outbox) == [Draft("r1", "bob", "unsent")]
    assert not before.exists()  # noqa: ASYNC240 - a file of the test
    take_over(URL, "alice", outbox)  # there is nothing more to do


def test_a_file_that_is_no_outbox_is_named(state: Path) -> None:
    state.mkdir()
    before = state / "alice@h.db"
    before.write_text("not what SQLite wrote\n" * 100)
    with pytest.raises(ClientError, match="cannot use the outbox"):
        take_over("ws://h/ws", "alice", default_outbox("ws://h/ws", "alice"))


def leave(path: Path, lines: int, owner: tuple[str, str] | None = None) -> None:
    """Leave a file as an earlier version did."""
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE outbox (place INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE,
                recipient TEXT NOT NULL, content TEXT NOT NULL);
            CREATE TABLE handed (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
            CREATE TABLE owner (
                only INTEGER PRIMARY KEY CHECK (only = 1),
                user TEXT NOT NULL, server TEXT NOT NULL);
            """)
        if owner is None:
            connection.execute("DROP TABLE owner")
        else:
            connection.execute("INSERT INTO owner VALUES (1, ?, ?)", owner)
        rows = [(f"r{number}", "bob", "unsent") for number in range(lines)]
        connection.executemany(
            "INSERT INTO outbox (ref, recipient, content) VALUES (?, ?, ?)", rows
        )


@pytest.mark.parametrize(
    ("url", "user", "owner", "is_taken"),
    [
        ("ws://h:81/ws", "alice", None, True),
        ("ws://h:81/ws/chat", "alice", None, True),
        ("wss://h:81/ws/chat?a=b", "alice", None, True),
        ("ws://h:81/b/ws", "alice", None, False),
        ("ws://h:81/ws/", "alice", None, False),
        ("ws://h:81", "alice", None, False),
        ("ws://h/ws", "alice", None, False),  # they may have been for wss://h/ws, and not readable
        ("wss://h/ws", "alice", None, False),
        ("ws://h:81/ws", "alice@x", None, False),
        ("ws://h/b/ws", "alice", ("alice", "ws://h/b/ws"), True),
        ("ws://h:81/ws", "alice", ("alice", "ws://h:81/a/ws"), False),
        ("ws://h:81/ws", "alice", ("bob", "ws://h:81/ws"), False),
    ],
)
def test_it_is_taken_over_only_where_it_can_be_no_other_addresss(
    url: str, user: str, owner: tuple[str, str] | None, is_taken: bool, state: Path
) -> None:
    before = state / f"{user}@{'h_81' if ':81' in url else 'h'}.db"
    leave(before, 2, owner)
    outbox = default_outbox(url, user)
    note = take_over(url, user, outbox)
    assert (outbox.is_file(), before.is_file()) == (is_taken, not is_taken)
    if is_taken:
        assert note is None
    else:
        assert note is not None
        assert note.startswith(f"2 unsent lines are in {before}")
        assert shlex.join(["mv", str(before), str(outbox)]) in note


def test_nothing_is_said_of_a_file_without_lines(state: Path) -> None:
    leave(state / "alice@h.db", 0)
    assert take_over("ws://h/b/ws", "alice", default_outbox("ws://h/b/ws", "alice")) is None


@pytest.mark.parametrize("lines", [0, 2])
@pytest.mark.parametrize("is_link", [False, True])
@pytest.mark.parametrize("endings", [[""], ["", "-journal", "-wal", "-shm"]])
def test_what_is_left_alone_is_closed_to_others(
    endings: list[str], is_link: bool, lines: int, state: Path, tmp_path: Path
) -> None:
    before = state / "alice@h.db"
    leave(before, lines)
    if is_link:
        before = before.rename(tmp_path / "elsewhere.db")
        (state / "alice@h.db").symlink_to(before)
    files = [before.with_name(before.name + ending) for ending in endings]
    for file in files:
        file.touch()
        file.chmod(0o644)
    take_over("ws://h/b/ws", "alice", default_outbox("ws://h/b/ws", "alice"))
    left = [file for file in files if file.exists()]
    assert before in left
    assert {file.stat().st_mode & 0o777 for file in left} == {0o600}


def test_what_is_no_outbox_keeps_its_mode(state: Path) -> None:
    state.mkdir()
    before = state / "alice@h.db"
    with closing(sqlite3.connect(before)) as connection, connection:
        connection.execute("CREATE TABLE others (id)")
    before.chmod(0o644)
    with pytest.raises(ClientError):
        take_over("ws://h/b/ws", "alice", default_outbox("ws://h/b/ws", "alice"))
    assert before.stat().st_mode & 0o777 == 0o644


def test_a_place_where_no_file_can_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("x" * 300)))
    outbox = default_outbox("ws://h/ws", "alice")
    with pytest.raises(ClientError, match="set XDG_STATE_HOME") as caught:
        take_over("ws://h/ws", "alice", outbox)
    assert str(outbox) in str(caught.value)
