"""A server starts on the file of the version before: what was owed arrives, and nothing else."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from landline.model import Mailbox, Message, Position, Receipt
from support.data_directory import NAME, read, refused
from support.peer import Peer, until_caught_up
from support.server import ServerProcess
from support.version_1 import make_file
from support.waiting import until

COUNT = 20_000  # enough that the old table is still there a second later
OWED = 100


def id_of(number: int) -> str:
    return f"{number:08x}-0000-8000-8000-00000000c0de"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Alice has written much to bob, who has received all but the last messages."""
    messages = [
        Message(
            id_of(number), "dm:alice:bob", "alice", ("bob",), "hello", Position(0, number), 1_000
        )
        for number in range(COUNT)
    ]
    at = "2026-01-01T00:00:00.000Z"
    received = messages[: COUNT - OWED]
    receipts = [Receipt(each.id, Mailbox("bob"), at, COUNT) for each in received]
    make_file(tmp_path / "data", messages, receipts)
    return tmp_path / "data"


def old_rows(data_dir: Path) -> int | None:
    """Return how many rows the table has that the upgrade has put aside; None: it is gone."""
    if not read(data_dir / NAME, "SELECT 1 FROM sqlite_schema WHERE name = 'deliveries_1'"):
        return None
    [[count]] = read(data_dir / NAME, "SELECT count(*) FROM deliveries_1")
    assert isinstance(count, int)
    return count


async def test_a_server_goes_on_with_the_file_of_the_version_before(data_dir: Path) -> None:
    """Though it is killed while it still tidies up."""
    server = ServerProcess(data_dir)
    with server:
        async with Peer(server.ws_url, "bob", acks=False) as bob:
            await until_caught_up(bob)
            wanted = {id_of(number) for number in range(COUNT - OWED, COUNT)}
            assert bob.received == wanted
        server.kill()
        left = old_rows(data_dir)
        assert left is not None
        server.start()
        async with Peer(server.ws_url, "bob") as bob, Peer(server.ws_url, "alice") as alice:
            frame = await alice.send_and_wait("bob", "after")
            wanted.add(str(frame["id"]))
            await until(lambda: bob.received == wanted, "bob has them all")
            await until(lambda: "upgrade_tidied_up" in server.log(), "the old table is gone")
            await until(
                lambda: read(data_dir / NAME, "SELECT count(*) FROM pending") == [(0,)],
                "every receipt is applied",
            )
        assert server.stop() == 0
    assert old_rows(data_dir) is None
    lines = [json.loads(line) for line in server.log().splitlines()]
    upgrade = [each for each in lines if each["event"].startswith("upgrade")]
    events = [each["event"] for each in upgrade]
    assert events == ["upgrade_begins", "upgrade_ends", "upgrade_tidied_up"]
    assert upgrade[0]["messages"] == upgrade[1]["messages"] == COUNT
    assert upgrade[1]["pending"] == OWED
    assert upgrade[2]["rows"] <= left


async def test_a_lock_that_somebody_holds_is_waited_for_and_the_file_stays_as_it_was(
    data_dir: Path,
) -> None:
    with closing(sqlite3.connect(data_dir / NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "is locked by another program" in refused(data_dir)
        other.execute("ROLLBACK")
        assert other.execute("PRAGMA user_version").fetchone() == (1,)
        assert other.execute("SELECT count(*) FROM deliveries").fetchone() == (COUNT,)
