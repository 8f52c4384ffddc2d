"""Devices of a user on different servers of a cluster, some of which are killed."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from landline.protocol.partitions import partition_of
from landline_stack import Stack
from landline_stack.process import StackServer
from support.cluster import Cluster, check_audit, gateways_and_writers
from support.faults import MESSAGES, Fleet, admin, killed, paused, until_logged
from support.gadgets import (
    Program,
    check_once_and_in_order,
    check_statuses,
    come_and_go,
    device,
    welcome,
)
from support.peer import Peer, until_caught_up
from support.postgres import fetch
from support.stack import create_topic, stack_or_skip
from support.waiting import until, until_equal

pytestmark = pytest.mark.stack

Fault = Callable[[StackServer], AbstractAsyncContextManager[None]]

COUNT = 1_000
ROUNDS = 3
PARTITIONS = 32


async def until_owed(postgres_url: str, user: str, **wanted: int) -> None:
    """Wait until the mailboxes of a user are owed so much; '*' is the default one. That of sessions
    without a device begins with the first device if there may be any, and nobody looks into it.
    """

    async def owed() -> dict[str, int]:
        rows = await fetch(
            postgres_url,
            "SELECT device, count(*) FROM pending JOIN devices USING (mailbox_id)"
            f" WHERE user_name = '{user}' GROUP BY device",
        )
        return {name: count for name, count in rows if name or name in wanted}

    await until_equal(owed, wanted)


async def test_devices_on_two_servers_get_each_message_once(cluster: Cluster) -> None:
    """In order, also the one that was away; the sender hears of one delivery, on both servers."""
    servers = cluster.pair()
    here, there = servers.here.ws_url, servers.there.ws_url
    assert (await come_and_go(here, "bob", "laptop"))["is_new"] is True
    async with (
        device(here, "alice", "phone") as alice,
        device(there, "alice", "tablet") as tablet,
        device(there, "bob", "phone") as phone,
    ):
        for peer in (alice, tablet, phone):
            await until_caught_up(peer)
        for number in range(COUNT):
            await alice.send("bob", f"message {number}")
        await until(lambda: len(alice.accepted) == COUNT, "all are accepted")
        ids = alice.accepted_ids
        for peer in (phone, tablet):
            await until(lambda: peer.received == ids, "it has all of them")  # noqa: B023
            assert Counter(peer.visit.message_ids) == Counter(ids)
        assert not alice.messages
        for peer in (alice, tablet):
            await until(lambda: set(peer.statuses) == ids, "all are delivered")  # noqa: B023
        await until_owed(cluster.postgres_url, "bob", laptop=COUNT)
        async with device(there, "bob", "laptop") as laptop:
            assert welcome(laptop)["is_new"] is False
            await until_caught_up(laptop)
            check_once_and_in_order(laptop.visit, ids)
            await until_owed(cluster.postgres_url, "bob")
            async with device(here, "bob", "watch") as watch:
                assert welcome(watch)["is_new"] is True
                await until_caught_up(watch)
                last = await alice.send_and_wait("bob", "to all three")
                for peer in (phone, laptop, watch):
                    await until(lambda: last["id"] in peer.received, "it has the last one")  # noqa: B023
                assert watch.visit.message_ids == [last["id"]]
        for peer in (alice, tablet):
            await until(lambda: last["id"] in peer.statuses, "the last one is delivered")  # noqa: B023
            assert Counter(peer.statuses) == Counter([*ids, last["id"]])
            check_statuses(peer, "bob")
    await check_audit(cluster)


async def test_killed_servers_and_writers_take_nothing_from_any_device(cluster: Cluster) -> None:
    """Everything comes to each, once in a session; to the one that was away in order."""
    servers, writers = await asyncio.to_thread(gateways_and_writers, cluster)
    await come_and_go(servers.there.ws_url, "bob", "laptop")
    async with (
        device(servers.from_here, "alice", "phone") as alice,
        device(servers.from_there, "alice", "tablet") as tablet,
        device(servers.from_there, "bob", "phone") as phone,
        Program(servers.here.ws_url, "bob", "desk") as desk,
    ):
        for peer in (alice, tablet, phone):
            await until_caught_up(peer)

        async def send() -> None:
            for number in range(COUNT):
                await alice.send("bob", f"message {number}")
                await asyncio.sleep(0.005)

        sending = asyncio.create_task(send())
        for _ in range(ROUNDS):
            for victim in (random.choice(servers.every), random.choice(writers)):
                await asyncio.sleep(random.uniform(0.1, 1.0))
                victim.kill()
                await asyncio.to_thread(victim.start)
        await sending
        await until(lambda: len(alice.accepted) == COUNT, "all are accepted")
        ids = alice.accepted_ids
        assert len(ids) == COUNT
        await desk.until_has(ids)
        assert Counter(desk.ids) == Counter(ids)
        for peer in (phone, tablet):
            await until(lambda: peer.received == ids, "it has all of them")  # noqa: B023
            for visit in peer.visits:
                assert max(Counter(visit.message_ids).values(), default=1) == 1
        assert not alice.messages
        await until_owed(cluster.postgres_url, "alice")
        await until_owed(cluster.postgres_url, "bob", laptop=COUNT)
        # A server that was killed has forgotten which it has told.
        for peer in (alice, tablet):
            assert set(peer.statuses) <= ids
            check_statuses(peer, "bob")
    async with device(servers.here.ws_url, "bob", "laptop") as laptop:
        assert welcome(laptop)["is_new"] is False
        await until_caught_up(laptop)
        check_once_and_in_order(laptop.visit, ids)
        await until_owed(cluster.postgres_url, "bob")
    assert not await fetch(cluster.postgres_url, "SELECT * FROM quarantine")
    await check_audit(cluster)


async def test_a_session_without_a_name_comes_again_though_the_device_is_elsewhere(
    cluster: Cluster,
) -> None:
    """What nobody had acknowledged before goes to whichever is first."""
    servers = cluster.pair("--sweep-interval", "1s")
    here, there = servers.here.ws_url, servers.there.ws_url
    async with Peer(here, "alice") as alice, Peer(there, "bob", acks=False) as nameless:
        await until_caught_up(nameless)
        old = [(await alice.send_and_wait("bob", f"old {n}"))["id"] for n in range(10)]
        await until(lambda: nameless.received == set(old), "it has what is old")
        async with device(here, "bob", "phone") as phone:
            await until_caught_up(phone)
            check_once_and_in_order(phone.visit, old)
            await until(lambda: len(nameless.visits) > 1, "the other one comes again")
            assert nameless.visits[0].close_code == 1012
            await until(lambda: set(alice.statuses) == set(old), "they are delivered")
            await until_owed(cluster.postgres_url, "bob")
            new = (await alice.send_and_wait("bob", "new"))["id"]
            for peer in (phone, nameless):
                await until(lambda: new in peer.received, "both have the new one")  # noqa: B023
            await until_owed(cluster.postgres_url, "bob", **{"": 1})
        nameless.acks = True
        await nameless.cut()
        await until(lambda: alice.statuses.count(new) == 1, "it is delivered once")
        await until_owed(cluster.postgres_url, "bob")
        assert Counter(alice.statuses) == Counter([*old, new])


# --- parts that are away --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [killed, paused])
async def test_without_postgres_a_device_has_its_welcome_and_begins_later(
    fault: Fault, fleet: Fleet
) -> None:
    """Whether it is new nobody says. It begins when the store is back."""
    ws1, ws2 = await fleet.start()
    await come_and_go(ws2.ws_url, "bob", "laptop")
    async with Peer(ws1.ws_url, "alice") as alice:
        await alice.send_and_wait("bob", "before")
        async with fault(fleet.stack.postgres):
            phone = device(ws2.ws_url, "bob", "phone")
            laptop = device(ws1.ws_url, "bob", "laptop")
            for peer in (phone, laptop):
                await peer.start()
                assert "is_new" not in welcome(peer)
                assert not peer.visit.of("caught_up")
            during = await alice.send_and_wait("bob", "meanwhile")
        for peer in (phone, laptop):
            await until_caught_up(peer)
        await until(lambda: during["id"] in laptop.received, "the laptop has it")
        await until(lambda: len(laptop.received) == 2, "and what came before")
        await until_owed(fleet.postgres_url, "bob")
        # Once its record is applied everywhere, the phone is owed what comes, too.
        await until_equal(lambda: fleet.fetch(OPEN, "phone"), [(PARTITIONS,)])  # in every partition
        await phone.stop()
        after = await alice.send_and_wait("bob", "after")
        await until(lambda: after["id"] in laptop.received, "the laptop has the last one")
        async with device(ws1.ws_url, "bob", "phone") as again:
            assert welcome(again)["is_new"] is False
            await until_caught_up(again)
            assert again.visit.message_ids[-1] == after["id"]
        await laptop.stop()
    assert '"devices"' in await until_logged(ws2, "waiting")


OPEN = """
    SELECT count(*) FROM devices CROSS JOIN unnest(since) AS opened
    WHERE device = $1 AND opened IS NOT NULL
"""


@pytest.fixture(scope="module")
def three() -> Iterator[Stack]:
    """Three brokers, so that one of them can be away and the others elect."""
    with stack_or_skip(brokers=3) as stack:
        yield stack


@pytest.fixture
async def wide_fleet(three: Stack, tmp_path: Path) -> AsyncIterator[Fleet]:
    """As `fleet`, on three brokers."""
    fleet = Fleet(three, tmp_path)
    await fleet.open()
    yield fleet
    await fleet.close()


def friend_of(user: str, partition: int) -> str:
    """Return a user whose conversation with this one is in a partition."""
    return next(
        name
        for name in map("friend{}".format, itertools.count())
        if partition_of(f"dm:{min(user, name)}:{max(user, name)}", PARTITIONS) == partition
    )


async def test_a_partition_without_a_leader_delays_a_new_device_there_and_nowhere_else(
    wide_fleet: Fleet,
) -> None:
    """Its session begins, and gets all that is in other partitions. Once there is a leader again,
    it is owed what comes in that partition, too; only then it has caught up.
    """
    fleet, lost = wide_fleet, 7
    # That partition is on the third broker alone; the others go on without it.
    places = [[3] if each == lost else [1 + each % 2] for each in range(PARTITIONS)]
    config = {"message.timestamp.type": "LogAppendTime", "min.insync.replicas": "1"}
    await asyncio.to_thread(
        create_topic, admin(fleet.stack), MESSAGES, assignment=places, config=config
    )
    ws1, ws2 = await fleet.start()
    near, far = friend_of("bob", lost + 1), friend_of("bob", lost)
    await come_and_go(ws1.ws_url, "bob", "laptop")
    async with Peer(ws1.ws_url, near) as one, Peer(ws1.ws_url, far) as other:
        await other.send_and_wait("bob", "before")
        async with killed(fleet.stack.brokers[2]):
            await until(lambda: "log" in ws1.get("/readyz")[1], "/readyz names the log")
            phone = device(ws2.ws_url, "bob", "phone")
            await phone.start()
            assert welcome(phone)["is_new"] is True
            await until_equal(lambda: fleet.fetch(OPEN, "phone"), [(PARTITIONS - 1,)])
            sent = [(await one.send_and_wait("bob", f"live {n}"))["id"] for n in range(20)]
            await until(lambda: set(sent) <= phone.received, "the phone has them")
            await until(lambda: set(sent) <= set(one.statuses), "they are delivered")
            await until_owed(fleet.postgres_url, "bob", laptop=21)
            assert len(phone.visits) == 1
            assert not phone.visit.of("caught_up")  # it may miss something still
        await until_caught_up(phone)
        await until_equal(lambda: fleet.fetch(OPEN, "phone"), [(PARTITIONS,)])
        await phone.stop()
        after = await other.send_and_wait("bob", "after")
        async with device(ws1.ws_url, "bob", "laptop") as laptop:
            await until_caught_up(laptop)
            assert laptop.received == {*sent, after["id"], *other.accepted_ids}
            await until(lambda: after["id"] in other.statuses, "it is delivered")
        async with device(ws1.ws_url, "bob", "phone") as phone:
            assert welcome(phone)["is_new"] is False
            await until_caught_up(phone)
            assert phone.visit.message_ids == [after["id"]]
        await until_owed(fleet.postgres_url, "bob")
