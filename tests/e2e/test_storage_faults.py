"""Disks that are full or fail while a server runs: what was accepted stays."""

import errno
import json
import random
import uuid
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from support.data_directory import logged, read
from support.disk import Disk, FaultyDisk, TinyDisk, needs_compiler, needs_mounts
from support.peer import Peer, until_applied
from support.server import ServerProcess
from support.waiting import until

DISKS = [
    pytest.param(None, id="full file system", marks=needs_mounts),
    pytest.param(("pwrite", errno.ENOSPC), id="write: no space", marks=needs_compiler),
    pytest.param(("pwrite", errno.EIO), id="write: broken", marks=needs_compiler),
    pytest.param(("fsync", errno.EIO), id="sync: broken", marks=needs_compiler),
    pytest.param(("fsync", errno.ENOSPC), id="sync: no space", marks=needs_compiler),
    pytest.param(("pwrite pread", errno.EIO), id="all: broken", marks=needs_compiler),
]


@pytest.mark.parametrize("fault", DISKS)
async def test_a_failing_disk_loses_nothing_and_is_survived(
    fault: tuple[str, int] | None, tmp_path: Path
) -> None:
    """Three times: nothing is accepted that is not on disk, /readyz and the log say what is wrong,
    the same process works again when the disk does, and what was rejected is never seen.
    """
    disk: Disk = FaultyDisk(tmp_path, *fault) if fault else TinyDisk(tmp_path / "disk")
    server = ServerProcess(tmp_path / "disk" / "data", prefix=disk.prefix, env=disk.env)
    (tmp_path / "disk").mkdir(exist_ok=True)
    server.start()
    pid = server.pid
    canary = uuid.uuid4().hex
    try:
        async with Peer(server.ws_url, "alice") as alice:
            for part in range(3):
                await break_and_repair(disk, server, alice, f"{canary} {part}")
            # A commit that failed is unknown; what came after it was never tried.
            assert {error["outcome"] for error in alice.errors} == {"rejected", "unknown"}
            assert alice.rejected
            assert len(alice.visits) == 1
            async with Peer(server.ws_url, "bob") as bob:
                await until(lambda: alice.accepted_ids <= bob.received, "bob has all of them")
                await until(lambda: alice.accepted_ids <= set(alice.statuses), "all are delivered")
                assert max(Counter(bob.visit.message_ids).values()) == 1
                assert bob.received == alice.accepted_ids
                assert not {m["content"] for m in bob.messages} & set(alice.rejected.values())
        assert server.pid == pid
        check_database(disk.data(server) / "landline.db", alice)
        if not disk.is_partly_usable:  # that one is gone with its process
            server.kill()
            check_database(server.data_dir / "landline.db", alice)
    finally:
        server.kill()
    log = server.log()
    assert log.count('"storage_failed"') == log.count('"storage_recovered"') >= 3
    assert "Traceback" not in log
    assert canary not in log


def has_answers(peer: Peer, count: int) -> bool:
    """Say whether a peer has had so many answers, good and bad ones."""
    return len(peer.accepted) + len(peer.errors) >= count


async def break_and_repair(disk: Disk, server: ServerProcess, alice: Peer, text: str) -> None:
    """One round: healthy, broken, repaired, with sends all the time."""
    for number in range(50):
        await alice.send("bob", f"{text} healthy {number}")
    await until(lambda: not alice.unanswered, "alice has every answer")
    # Else the store may find out first, and no commit of a send fails.
    await until_applied(server.ws_url)

    disk.fail(server)
    before, errors = len(alice.accepted), len(alice.errors)
    while len(alice.errors) == errors:  # what the files have in reserve is used up first
        answers = len(alice.accepted) + len(alice.errors)
        await alice.send("bob", f"{text} broken {answers} {'x' * 4_000}")
        await until(partial(has_answers, alice, answers + 1), "a send on a broken disk is answered")
        assert disk.is_partly_usable or len(alice.accepted) == before
    for number in range(20):
        await alice.send("bob", f"{text} refused {number}")
    await until(lambda: len(alice.errors) >= errors + 21, "everything else is refused as well")
    status, body = server.get("/readyz")
    assert status == 503
    assert "landline.db" in json.loads(body)["problems"]["log"]
    assert server.get("/healthz")[0] == 200
    assert disk.is_partly_usable or len(alice.accepted) == before

    disk.repair(server)
    await until(server.is_ready, "the server is ready again")
    await until(lambda: not alice.unanswered, "every unknown outcome is known")


def check_database(path: Path, sender: Peer) -> None:
    """Check that everything accepted is stored once, everything rejected nowhere."""
    assert read(path, "PRAGMA integrity_check") == [("ok",)]
    stored = Counter(id for (id,) in read(path, "SELECT message_id FROM messages"))
    assert stored == Counter(sender.accepted_ids)
    in_log = logged(path)
    assert {id for id, _ in in_log} == sender.accepted_ids
    assert not {content for _, content in in_log} & set(sender.rejected.values())


@needs_compiler
async def test_a_commit_that_counts_as_failed_and_is_there_all_the_same_hides_nothing(
    tmp_path: Path,
) -> None:
    """The sync fails, and so does a read: the file is open nowhere any more. Opened again
    it shows the commit in its write-ahead log. What is accepted after that is not taken for it.
    """
    disk = FaultyDisk(tmp_path, "fsync pread", errno.EIO)
    with ServerProcess(tmp_path / "data", env=disk.env) as server:
        async with Peer(server.ws_url, "alice") as alice:
            for part in range(3):
                for number in range(100):
                    await alice.send(f"bob{part}", f"{part} before {number} {'x' * 8_000}")
                await until(lambda: not alice.unanswered, "alice has every answer")
                # Else the store finds out first, and the send is refused.
                await until_applied(server.ws_url)
                disk.fail(server)
                failed = len(alice.errors)
                await alice.send("carol", f"{part} doubtful")
                await until(lambda: len(alice.errors) > failed, "the send is answered")  # noqa: B023
                waits = server.log().count('"waiting"')
                async with Peer(server.ws_url, f"bob{part}"):
                    await until(
                        lambda: server.log().count('"waiting"') > waits,  # noqa: B023
                        "a read has failed",
                    )
                disk.repair(server)
                await until(server.is_ready, "the server is ready again")
                await until(lambda: not alice.unanswered, "the doubtful one is known")
                for number in range(20):
                    await alice.send("carol", f"{part} after {number}")
                await until(lambda: not alice.unanswered, "alice has every answer")
            assert "unknown" in {error["outcome"] for error in alice.errors}
            async with Peer(server.ws_url, "carol") as carol:
                hers = {
                    accepted["id"]
                    for accepted in alice.accepted.values()
                    if accepted["conversation"] == "dm:alice:carol"
                }
                assert len(hers) >= 3 * 20
                await until(lambda: hers <= carol.received, "carol has all of hers")
        check_database(server.data_dir / "landline.db", alice)


async def test_what_was_accepted_is_on_disk_when_the_server_is_killed(tmp_path: Path) -> None:
    """Kill -9 at once after an `accepted`, again and again: it is in the database."""
    server = ServerProcess(tmp_path / "data")
    accepted: set[str] = set()
    try:
        for turn in range(15):
            server.start()
            accepted |= await accepted_before_a_kill(server, f"message {turn}")
            in_log = Counter(id for id, _ in logged(server.data_dir / "landline.db"))
            assert accepted <= set(in_log)
            assert max(in_log.values()) == 1
        server.start()
        async with Peer(server.ws_url, "bob") as bob:
            await until(lambda: accepted <= bob.received, "bob has all of them")
    finally:
        server.kill()


async def accepted_before_a_kill(server: ServerProcess, text: str) -> set[str]:
    """Send, kill the server when some are accepted, and return the ids of all that were."""
    alice = Peer(server.ws_url, "alice", reconnects=False)
    await alice.start()
    wanted = random.randint(1, 60)
    for number in range(100):
        await alice.send("bob", f"{text} {number}")
    await until(lambda: len(alice.accepted) >= wanted, f"{wanted} are accepted")
    server.kill()
    await until(lambda: alice.visit.close_code is not None, "the connection has ended")
    await alice.stop()
    return alice.accepted_ids
