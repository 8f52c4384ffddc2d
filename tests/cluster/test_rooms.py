"""Rooms whose members are on different servers, some of which are killed."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from support.cluster import Cluster, check_audit, gateways_and_writers
from support.gadgets import Program
from support.kafka_log import read_log
from support.rooms import (
    Record,
    check_members_come_and_go,
    check_stranger,
    gathering,
    owed_by_log,
    pages_of,
    say,
    until_all_have,
)

pytestmark = pytest.mark.stack

ROUNDS = 3
CHANGES = 200


def records(cluster: Cluster) -> Iterator[Record]:
    """Yield what the log holds. A room has one partition."""
    return (record for _, _, record in read_log(cluster.kafka))


async def test_killed_servers_and_writers_take_nothing_from_a_room(cluster: Cluster) -> None:
    servers, writers = await asyncio.to_thread(gateways_and_writers, cluster)
    users = [f"user-{number}" for number in range(8)]
    urls = [servers.here.ws_url, servers.there.ws_url]
    async with (
        gathering(urls, users) as programs,
        Program(servers.here.ws_url, "carol", "phone") as carol,
    ):
        first = programs[users[0], "phone"]
        room = (await first.chat.create_room("All", users)).conversation
        senders = [(user, "phone" if n % 2 else "laptop") for n, user in enumerate(users[:5])]
        saying = asyncio.gather(*(say(programs[each], room, 60) for each in senders))
        for _ in range(ROUNDS):
            for victim in (random.choice(servers.every), random.choice(writers)):
                await asyncio.sleep(random.uniform(0.1, 1.0))
                victim.kill()
                await asyncio.to_thread(victim.start)
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
