"""Rooms whose members are on different servers, some of which are killed."""

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.cluster import Cluster, check_audit, gateways_and_writers
from support.faults import IS_LONG
from support.gadgets import Program
from support.kafka_log import read_log
from support.rooms import (
    Record,
    check_members_come_and_go,
    check_stranger,
    gathering,
    owed_by_log,
    pages_of,
    say_until,
    until_all_have,
)

pytestmark = pytest.mark.stack

CHANGES = 200


@dataclass(frozen=True)
class Size:
    """How many are in the room on two devices each, how many of them talk, how often they pause,
    and how often and at what distance a server and a writer are killed.
    """

    members: int
    senders: int
    pause_seconds: float
    rounds: int
    between_seconds: tuple[float, float]


SHORT = Size(8, 5, 0.05, 3, (0.1, 1.0))
LONG = Size(50, 20, 0.5, 6, (5.0, 5.0))
SIZE = LONG if IS_LONG else SHORT


def records(cluster: Cluster) -> Iterator[Record]:
    """Yield what the log holds. A room has one partition."""
    return (record for _, _, record in read_log(cluster.kafka))


@pytest.mark.timeout(900)
async def test_killed_servers_and_writers_take_nothing_from_a_room(cluster: Cluster) -> None:
    servers, writers = await asyncio.to_thread(gateways_and_writers, cluster)
    users = [f"user-{number}" for number in range(SIZE.members)]
    urls = [servers.here.ws_url, servers.there.ws_url]
    async with (
        gathering(urls, users) as programs,
        Program(servers.here.ws_url, "carol", "phone") as carol,
    ):
        first = programs[users[0], "phone"]
        room = (await first.chat.create_room("All", users)).conversation
        every = itertools.cycle(("laptop", "phone"))
        senders = list(zip(users[: SIZE.senders], every, strict=False))
        is_over = asyncio.Event()
        saying = asyncio.gather(
            *(say_until(is_over, programs[each], room, SIZE.pause_seconds) for each in senders)
        )
        for _ in range(SIZE.rounds):
            for victim in (random.choice(servers.every), random.choice(writers)):
                await asyncio.sleep(random.uniform(*SIZE.between_seconds))
                victim.kill()
                await asyncio.to_thread(victim.start)
        is_over.set()
        said = dict(zip(senders, await saying, strict=True))
        await until_all_have(programs, said)
        await check_stranger(carol, room)
        assert not carol.messages
        everything = {id for ids in said.values() for id in ids}
        assert owed_by_log(records(cluster), room).keys() == everything
        pages = await pages_of(programs[users[7], "phone"].chat, room, limit=100)
        assert {each.id for each in pages[1:]} == everything
        await first.chat.read(room, pages[-1].offset)
        items = (await programs[users[0], "laptop"].chat.conversations()).items
        assert [(each.conversation, each.unread) for each in items] == [(room, 0)]
    await check_audit(cluster)


@pytest.mark.parametrize("history", ["all", "joined"])
async def test_a_message_reaches_exactly_the_members_at_its_place_in_the_log(
    cluster: Cluster, history: str
) -> None:
    servers = await asyncio.to_thread(cluster.pair)
    urls = [servers.here.ws_url, servers.there.ws_url]
    await check_members_come_and_go(urls, history, CHANGES, lambda: records(cluster))
    await check_audit(cluster)
