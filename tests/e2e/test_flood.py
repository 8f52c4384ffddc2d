"""One conversation is a flood that its recipient never catches up with; the others are not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from landline.protocol.identity import direct_conversation
from landline.protocol.partitions import partition_of
from support.cluster import Servers
from support.peer import Peer
from support.waiting import paced, running, until

PARTITIONS = 32
FLOOD = 4_000
# What may arrive before the message that is waited for: some seconds' worth.
PATIENCE = 1_000


def partition(user: str) -> int:
    return partition_of(direct_conversation("bob", user), PARTITIONS)


def name(is_wanted: str) -> str:
    """Return who writes to bob in the partition of alice, before or behind it."""
    for number in count():
        user, place = f"user{number}", partition("alice")
        found = partition(user)
        if is_wanted == ("same" if found == place else "before" if found < place else "behind"):
            return user
    raise AssertionError


@asynccontextmanager
async def flooding(alice: Peer) -> AsyncIterator[None]:
    """150 messages a second."""

    async def write() -> None:
        async for _ in paced(0.1):
            for _ in range(15):
                await alice.send("bob", "flood")

    async with running(write()):
        yield


@asynccontextmanager
async def sipping(url: str) -> AsyncIterator[Peer]:
    """Bob, who acknowledges 100 messages a second."""

    async def sip(bob: Peer) -> None:
        done = 0
        async for _ in paced(0.1):
            ids = bob.visit.message_ids[done : done + 10]
            if ids:
                await bob.raw({"type": "ack", "ids": ids})
                done += len(ids)

    async with Peer(url, "bob", acks=False, reconnects=False) as bob, running(sip(bob)):
        yield bob


async def test_a_flood_keeps_nobody_else_waiting(servers: Servers) -> None:
    """Those whose messages lie behind it when bob comes, and those who write meanwhile; in its
    partition of the log or in another one.
    """
    here = servers.here.ws_url
    others = [Peer(here, name(place)) for place in ("same", "before", "behind")]
    async with Peer(here, "alice") as alice:
        for number in range(FLOOD):
            await alice.send("bob", f"flood {number}")
        await until(lambda: len(alice.accepted) == FLOOD, "the flood is accepted")
        for other in others:
            await other.start()
        before = {(await other.send_and_wait("bob", "before"))["id"] for other in others}
        async with flooding(alice), sipping(servers.there.ws_url) as bob:
            await until(lambda: before <= bob.received, "bob has what was there before")
            assert len(bob.messages) < PATIENCE
            for _ in range(2):
                after = {(await other.send_and_wait("bob", "after"))["id"] for other in others}
                seen = len(bob.messages)
                await until(lambda: after <= bob.received, "bob has what came meanwhile")  # noqa: B023
                assert len(bob.messages) < seen + PATIENCE
            assert len(set(bob.visit.message_ids)) == len(bob.messages)
    for other in others:
        await other.stop()
