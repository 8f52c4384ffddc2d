"""Rooms, as programs on several devices use them while servers are killed, and what the log says of
who is owed what in them.
"""

import asyncio
import contextlib
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import landline
from landline.client import MemberChanged, Message, RoomChanged
from support.gadgets import Program
from support.waiting import until

# After a removal was accepted, whoever was removed may be pushed so much longer.
REMOVAL_SECONDS = 2.0

Owner = tuple[str, str]  # a user, and their device
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Owed:
    """A message of a room: who was a member at its place in the log, and where it was sent from."""

    members: frozenset[str]
    sent_from: Owner


def owed_by_log(records: Iterable[Record], room: str) -> dict[str, Owed]:
    """Return the messages of a room by id, folded from the log's own records, in their order."""
    members: set[str] = set()
    owed: dict[str, Owed] = {}
    for record in records:
        if record.get("conversation") != room or record.get("message_id") in owed:
            continue
        if record["kind"] == "room":
            members |= set(record["members"] or ())
        elif record["kind"] == "member" and record["change"] == "add":
            members.add(record["user"])
        elif record["kind"] == "member" and record["change"] == "remove":
            members.discard(record["user"])
        elif record["kind"] == "message":
            sent_from = (record["sender"], record["device"])
            owed[record["message_id"]] = Owed(frozenset(members), sent_from)
    return owed


@contextlib.asynccontextmanager
async def gathering(
    urls: Sequence[str], users: Iterable[str], devices: Sequence[str] = ("phone", "laptop")
) -> AsyncIterator[dict[Owner, Program]]:
    """Have each of these users there on each of these devices, with a Python client each. The
    devices of a user connect to different servers.
    """
    async with contextlib.AsyncExitStack() as stack:
        yield {
            (user, device): await stack.enter_async_context(
                Program(urls[number % len(urls)], user, device)
            )
            for user in users
            for number, device in enumerate(devices)
        }


async def say(program: Program, room: str, count: int) -> set[str]:
    """Say so much, each when what was before is accepted. Returns the ids."""
    name = program.chat.username
    return {(await program.chat.send(room, f"{name} {n}")).id for n in range(count)}


async def until_all_have(
    programs: Mapping[Owner, Program], said: Mapping[Owner, Collection[str]]
) -> None:
    """Wait until each device has all that was not said from it, each once, nothing else, and
    wherever it has come to, in the same place.
    """
    places: dict[str, int] = {}
    for owner, program in programs.items():
        wanted = {id for each, ids in said.items() if each != owner for id in ids}
        await program.until_has(wanted)
        assert Counter(program.ids) == Counter(wanted), owner
        for message in program.messages:
            assert places.setdefault(message.id, message.offset) == message.offset
    assert len(set(places.values())) == len(places)


async def pages_of(
    chat: landline.Chat, conversation: str, limit: int = 37
) -> list[Message | MemberChanged | RoomChanged]:
    """Return all that a user may see of a conversation, page by page from the end, in its order."""
    pages: list[Message | MemberChanged | RoomChanged] = []
    before = None
    while True:
        page = await chat.history(conversation, before=before, limit=limit)
        pages = [*page.messages, *pages]
        if page.complete:
            return pages
        before = page.first


async def check_stranger(program: Program, room: str) -> None:
    """A user hears the same for everything: there is no such conversation."""
    chat = program.chat
    for asks in (
        chat.members(room),
        chat.history(room),
        chat.read(room, 1),
        chat.send(room, "hello"),
        chat.add(room, "zoe"),
        chat.remove(room, "alice"),
        chat.set_title(room, "Mine"),
    ):
        try:
            await asks
        except landline.NoSuchConversation:
            continue
        raise AssertionError("a stranger was let in")
    assert room not in {each.conversation for each in (await chat.conversations()).items}


async def come_and_go_in(
    program: Program, room: str, users: Sequence[str], count: int
) -> Mapping[str, Sequence[datetime]]:
    """Add and remove these users at random, so often. Returns when they were removed."""
    inside = set(users)
    removed = defaultdict[str, list[datetime]](list)
    for _ in range(count):
        user = random.choice(users)
        if user in inside:
            removed[user].append((await program.chat.remove(room, user)).time)
        else:
            await program.chat.add(room, user)
        inside ^= {user}
    for user in set(users) - inside:
        await program.chat.add(room, user)
    return removed


async def say_until(
    is_over: asyncio.Event, program: Program, room: str, pause_seconds: float = 0.0
) -> set[str]:
    """Say one thing after the other, as long as this user may. Returns the ids."""
    said = set[str]()
    for number in itertools.count():
        if is_over.is_set():
            break
        try:
            said.add((await program.chat.send(room, f"{program.chat.username} {number}")).id)
        except landline.NoSuchConversation:
            await asyncio.sleep(0.01)
        await asyncio.sleep(pause_seconds)
    return said


def check_memberships(
    programs: Mapping[Owner, Program],
    owed: Mapping[str, Owed],
    removed: Mapping[str, Sequence[datetime]],
) -> None:
    """No device has what it is not owed, but for what came right after a removal; who was never
    removed has everything.
    """
    slack = timedelta(seconds=REMOVAL_SECONDS)
    for (user, device), program in programs.items():
        assert not Counter(program.ids) - Counter(set(program.ids)), f"{user} has some twice"
        for message in program.messages:
            assert owed[message.id].sent_from != (user, device)
            assert user in owed[message.id].members or any(
                at <= message.time <= at + slack for at in removed.get(user, ())
            ), (user, message)
        if user not in removed:
            wanted = {id for id, it in owed.items() if it.sent_from != (user, device)}
            assert {id for id in wanted if user in owed[id].members} <= set(program.ids)


async def check_members_come_and_go(
    urls: Sequence[str], history: str, changes: int, records: Callable[[], Iterable[Record]]
) -> None:
    """While members of a room are added and removed, each message reaches exactly those who are in
    it at its place in the log, and who pages through it sees what is theirs. `records`: the log's,
    in the order of the room's partition.
    """
    users = ["bob", "carol", "dave", "zoe"]
    async with gathering(urls, ["alice", *users]) as programs:
        alice = programs["alice", "phone"]
        room = (await alice.chat.create_room("All", users, history)).conversation
        is_over = asyncio.Event()
        talking = [
            asyncio.create_task(say_until(is_over, programs[user, "laptop"], room))
            for user in [*users[:2], "alice"]
        ]
        removed = await come_and_go_in(alice, room, users[1:], changes)
        is_over.set()
        await asyncio.gather(*talking)
        last = (await alice.chat.send(room, "the last one")).id
        for owner, program in programs.items():
            if owner != ("alice", "phone"):
                await program.until_has([last])
        owed = owed_by_log(await asyncio.to_thread(lambda: list(records())), room)
        await until(lambda: len(alice.messages) == len(owed) - 1, "alice's phone has the rest")
        check_memberships(programs, owed, removed)
        for user in users:
            seen = [each.id for each in await pages_of(programs[user, "phone"].chat, room, 100)]
            visible = [id for id, it in owed.items() if history == "all" or user in it.members]
            assert [id for id in seen if id in owed] == visible
