"""Redis holds hints: whatever happens to it costs latency, and never a message."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis

from landline_stack.redis import RedisServer
from support.faults import (
    STRANDED_SECONDS,
    Fleet,
    check_fates,
    immediate_again,
    killed,
    paused,
    pushes,
    talking,
)
from support.peer import Peer, until_caught_up
from support.server import ServerProcess
from support.waiting import paced, running, until

Fault = Callable[[RedisServer], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def flushed(server: RedisServer) -> AsyncIterator[None]:
    async def flush_for_ever() -> None:
        async with Redis.from_url(server.url) as redis:
            async for _ in paced(0.5):
                await redis.flushall()

    async with running(flush_for_ever()):
        yield


@asynccontextmanager
async def full(server: RedisServer) -> AsyncIterator[None]:
    async with Redis.from_url(server.url) as redis:
        await redis.config_set("maxmemory", "1")
        try:
            yield
        finally:
            await redis.config_set("maxmemory", "0")


async def reaches(sender: Peer, recipient: Peer) -> None:
    """Send a message and see it arrive as soon as the contract says."""
    acceptance = await sender.send_and_wait(recipient.user, f"for {recipient.user} in time")
    await until(
        lambda: acceptance["id"] in recipient.received,
        f"{recipient.user} is reached",
        STRANDED_SECONDS,
    )


def is_degraded(server: ServerProcess) -> bool:
    """Say whether a server is ready, and says that hints are missing."""
    status, body = server.get("/readyz")
    return status == 200 and json.loads(body)["status"] == "degraded" and "routing" in body


@pytest.mark.parametrize("fault", [killed, paused, flushed, full])
async def test_redis_in_trouble_costs_latency_and_nothing_else(fault: Fault, fleet: Fleet) -> None:
    """Sends and delivery on one server go on; users of the other server are reached in time, also
    one who came meanwhile; and afterwards at once again, by the same processes.
    """
    # More often than by default, to save time; the test without Redis has the default.
    ws1, ws2 = await fleet.start(2, "--sweep-interval", "4s")
    pids = [ws1.pid, ws2.pid]
    async with (
        Peer(ws1.ws_url, "alice") as alice,
        Peer(ws1.ws_url, "carol") as carol,
        Peer(ws2.ws_url, "bob") as bob,
        AsyncExitStack() as later,
    ):
        await immediate_again(alice, bob, ws2)
        async with fault(fleet.stack.redis):
            dave = await later.enter_async_context(Peer(ws2.ws_url, "dave"))
            await until_caught_up(dave)
            live = pushes(ws1, "live")
            async with talking(alice, [bob, carol, dave]):
                await asyncio.gather(*(reaches(alice, each) for each in (carol, bob, dave)))
                await until(lambda: pushes(ws1, "live") > live + 10, "carol is served at once")
            if fault is not flushed:
                # A balancer must not take out every server because hints are missing.
                await until(lambda: is_degraded(ws1), "/readyz names it, and with 200")
        await until(lambda: ws1.is_ready() and ws2.is_ready(), "both are ready again")
        await immediate_again(alice, bob, ws2)
        await check_fates(alice, [bob, carol, dave])
        assert not alice.errors
    assert [ws1.pid, ws2.pid] == pids
    assert ws1.is_running


async def test_without_redis_messages_arrive_by_the_sweep_and_the_server_says_so(
    fleet: Fleet,
) -> None:
    """A user on another server is reached in time, one on the same server at once."""
    ws1, ws2 = await fleet.start(redis=False)
    assert "no_redis" in ws1.log()
    async with (
        Peer(ws1.ws_url, "alice") as alice,
        Peer(ws1.ws_url, "carol") as carol,
        Peer(ws2.ws_url, "bob") as bob,
    ):
        for each in (bob, carol):
            await until_caught_up(each)
        await immediate_again(alice, carol, ws1)
        await reaches(alice, bob)
        assert (pushes(ws2, "live"), pushes(ws2, "sweep")) == (0, 1)
        await check_fates(alice, [bob, carol])
