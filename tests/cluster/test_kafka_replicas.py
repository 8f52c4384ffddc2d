"""Three brokers: the leader dies, and nothing that was accepted does."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from landline_stack import Stack
from landline_stack.process import StackServer
from landline_stack.stack import together
from support.faults import MESSAGES, Fleet, admin, check_fates, talking
from support.peer import Peer
from support.server import ServerProcess
from support.stack import stack_or_skip
from support.waiting import until, wait_until

# Every conversation of alice's is in a partition of its own, nearly; so each broker leads some.
FRIENDS = 12
# An election, and then hundreds of sends that have waited.
AGAIN_SECONDS = 120.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Replication 3, two in sync needed: what the contract demands without --allow-unsafe."""
    with stack_or_skip(brokers=3) as stack:
        yield stack


def leader_but(stack: Stack, others: Sequence[StackServer]) -> StackServer:
    """Return a broker that leads partitions of the log and is none of the others."""
    partitions = admin(stack).list_topics(MESSAGES, timeout=30).topics[MESSAGES].partitions
    leading = {partition.leader for partition in partitions.values()}
    found = [
        broker
        for node, broker in enumerate(stack.brokers, 1)
        if node in leading and broker not in others
    ]
    assert found, "the brokers that were killed lead all"
    return found[0]


def wait_until_whole(stack: Stack) -> None:
    """Wait until every replica of the log is in sync."""
    client = admin(stack)

    def are_in_sync() -> bool:
        partitions = client.list_topics(MESSAGES, timeout=30).topics[MESSAGES].partitions
        return all(len(partition.isrs) == 3 for partition in partitions.values())

    wait_until(are_in_sync, "the replicas are in sync")


@asynccontextmanager
async def friends_on(server: ServerProcess) -> AsyncIterator[list[Peer]]:
    """Connect users who wait for messages."""
    async with AsyncExitStack() as connected:
        friends = [
            await connected.enter_async_context(Peer(server.ws_url, f"friend{number}"))
            for number in range(FRIENDS)
        ]
        yield friends


async def test_a_leader_killed_under_load_takes_nothing_along(fleet: Fleet) -> None:
    """Twice, each time another one, the first being back: all that was accepted is received."""
    ws1, ws2 = await fleet.start(unsafe=False)
    assert '"unsafe_setting"' not in ws1.log()
    async with Peer(ws1.ws_url, "alice") as alice, friends_on(ws2) as friends:
        assert alice.visit.of("welcome")[0]["durability"] == "kafka:acks=all,isr>=2"
        victims: list[StackServer] = []
        async with talking(alice, friends, 0.01):
            for _ in range(2):
                broker = await asyncio.to_thread(leader_but, fleet.stack, victims)
                victims.append(broker)
                accepted = len(alice.accepted)
                await until(lambda n=accepted: len(alice.accepted) > n + 100, "sends work")  # type: ignore[misc]
                await asyncio.to_thread(broker.kill)
                accepted = len(alice.accepted)
                await until(
                    lambda n=accepted: len(alice.accepted) > n + 500,  # type: ignore[misc]
                    "sends work again",
                    AGAIN_SECONDS,
                )
                await asyncio.to_thread(broker.start)
                await asyncio.to_thread(wait_until_whole, fleet.stack)
        assert {error["code"] for error in alice.errors} <= {"busy", "unavailable"}
        await check_fates(alice, friends)
        await fleet.until_stored(alice.accepted_ids)
        assert await fleet.stored() == alice.accepted_ids
        await until(lambda: ws1.is_ready() and ws2.is_ready(), "both are ready again")


async def test_with_two_of_three_brokers_down_nothing_is_accepted(fleet: Fleet) -> None:
    """One copy is not enough. When they are back, every answer turns out to be true."""
    ws1, ws2 = await fleet.start(unsafe=False)
    async with Peer(ws1.ws_url, "alice") as alice, friends_on(ws2) as friends:
        async with talking(alice, friends):
            await until(lambda: len(alice.accepted) > 100, "sends work")
            down = fleet.stack.brokers[1:]
            await asyncio.to_thread(together, down, StackServer.kill)
            await until(lambda: "log" in ws1.get("/readyz")[1], "/readyz names it")
            accepted = len(alice.accepted)
            errors = len(alice.errors)
            refs = [await alice.send(friend.user, f"away {friend.user}") for friend in friends]
            await until(
                lambda: set(refs) <= {error.get("ref") for error in alice.errors[errors:]},
                "all are answered",
            )
            assert len(alice.accepted) == accepted
            await asyncio.to_thread(together, down, StackServer.start)
            await until(
                lambda: len(alice.accepted) > accepted + 200, "sends work again", AGAIN_SECONDS
            )
        await check_fates(alice, friends)
        await fleet.until_stored(alice.accepted_ids)
        assert await fleet.stored() == alice.accepted_ids
