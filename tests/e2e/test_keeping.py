"""`--keep-messages` and `--keep-log`: what is old and delivered goes, and nothing else."""

from pathlib import Path

import pytest

from support.command import run_landline
from support.data_directory import NAME, logged, read
from support.gadgets import check_once_and_in_order, come_and_go, device
from support.peer import Peer, until_applied, until_caught_up
from support.server import ServerProcess
from support.waiting import until

OWED = 20


@pytest.fixture
def server(tmp_path: Path) -> ServerProcess:
    """A server that keeps little."""
    return ServerProcess(tmp_path / "data", args=["--keep-messages", "2s", "--keep-log", "2s"])


def stored(server: ServerProcess) -> set[str]:
    """Return the ids of the messages in the store."""
    return {str(id) for (id,) in read(server.data_dir / NAME, "SELECT message_id FROM messages")}


def check_audit(server: ServerProcess) -> None:
    """Log and store agree."""
    code, said = run_landline("audit", "--data-dir", str(server.data_dir))
    assert (code, said.splitlines()[-1]) == (0, "log and store agree"), said


async def send(sender: Peer, to: str, count: int) -> list[str]:
    """Have messages accepted; return their ids in order."""
    return [str((await sender.send_and_wait(to, f"{to} {n}"))["id"]) for n in range(count)]


async def test_what_is_delivered_goes_and_what_is_owed_stays(server: ServerProcess) -> None:
    """Owed to somebody who is away, or to one device of somebody whose other device has it."""
    with server:
        url = server.ws_url
        await come_and_go(url, "bob", "laptop")
        async with (
            Peer(url, "alice") as alice,
            device(url, "bob", "phone") as bob,
            Peer(url, "dave") as dave,
        ):
            await until_caught_up(bob)
            to_carol = await send(alice, "carol", OWED)
            to_bob = await send(alice, "bob", OWED)
            to_dave = await send(alice, "dave", 200)
            await until(lambda: set(to_bob) <= bob.received, "bob has his")
            await until(lambda: set(to_dave) <= dave.received, "dave has his")
            kept = {*to_carol, *to_bob}
            await until(lambda: stored(server) == kept, "what nobody is owed is gone")
            await until(
                lambda: not {id for id, _ in logged(server.data_dir / NAME)} & set(to_bob),
                "the log has forgotten what is old",
            )
            check_audit(server)
            last = alice.accepted[list(alice.accepted)[-1]]

            server.kill()
            check_audit(server)
            server.start()
            assert stored(server) == kept
            after = await alice.send_and_wait("dave", "after")
            assert after["offset"] > last["offset"]
            await until(lambda: after["id"] in dave.received, "dave has the new one")
        async with Peer(url, "carol") as carol, device(url, "bob", "laptop") as laptop:
            for peer, ids in ((carol, to_carol), (laptop, to_bob)):
                await until_caught_up(peer)
                check_once_and_in_order(peer.visit, ids)
        await until(lambda: not stored(server), "all are delivered, and gone")
        await until(
            lambda: len(read(server.data_dir / NAME, "SELECT offset FROM log")) == 1,
            "the log has its last entry",
        )
        check_audit(server)
        server.kill()
        server.start()
        async with Peer(url, "carol") as carol, Peer(url, "alice") as alice:
            await until_caught_up(carol)
            assert not carol.messages
            new = await alice.send_and_wait("carol", "to an empty store")
            assert new["offset"] > after["offset"]
            await until(lambda: new["id"] in carol.received, "carol has it")
            await until(lambda: new["id"] in alice.statuses, "it is delivered")
        await until_applied(url)
        assert server.stop() == 0
    check_audit(server)
    assert '"messages_purged"' in server.log()
    assert '"log_purged"' in server.log()
    assert "Traceback" not in server.log()
