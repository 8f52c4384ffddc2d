"""Servers of a cluster that are killed, doubled, restarted and split into roles."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from landline.adapters.postgres.message_store import WRITER_LANE_SECONDS
from support.chatting import chatting, pairs, unexcused_outcomes, unknown_outcomes
from support.cluster import Cluster, ClusterServer, Servers
from support.faults import AWAY_SECONDS
from support.kafka_log import read_log
from support.peer import Frame, Peer
from support.postgres import fetch
from support.waiting import until

pytestmark = pytest.mark.stack

# Within this time a message has arrived whose recipient stays connected: section 4.6.
STRANDED_SECONDS = 15.0

# A paused writer wakes up when its call to the store is overdue.
PAUSE_SECONDS = max(WRITER_LANE_SECONDS + 5.0, AWAY_SECONDS)

Rows = set[tuple[Any, ...]]


async def until_live(sender: Peer, recipient: Peer) -> None:
    """Write until a message arrives on the short way, by a hint and not from the store."""
    start = len(recipient.messages)

    async def is_live() -> bool:
        await sender.send_and_wait(recipient.user, "are you there?")
        return any("replay" not in frame for frame in recipient.messages[start:])

    await until(is_live, f"{recipient.user} is live")


async def until_all_are_heard(peers: Sequence[Peer], count: int) -> None:
    """Wait until so many more sends of each have been accepted."""
    wanted = [len(peer.accepted) + count for peer in peers]
    await until(
        lambda: all(len(each.accepted) >= least for each, least in zip(peers, wanted, strict=True)),
        "everybody is heard",
    )


async def until_arrived(accepted: Frame, recipient: Peer) -> None:
    """Wait for a message, no longer than it may take."""
    await until(
        lambda: accepted["id"] in recipient.received,
        f"{recipient.user} has {accepted['id']}",
        STRANDED_SECONDS,
    )


# The store must be what the log says, by a reading of the log that shares nothing with Landline.


def fold_log(kafka: str) -> tuple[Rows, Rows]:
    """Return what CHAT-MESSAGES comes to: the rows of `messages` and of `message_status`. Nobody
    has a device here.
    """
    first: dict[str, tuple[int, int, dict[str, Any]]] = {}
    receipts: set[tuple[str, str]] = set()
    for partition, offset, record in read_log(kafka):
        if record["status"] == "UNDELIVERED":
            first.setdefault(record["message_id"], (partition, offset, record))
        else:
            receipts |= {(id, user) for user, _device, ids in record["entries"] for id in ids}
    owed = {(id, user) for id, (_, _, each) in first.items() for user in each["recipients"]}
    return {
        (id, each["conversation"], each["sender"], each["content"], partition, offset)
        for id, (partition, offset, each) in first.items()
    }, {(*each, "DELIVERED" if each in receipts else "UNDELIVERED") for each in owed}


async def check_store(cluster: Cluster) -> None:
    """Wait until everything is applied, and compare the store with the log."""
    messages: Rows = set()
    statuses: Rows = set()

    async def rows(sql: str) -> Rows:
        return set(await fetch(cluster.postgres_url, sql))

    async def compare() -> bool:
        """The log as well: a server may append a receipt when its clients have long left."""
        nonlocal messages, statuses
        messages, statuses = await asyncio.to_thread(fold_log, cluster.kafka)
        return await rows(_STATUSES) == statuses and await rows(_MESSAGES) == messages

    with suppress(AssertionError):  # the comparison then shows what differs
        await until(compare, "the store is what the log says")
    assert await rows(_STATUSES) == statuses
    assert await rows(_MESSAGES) == messages
    assert not await rows("SELECT * FROM quarantine")


_MESSAGES = """
    SELECT message_id::text, conversation, sender, content, log_partition, log_offset
    FROM messages
"""
_STATUSES = """
    SELECT message_id::text, recipient, status FROM message_status
"""


# --- servers that come and go ---------------------------------------------------------------------


async def test_a_killed_server_leaves_nobody_unreachable(cluster: Cluster) -> None:
    """Its users go to the other one and are found there; back again it disturbs nothing."""
    servers = cluster.pair()
    async with (
        Peer(servers.from_here, "alice") as alice,
        Peer(servers.from_there, "bob") as bob,
        Peer([servers.there.ws_url], "carol") as carol,
    ):
        await until_live(alice, bob)
        for victim, other in [(servers.there, servers.here), (servers.here, servers.there)]:
            for user in ("bob", "carol"):
                await alice.send(user, "just before")
            victim.kill()
            await until(
                lambda: alice.socket is not None and bob.socket is not None, "they are back"
            )
            sent = await alice.send_and_wait("bob", "just after")
            await until_arrived(sent, bob)
            await asyncio.to_thread(victim.start)
            async with Peer(victim.ws_url, "dave") as dave, Peer(other.ws_url, "erin") as erin:
                for one, two in [(dave, erin), (erin, dave), (dave, bob), (erin, alice)]:
                    await until_live(one, two)
            await until(
                lambda: alice.accepted_ids <= bob.received | carol.received,
                "everybody has everything",
                STRANDED_SECONDS,
            )


async def test_the_second_server_with_an_id_says_so_and_ends(cluster: Cluster) -> None:
    """One line, exit 2; the first one does not notice."""
    first, second = cluster.server("ws-1"), cluster.server("ws-1")
    await asyncio.to_thread(first.start)
    async with Peer(first.ws_url, "alice") as alice, Peer(first.ws_url, "bob") as bob:
        second.launch()
        assert await asyncio.to_thread(second.wait, 60) == 2
        assert second.log().splitlines()[-1] == (
            "landline: --server-id ws-1: another server with this id is running;"
            " stop that one or choose another id"
        )
        await until_live(alice, bob)
    assert "server_id_taken" not in first.log()


async def test_without_redis_two_servers_with_one_id_disturb_nothing(cluster: Cluster) -> None:
    """Nobody can tell them; both work, and the sweep carries what goes from one to the other."""
    options = ["--sweep-interval", "1s"]
    servers = Servers([cluster.server("ws-1", *options, redis=False) for _ in range(2)])
    await asyncio.to_thread(servers.start)
    async with chatting(pairs(servers, 5)) as peers:
        await until_all_are_heard(peers, 50)
    await check_store(cluster)


async def test_ten_rolling_restarts_under_load(cluster: Cluster) -> None:
    """SIGTERM to one, then to the other: no send ends as unknown, and nothing is lost."""
    servers = cluster.pair()
    async with chatting(pairs(servers, 20)) as peers:
        for _ in range(10):
            for server in servers.every:
                assert await asyncio.to_thread(server.stop) == 0
                await asyncio.to_thread(server.start)
    assert not unexcused_outcomes(peers, cluster.servers)
    assert sum(len(peer.accepted) for peer in peers) > 1_000
    await check_store(cluster)


# --- roles ----------------------------------------------------------------------------------------


def gateways(cluster: Cluster) -> Servers:
    """Return two servers that serve clients and apply nothing."""
    return Servers([cluster.server(f"ws-{n}", "--roles", "gateway") for n in (1, 2)])


def writers(cluster: Cluster) -> list[ClusterServer]:
    """Return two servers that apply the log and serve nobody."""
    return [cluster.server(f"writer-{n}", "--roles", "writer") for n in (1, 2)]


async def test_writers_are_killed_again_and_again(cluster: Cluster) -> None:
    """At random moments under load, one or both: in the end the store is what the log says."""
    servers = gateways(cluster)
    both = writers(cluster)
    await asyncio.to_thread(Servers([*servers.every, *both]).start)
    async with chatting(pairs(servers, 20)) as peers:
        for _ in range(10):
            victim = random.choice(both)
            victim.kill()
            victim.launch()
            await asyncio.sleep(random.uniform(0.1, 3))
    assert not unknown_outcomes(peers)
    await check_store(cluster)


def steps_back(*servers: ClusterServer) -> int:
    """Return how often one of these writers found itself overtaken."""
    return sum(server.log().count("writer_stands_by") for server in servers)


async def test_a_paused_writer_is_replaced_and_wakes_up_to_nothing(cluster: Cluster) -> None:
    """SIGSTOP: the other one takes over, so that new sessions are served. SIGCONT: no harm."""
    servers = gateways(cluster)
    sleeper, other = writers(cluster)
    await asyncio.to_thread(Servers([*servers.every, sleeper]).start)
    async with chatting(pairs(servers, 20)) as peers:
        await asyncio.to_thread(other.start)
        await until(lambda: "writer_stands_by" in other.log(), "the second one stands by")
        sleeper.pause()
        await until(lambda: "writer_takes_over" in other.log(), "the second one takes over")
        async with Peer(servers.here.ws_url, "alice") as alice:
            sent = await alice.send_and_wait("bob", "while it sleeps")
        bob = Peer(servers.there.ws_url, "bob")
        await bob.start(caught_up=True)
        assert bob.received == {sent["id"]}
        await bob.stop()
        await asyncio.sleep(PAUSE_SECONDS)
        # Both believe that it is their turn then; the second one to come to the store steps back.
        before = steps_back(sleeper, other)
        sleeper.resume()
        await until(lambda: steps_back(sleeper, other) > before, "one of them has stepped back")
        await until_all_are_heard(peers, 50)
    await check_store(cluster)


async def test_a_server_that_only_writes_serves_nobody(cluster: Cluster) -> None:
    """It is ready, and tells clients where to go."""
    writer = writers(cluster)[0]
    await asyncio.to_thread(writer.start)
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{writer.ws_url}?username=alice")
    assert refused.value.response.status_code == 503
    assert b"role gateway" in refused.value.response.body
