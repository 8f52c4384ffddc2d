"""A user's sessions end on every server, by whatever way the servers learn of it.

The one who asks is one more server of the cluster here, in this process: what it says to the others
goes through the same store and the same topic.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from landline.adapters.clock import SystemClock
from landline.adapters.kafka import KafkaCluster, KafkaRoutingBus
from landline.adapters.memory import MemoryRoutingBus
from landline.adapters.postgres import PostgresMessageStore
from landline.config.values import SecretUrl
from landline.gateway.revocations import Revocations
from landline.model import Revocation
from landline.ports import RoutingBus
from landline.protocol.hints import encode_revocation_hint
from landline_stack.process import StackServer
from support.cluster import delete_topics
from support.faults import ROUTING, STRANDED_SECONDS, Fleet, killed, paused
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import until

Fault = Callable[[StackServer], AbstractAsyncContextManager[None]]

HOUR_MS = 3_600_000


@asynccontextmanager
async def bus_of(fleet: Fleet) -> AsyncIterator[RoutingBus]:
    """Join the routing topic as one more server."""
    cluster = KafkaCluster([fleet.stack.kafka_servers], "test")
    bus = KafkaRoutingBus(cluster, ROUTING, "test/run")
    await bus.listen(lambda _hint: None)
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def another_server(fleet: Fleet, bus: RoutingBus) -> AsyncIterator[Revocations]:
    """Have what a server has that was asked to end sessions."""
    store = PostgresMessageStore(SecretUrl(fleet.postgres_url), "test", allow_unsafe=True)
    revocations = Revocations(
        store=store.revocations,
        bus=bus,
        clock=SystemClock(),
        close_sessions=lambda _user: 0,
        poll_seconds=10.0,
    )
    try:
        await revocations.load()
        yield revocations
    finally:
        await store.close()


@asynccontextmanager
async def open_on(servers: Sequence[ServerProcess], user: str) -> AsyncIterator[list[Peer]]:
    """Have two sessions of a user on each server, which do not come back by themselves."""
    peers = [Peer(s.ws_url, user, reconnects=False) for s in servers for _ in range(2)]
    async with asyncio.TaskGroup() as tasks:
        for peer in peers:
            tasks.create_task(peer.start())
    try:
        yield peers
    finally:
        for peer in peers:
            await peer.stop()


async def until_closed(peers: Sequence[Peer], seconds: float) -> None:
    """Wait until all of them were told that an administrator has closed them."""
    await until(
        lambda: all(peer.visit.close_code == 4403 for peer in peers),
        lambda: f"all are closed: {[peer.visit.close_code for peer in peers]}",
        seconds,
    )
    assert {peer.visit.close_reason for peer in peers} == {"closed by an administrator"}


async def test_a_hint_alone_ends_the_sessions_on_every_server(fleet: Fleet) -> None:
    """The row is left out: nothing but the hint can have told them. Redis is not asked."""
    servers = await fleet.start(2)
    async with (
        bus_of(fleet) as bus,
        open_on(servers, "alice") as alices,
        open_on(servers, "bob") as bobs,
        killed(fleet.stack.redis),
    ):
        # Later than whatever the servers have read.
        hint = encode_revocation_hint(Revocation("alice", 2**52, None))

        async def are_closed() -> bool:
            bus.publish_to_all(hint)  # again, for a busy machine may lose it
            return all(peer.visit.close_code is not None for peer in alices)

        await until(are_closed, "alice's are closed")
        await until_closed(alices, STRANDED_SECONDS)
        assert all(peer.socket is not None for peer in bobs)


@pytest.mark.parametrize("fault", [nullcontext, killed, paused])
async def test_sessions_end_on_every_server_whatever_redis_does(fault: Fault, fleet: Fleet) -> None:
    servers = await fleet.start(2)
    async with (
        bus_of(fleet) as bus,
        another_server(fleet, bus) as other,
        open_on(servers, "alice") as alices,
        open_on(servers, "bob") as bobs,
        fault(fleet.stack.redis),
    ):
        await other.revoke("alice", None, "test")
        await until_closed(alices, STRANDED_SECONDS)
        assert all(peer.socket is not None for peer in bobs)
        async with open_on(servers, "alice"):
            pass  # nothing was said of new ones


async def test_without_the_routing_topic_they_end_by_the_poll(fleet: Fleet) -> None:
    servers = await fleet.start(2)
    async with (
        another_server(fleet, MemoryRoutingBus({}, "test/run")) as other,
        open_on(servers, "alice") as alices,
        open_on(servers, "bob") as bobs,
    ):
        await asyncio.to_thread(delete_topics, fleet.stack.kafka_servers, [ROUTING])
        await other.revoke("alice", None, "test")
        await until_closed(alices, STRANDED_SECONDS)
        assert all(peer.socket is not None for peer in bobs)


async def is_refused(server: ServerProcess, user: str) -> bool:
    """Say whether somebody is sent away who tries to begin a session."""
    try:
        async with connect(f"{server.ws_url}?username={user}") as socket:
            await socket.recv()
    except InvalidStatus as refused:
        return refused.response.status_code == 403
    except ConnectionClosed as closed:
        return closed.rcvd is not None and closed.rcvd.code == 4403
    return False


async def is_let_in(server: ServerProcess, user: str) -> bool:
    return not await is_refused(server, user)


async def test_until_then_no_server_lets_them_in_and_one_that_starts_does_not_either(
    fleet: Fleet,
) -> None:
    servers = await fleet.start(2)
    clock = SystemClock()
    async with bus_of(fleet) as bus, another_server(fleet, bus) as other:
        await other.revoke("alice", clock.wall_ms() + HOUR_MS, "test")
        for server in servers:
            await until(partial(is_refused, server, "alice"), "alice is refused")
            assert not await is_refused(server, "bob")
        await asyncio.to_thread(servers[0].end)
        await asyncio.to_thread(servers[0].start)
        assert await is_refused(servers[0], "alice")
        await other.revoke("alice", 0, "test")
        for server in servers:
            await until(partial(is_let_in, server, "alice"), "alice may come again")
