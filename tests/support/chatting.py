"""Pairs of users who write to each other while a test does something to their servers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from support.cluster import Servers
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import paced, until

# More would only wait: what a peer has written and nobody has answered yet.
_UNANSWERED = 20
_PAUSE_SECONDS = 0.02


def pairs(servers: Servers, count: int) -> list[tuple[Peer, Peer]]:
    """Return pairs with their two sides on different servers, where there are two."""
    return [
        (Peer(servers.from_here, f"left{n}"), Peer(servers.from_there, f"right{n}"))
        for n in range(count)
    ]


@asynccontextmanager
async def chatting(pairs: Sequence[tuple[Peer, Peer]]) -> AsyncIterator[list[Peer]]:
    """Have the pairs write to each other during the block, then hold them to the promise:
    everything is answered, what was accepted arrives, and their journals do not disagree.
    """
    peers = [peer for pair in pairs for peer in pair]
    is_over = asyncio.Event()

    async def write(one: Peer, other: Peer) -> None:
        async for number in paced(_PAUSE_SECONDS):
            if is_over.is_set():
                return
            if len(one.unanswered) < _UNANSWERED:
                await one.send(other.user, f"{one.user} {number}")

    both_ways = [*pairs, *((other, one) for one, other in pairs)]
    try:
        await asyncio.gather(*(peer.start() for peer in peers))
        async with asyncio.TaskGroup() as writing:
            for one, other in both_ways:
                writing.create_task(write(one, other))
            yield peers
            is_over.set()
        await until(lambda: not any(peer.unanswered for peer in peers), "every send is answered")
        for one, other in both_ways:
            await until_received(one, [other])
    finally:
        await asyncio.gather(*(peer.stop() for peer in peers))
    check_journals(peers)


async def until_received(sender: Peer, receivers: Sequence[Peer], seconds: float = 60) -> None:
    """Wait until all that was accepted from a sender has arrived at one of the receivers."""
    await until(
        lambda: sender.accepted_ids <= set().union(*(peer.received for peer in receivers)),
        f"everything from {sender.user} has arrived",
        seconds,
    )


def check_journals(peers: Sequence[Peer]) -> None:
    """A message has one place, comes once in a session, is stored once; `rejected` is final."""
    offset_of: dict[str, int] = {}
    for peer in peers:
        for frame in [*peer.accepted.values(), *peer.messages]:
            assert offset_of.setdefault(frame["id"], frame["offset"]) == frame["offset"]
        for visit in peer.visits:
            assert max(Counter(visit.message_ids).values(), default=1) == 1
        assert not set(peer.rejected) & set(peer.accepted)
    seen = {frame["content"] for peer in peers for frame in peer.messages}
    assert not seen & {content for peer in peers for content in peer.rejected.values()}
    received = {frame["id"]: frame["content"] for peer in peers for frame in peer.messages}
    assert len(set(received.values())) == len(received), "a message was stored twice"


def unknown_outcomes(peers: Sequence[Peer]) -> list[str]:
    """Return the reasons of all sends that were answered `unknown`."""
    errors = (error for peer in peers for error in peer.errors)
    return [error["message"] for error in errors if error.get("outcome") == "unknown"]


def unexcused_outcomes(peers: Sequence[Peer], servers: Sequence[ServerProcess]) -> list[str]:
    """Return why sends ended as unknown. A part that a busy machine kept from answering in time is
    an excuse, if a server's log tells of it, for a few of the sends: those that waited for it then.
    """
    reasons = unknown_outcomes(peers)
    is_busy = any("in time" in server.log() for server in servers)
    few = sum(len(peer.accepted) for peer in peers) / 100
    waited = [reason for reason in reasons if reason.startswith("the store does not answer")]
    return [] if is_busy and len(waited) == len(reasons) < few else reasons
