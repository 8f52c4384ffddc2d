"""The file of unsent lines: one user's at one full address, and no secret in its name."""

import itertools
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from landline.client import ClientError, OutboxInUse
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
    take_over(URL, "alice", outbox)
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


def test_a_file_that_is_no_outbox_is_named(state: Path) -> None:
    state.mkdir()
    before = state / "alice@h.db"
    before.write_text("not what SQLite wrote\n" * 100)
    with pytest.raises(ClientError, match="cannot use the outbox"):
        take_over("ws://h/ws", "alice", default_outbox("ws://h/ws", "alice"))
