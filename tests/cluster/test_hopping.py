"""A user who comes, and hops from server to server as a phone does, while others write."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection
from itertools import cycle
from urllib.parse import urlsplit

import pytest

from landline_stack.proxy import Proxy
from support.cluster import Cluster, Servers
from support.peer import Peer, until_caught_up
from support.postgres import fetch
from support.waiting import paced, until, until_equal

pytestmark = pytest.mark.stack

# Within this time a message has arrived whose recipient stays connected: section 4.6.
STRANDED_SECONDS = 15.0

_OWED = "SELECT count(*) FROM pending"


async def until_arrived(accepted: Collection[str], received: set[str], recipient: Peer) -> None:
    """Wait until the rest of what was accepted has arrived, no longer than it may take."""
    await until(
        lambda: set(accepted) <= received | recipient.received,
        f"{recipient.user} has everything",
        STRANDED_SECONDS,
    )


async def test_hopping_three_hundred_times_loses_nothing(cluster: Cluster) -> None:
    """Sessions overlap or leave a gap, end politely or are cut, and may not catch up before."""
    servers = cluster.pair()
    received: set[str] = set()
    accepted_at: dict[str, float] = {}

    async def let_nobody_wait(bob: Peer) -> None:
        now = time.monotonic()
        for id in alice.accepted_ids:
            accepted_at.setdefault(id, now)
        waiting = accepted_at.keys() - received - bob.received
        # Who hops on is promised nothing. What he misses comes as soon as he stays.
        overdue = [id for id in waiting if now - accepted_at[id] > STRANDED_SECONDS]
        await until_arrived(overdue, received, bob)

    async def leave(bob: Peer) -> None:
        await (bob.cut() if random.random() < 0.5 else bob.stop())
        await bob.stop()
        assert max(Counter(bob.visit.message_ids).values(), default=1) == 1
        received.update(bob.received)

    async def write() -> None:
        async for number in paced(0.002):
            await alice.send("bob", f"message {number}")

    async with Peer(servers.here.ws_url, "alice") as alice:
        writing = asyncio.create_task(write())
        urls = cycle(servers.from_there)
        bob = Peer(next(urls), "bob", reconnects=False)
        await bob.start()
        for _ in range(300):
            before, bob = bob, Peer(next(urls), "bob", reconnects=False)
            if random.random() < 0.5:
                await leave(before)
                await bob.start(caught_up=random.random() < 0.2)
            else:
                await bob.start()
                await leave(before)
            await asyncio.sleep(random.uniform(0, 0.05))
            await let_nobody_wait(bob)
        writing.cancel()
        await until(lambda: not alice.unanswered, "alice has every answer")
        await until_arrived(alice.accepted_ids, received, bob)
        await leave(bob)
    assert len(alice.accepted) > 1_000


async def test_a_message_amid_the_handshake_is_replayed(cluster: Cluster, redis_url: str) -> None:
    """Written before Redis knows the session, applied after it: only the barrier finds it in time.

    The server gives Redis a fifth of a second, which a busy machine may miss: so a few tries.
    """
    with Proxy("redis", urlsplit(redis_url).port or 0) as line:
        held_up = f"redis://127.0.0.1:{line.port}{urlsplit(redis_url).path}"
        writer = cluster.server("writer", "--roles", "writer")
        here = cluster.server("ws-1", "--roles", "gateway")
        options = ["--sweep-interval", "4s"]  # a hint that is missed costs little time
        there = cluster.server("ws-2", "--roles", "gateway", "--redis", held_up, *options)
        await asyncio.to_thread(Servers([writer, here, there]).start)
        async with Peer(here.ws_url, "alice") as alice:
            for _ in range(10):
                await until_equal(lambda: fetch(cluster.postgres_url, _OWED), [(0,)])
                writer.pause()
                line.hold_questions()
                line.has_held.clear()
                async with Peer(there.ws_url, "bob") as bob:
                    # A registration is held up, or a beat: then it is tried again.
                    await until(line.has_held.is_set, "the registration is on its way to Redis")
                    sent = await alice.send_and_wait("bob", "too early for a hint")
                    line.flow()
                    await asyncio.sleep(0.3)  # a session that did not wait would be live now
                    writer.resume()
                    await until_arrived([sent["id"]], set(), bob)
                    await until_caught_up(bob)
                    kinds = [frame["type"] for frame in bob.visit.frames]
                    if kinds.index("message") < kinds.index("caught_up"):
                        assert bob.visit.of("caught_up") == [{"type": "caught_up", "replayed": 1}]
                        return
    pytest.fail("every message came with the sweep")
