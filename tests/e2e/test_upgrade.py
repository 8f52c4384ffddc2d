"""A server starts on the file of the version before: what was owed arrives, and nothing else."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from landline.model import Mailbox, Message, Position, Receipt
from support.command import run_landline
from support.data_directory import NAME, read, refused
from support.gadgets import check_once_and_in_order, come_and_go, device
from support.old_servers import age, renew
from support.peer import Frame, Peer, until_applied, until_caught_up
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


# --- a directory that a server of the version before has made -------------------------------------

HALF = 150
LAST = ("bob", "carol", "dave")


async def sent(sender: Peer, to: str, count: int) -> list[Frame]:
    """Send, wait for the answers, and return them in order."""
    refs = [await sender.send(to, f"{to} {number}") for number in range(count)]
    await until(lambda: not sender.unanswered, "all are answered")
    return [sender.accepted[ref] for ref in refs]


def ids_of(frames: list[Frame]) -> list[str]:
    return [str(frame["id"]) for frame in frames]


@pytest.mark.parametrize("end", [ServerProcess.stop, ServerProcess.kill], ids=["stopped", "killed"])
async def test_clients_go_from_a_server_of_the_version_before_to_this_one(
    tmp_path: Path, version_before: Path, end: Callable[[ServerProcess], object]
) -> None:
    """Some are connected until it ends, in the middle of what they say; some are away. What was
    owed comes, nothing that was delivered does, and repeats find their originals.
    """
    server = ServerProcess(tmp_path / "data")
    age(server, version_before)
    with server:
        url = server.ws_url
        async with (
            Peer(url, "alice") as alice,
            Peer(url, "bob", acks=False) as bob,
            Peer(url, "dave") as dave,
        ):
            assert read(server.data_dir / NAME, "PRAGMA user_version") == [(1,)]
            to_bob = await sent(alice, "bob", 2 * HALF - 50)
            to_carol, to_dave = await sent(alice, "carol", 100), await sent(alice, "dave", 100)
            to_herself = await sent(alice, "alice", 1)
            delivered = [*ids_of(to_bob)[:HALF], *ids_of(to_dave), *ids_of(to_herself)]
            await until(lambda: set(ids_of(to_bob)) <= bob.received, "bob has his")
            await bob.raw({"type": "ack", "ids": ids_of(to_bob)[:HALF]})
            await until(lambda: set(alice.statuses) == set(delivered), "those are delivered")
            await until_applied(url)  # or some of them come again, for the store lags behind
            # In the middle of that it ends; one that is stopped refuses what comes too late.
            said = {
                await alice.send(to, f"last {n} to {to}"): f"last {n} to {to}"
                for n in range(50)
                for to in LAST
            }
            await asyncio.to_thread(end, server)
            renew(server)
            bob.acks = True
            await asyncio.to_thread(server.start)
            await until(lambda: not alice.unanswered, "every send has its answer")
            last = [alice.accepted[ref] for ref in said if ref in alice.accepted]
            assert len({each["id"] for each in last}) == len(said) - len(alice.rejected)
            of = {
                to: ids_of([each for each in last if each["conversation"] == f"dm:alice:{to}"])
                for to in LAST
            }
            for peer in (bob, dave):
                await until(lambda: len(peer.visits) > 1, "they are back")  # noqa: B023
                await until_caught_up(peer)
            await until(lambda: set(of["dave"]) <= dave.received, "dave has the last ones")
            wanted = {*ids_of(to_bob), *of["bob"]}
            await until(lambda: wanted <= bob.received, "bob has the last ones")
            assert bob.received == wanted
            assert dave.received == {*ids_of(to_dave), *of["dave"]}
            assert not set(ids_of(to_bob)[:HALF]) & set(bob.visit.message_ids)
            assert not set(ids_of(to_dave)) & set(dave.visit.message_ids)
            assert alice.received == set(ids_of(to_herself))
            for peer in (alice, bob, dave):
                for visit in peer.visits:
                    assert max(Counter(visit.message_ids).values(), default=1) == 1

            first = next(ref for ref, frame in alice.accepted.items() if frame == to_carol[0])
            repeats = {first: "carol 0"} | {
                ref: text for ref, text in said.items() if text.endswith("carol")
            }
            for ref, text in repeats.items():
                if ref in alice.rejected:
                    continue
                before = alice.accepted.pop(ref)
                await alice.repeat("carol", text, ref)
                await until(lambda: ref in alice.accepted, "the repeat is answered")  # noqa: B023
                assert alice.accepted[ref] == before
            async with Peer(url, "carol") as carol:
                await until_caught_up(carol)
                check_once_and_in_order(carol.visit, [*ids_of(to_carol), *of["carol"]])
                after = await alice.send_and_wait("carol", "after")
                await until(lambda: after["id"] in carol.received, "carol has a new one")
            await until(lambda: after["id"] in alice.statuses, "it is delivered")
            assert (await come_and_go(url, "carol", "phone"))["is_new"] is True
            news = await alice.send_and_wait("carol", "to her phone")
            async with device(url, "carol", "phone") as carol:
                await until_caught_up(carol)
                check_once_and_in_order(carol.visit, [news["id"]])
        assert server.stop() == 0
    assert "was written by a newer Landline (schema 2, this one: 1)" in refused(
        server.data_dir, env={"PYTHONPATH": str(version_before)}
    )
    code, report = run_landline("audit", "--data-dir", str(server.data_dir))
    assert (code, report.splitlines()[-1]) == (0, "log and store agree")
    assert "Traceback" not in server.log()
