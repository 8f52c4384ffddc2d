"""Rooms, lists, history and marks of reading on a real server."""

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

import landline
from landline.client import Conversation, MemberChanged, Message, RoomChanged
from support.data_directory import NAME, read
from support.gadgets import Program, come_and_go
from support.rooms import (
    check_members_come_and_go,
    check_stranger,
    gathering,
    owed_by_log,
    pages_of,
    say,
    until_all_have,
)
from support.server import ServerProcess
from support.waiting import until_equal

# Less than that is enough where a server is killed all the time.
ROUNDS = 4
CHANGES = 200


def records(server: ServerProcess) -> list[Mapping[str, Any]]:
    """Return what the log holds, in its order."""
    rows = read(server.data_dir / NAME, "SELECT CAST(value AS TEXT) FROM log ORDER BY offset")
    return [json.loads(str(value)) for (value,) in rows]


async def listed(program: Program) -> dict[str, Conversation]:
    """Return what a user's list says, by conversation."""
    return {each.conversation: each for each in (await program.chat.conversations()).items}


async def test_a_room_from_its_beginning_to_its_end(server: ServerProcess) -> None:
    async with gathering([server.ws_url], ["alice", "bob", "carol", "zoe"]) as programs:
        alice, bob = programs["alice", "phone"], programs["bob", "laptop"]
        carol, zoe = programs["carol", "phone"], programs["zoe", "phone"]
        made = await alice.chat.create_room("Lunch", ["bob", "zoe"])
        room = made.conversation
        await check_stranger(carol, room)
        await check_stranger(carol, "room:00000000-0000-8000-8000-000000000000")
        said = {("alice", "phone"): await say(alice, room, 3), ("bob", "laptop"): set[str]()}
        said["bob", "laptop"] = await say(bob, room, 2)
        members = {owner: it for owner, it in programs.items() if owner[0] != "carol"}
        await until_all_have(members, said)
        assert all(message.to == "" for message in bob.messages)

        with pytest.raises(landline.MessageRejected) as refusal:
            await bob.chat.add(room, "carol")
        assert refusal.value.code == "forbidden"
        await alice.chat.set_role(room, "bob", "admin")
        await bob.chat.set_title(room, "Dinner")
        await bob.chat.add(room, "carol")
        last = await carol.chat.send(room, "hello")
        assert [(each.user, each.role) for each in await zoe.chat.members(room)] == [
            ("alice", "admin"),
            ("bob", "admin"),
            ("zoe", "member"),
            ("carol", "member"),
        ]
        pages = await pages_of(carol.chat, room, limit=3)
        assert [type(each) for each in pages] == [
            RoomChanged,
            *[Message] * 5,
            MemberChanged,
            RoomChanged,
            MemberChanged,
            Message,
        ]
        offsets = [each.offset for each in pages]
        assert offsets == sorted(set(offsets))
        assert (pages[0].id, pages[-1].id) == (made.id, last.id)

        await alice.chat.remove(room, "zoe")
        await check_stranger(zoe, room)
        await alice.chat.remove(room, "alice")
        await check_stranger(alice, room)
        assert [(each.user, each.role) for each in await bob.chat.members(room)] == [
            ("bob", "admin"),
            ("carol", "member"),
        ]


async def test_what_is_unread_goes_down_on_all_devices(server: ServerProcess) -> None:
    async with gathering([server.ws_url], ["alice", "bob"]) as programs:
        alice, phone = programs["alice", "phone"], programs["bob", "phone"]
        room = (await alice.chat.create_room("Lunch", ["bob"])).conversation
        offsets = [(await alice.chat.send(room, f"message {n}")).offset for n in range(5)]
        direct = await alice.chat.send("bob", "hello")
        items = await listed(phone)
        assert list(items) == [direct.conversation, room]
        assert (items[room].kind, items[room].title, items[room].role) == (
            "room",
            "Lunch",
            "member",
        )
        assert items[room].preview == "message 4"
        assert (items[room].unread, items[direct.conversation].unread) == (6, 1)
        assert {each.unread for each in (await listed(alice)).values()} == {0}
        await phone.chat.read(room, offsets[2])
        await phone.chat.read(room, offsets[1])  # it joins by maximum
        for device in ("phone", "laptop"):
            item = (await listed(programs["bob", device]))[room]
            assert (item.unread, item.read_offset) == (2, offsets[2])
        seen = {each.user: each.read_offset for each in await alice.chat.members(room)}
        assert seen["bob"] == offsets[2]
        statuses = {
            each.user: each.is_delivered for each in await alice.chat.deliveries([direct.id])
        }
        assert statuses == {"bob": True}


async def test_a_device_that_comes_later_finds_everything_in_the_history(
    server: ServerProcess,
) -> None:
    async with Program(server.ws_url, "alice", "phone") as alice:
        sending = asyncio.gather(*(alice.chat.send("bob", f"message {n}") for n in range(1_000)))
        for _ in range(2):
            await asyncio.sleep(random.uniform(0.05, 0.3))
            server.kill()
            await asyncio.to_thread(server.start)
        said = sorted(await sending, key=lambda each: each.offset)
        assert (await come_and_go(server.ws_url, "bob", "watch"))["is_new"] is True
        async with Program(server.ws_url, "bob", "tablet") as tablet:
            pages = await pages_of(tablet.chat, said[0].conversation, limit=100)
            assert [each.id for each in pages] == [each.id for each in said]
            assert not tablet.messages


async def test_a_server_that_is_killed_takes_nothing_from_a_room(server: ServerProcess) -> None:
    users = [f"user-{number}" for number in range(8)]
    async with gathering([server.ws_url], users) as programs:
        first = programs[users[0], "phone"]
        room = (await first.chat.create_room("All", users)).conversation
        senders = [(user, "phone") for user in users[:5]]
        saying = asyncio.gather(*(say(programs[each], room, 60) for each in senders))
        for _ in range(ROUNDS):
            await asyncio.sleep(random.uniform(0.1, 0.6))
            server.kill()
            await asyncio.to_thread(server.start)
        await until_all_have(programs, dict(zip(senders, await saying, strict=True)))
        assert owed_by_log(records(server), room).keys() == set(first.ids) | {
            each.id
            for each in await pages_of(programs[users[1], "phone"].chat, room, limit=100)
            if isinstance(each, Message) and each.sender == users[0]
        }


@pytest.mark.parametrize("history", ["all", "joined"])
async def test_a_message_reaches_exactly_the_members_at_its_place_in_the_log(
    server: ServerProcess, history: str
) -> None:
    await check_members_come_and_go([server.ws_url], history, CHANGES, lambda: records(server))


async def test_a_room_is_full_at_256(server: ServerProcess) -> None:
    async with Program(server.ws_url, "alice", "phone") as alice:
        members = [f"user-{number}" for number in range(255)]
        with pytest.raises(landline.RoomFull):
            await alice.chat.create_room("Too many", [*members, "one-more"])
        room = (await alice.chat.create_room("Full", members)).conversation
        with pytest.raises(landline.RoomFull):
            await alice.chat.add(room, "one-more")
        await alice.chat.remove(room, members[0])
        await alice.chat.add(room, "one-more")

        async def count() -> int:
            return len(await alice.chat.members(room))

        await until_equal(count, 256)
