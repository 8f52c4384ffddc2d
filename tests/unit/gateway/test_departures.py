"""Users who are no more: what ends, in which order, and what is said where it does not."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest

from landline.errors import LogUnavailable, StoreUnavailable
from landline.gateway import departures as module
from landline.gateway.departures import Departures
from landline.model import (
    Appended,
    AppendResult,
    Device,
    ListedConversation,
    ListQuery,
    NotAppended,
    Position,
    Positions,
    Revocation,
)
from landline.protocol import server_frames
from landline.protocol.client_frames import ChangeMember
from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.identity import room_conversation
from landline.protocol.limits import PAGE_ITEMS
from landline.protocol.records import DeviceRecord, decode_record
from support.conversations import KnownLog

LEFT = server_frames.accepted(ref=None, id="1", conversation="room", offset=1, time_ms=0)


def refused(code: ErrorCode) -> bytes:
    return server_frames.error(code, "why", outcome=Outcome.REJECTED)


class World(KnownLog):
    """All that departures ask: what happened stands in `done`."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        # As a store lists them: the newest first.
        self.items = [
            ListedConversation(name, None, None, 1, len(names) - place, None, 0, 0)
            for place, name in enumerate(names)
        ]
        self.devices_of_bob: Sequence[Device] = ()
        self.done: list[Any] = []
        self.answers: dict[str, bytes] = {}
        self.result: AppendResult = Appended(Position(0, 1), 0)
        self.answers_appends = True
        self.joined_late: dict[str, ListedConversation] = {}
        world: Any = self
        self.departures = Departures(
            event_log=world,
            store=world,
            devices=world,
            conversations=world,
            revocations=world,
            posts=world,
            heard_seconds=0.0,
        )

    async def revoke(self, user: str, until_ms: int | None, by: str) -> Revocation:
        self.done.append(("revoked", user, by))
        return Revocation(user, 7, until_ms)

    async def list(self, query: ListQuery) -> Sequence[ListedConversation]:
        items = [
            each for each in self.items
            if query.after is None or each.last_time_ms < query.after[0]
        ]  # fmt: skip
        return items[: query.limit]

    async def devices(self, _users: Collection[str]) -> Mapping[str, Sequence[Device]]:
        return {"bob": self.devices_of_bob} if self.devices_of_bob else {}

    async def post(
        self, user: str, change: ChangeMember, *, is_service: bool, is_product: bool
    ) -> bytes:
        assert is_service
        assert is_product
        assert change.ref is None, "a user may end more than once"
        self.done.append(("left", user, change.user, change.conversation))
        self.items = [each for each in self.items if each.name != change.conversation]
        if (late := self.joined_late.pop(change.conversation, None)) is not None:
            self.items.insert(0, late)  # a message has come in it, so it is the newest now
        return self.answers.get(change.conversation, LEFT)

    def append(
        self, key: str, value: bytes, done: Callable[[AppendResult], None], partition: int
    ) -> None:
        self.done.append((key, decode_record(value), partition))
        if self.answers_appends:
            self.devices_of_bob = [
                each._replace(opened=each.opened - {partition}) for each in self.devices_of_bob
            ]
            done(self.result)

    async def end_user(self, user: str, name: str, before: Positions) -> None:
        assert self.waited[-1] == before, "all of it is applied"
        self.done.append(("ended", user, name, before))

    async def end_bob(self) -> tuple[int, int]:
        ended = await asyncio.wait_for(self.departures.end("bob", "nobody", None, "backend"), 60)
        return ended.rooms, ended.devices


def room(number: int) -> str:
    return room_conversation("alice", str(number))


async def test_sessions_end_first_then_memberships_and_devices() -> None:
    world = World(room(1), "dm:alice:bob")
    world.devices_of_bob = [Device("bob", "phone", frozenset({0, 1}), 0)]
    assert await world.end_bob() == (1, 1)
    removed = DeviceRecord("bob", "phone", is_added=False)
    assert world.done[:2] == [("revoked", "bob", "backend"), ("left", "backend", "bob", room(1))]
    assert sorted(world.done[2:4], key=str) == [("bob", removed, 0), ("bob", removed, 1)]
    assert world.done[4:] == [("ended", "bob", "nobody", {0: world.end})]


async def test_whoever_has_nothing_ends_too() -> None:
    assert await World().end_bob() == (0, 0)


async def test_every_page_of_rooms_is_left() -> None:
    names = [room(number) for number in range(2 * PAGE_ITEMS)]
    world = World(*names, "dm:alice:bob")
    assert (await world.end_bob())[0] == 2 * PAGE_ITEMS
    assert {each[3] for each in world.done if each[0] == "left"} == set(names)


async def test_a_room_that_moves_while_the_list_is_gone_through_is_left_too() -> None:
    """It stands before the place where the next page begins, so that does not have it."""
    names = [room(number) for number in range(2 * PAGE_ITEMS)]
    world = World(*names)
    late = ListedConversation(room(1_000), None, None, 1, 10_000, None, 0, 0)
    world.joined_late[names[0]] = late
    assert (await world.end_bob())[0] == 2 * PAGE_ITEMS + 1
    assert ("left", "backend", "bob", late.name) in world.done


@pytest.mark.parametrize("code", [ErrorCode.BAD_RECIPIENT, ErrorCode.NO_SUCH_CONVERSATION])
async def test_a_room_that_was_left_meanwhile_is_no_trouble(code: ErrorCode) -> None:
    world = World(room(1), room(2))
    world.answers[room(1)] = refused(code)
    assert await world.end_bob() == (2, 0)


@pytest.mark.parametrize("code", [ErrorCode.BUSY, ErrorCode.UNAVAILABLE])
async def test_a_room_that_cannot_be_left_now_is_told(code: ErrorCode) -> None:
    world = World(room(1))
    world.answers[room(1)] = refused(code)
    with pytest.raises(LogUnavailable, match="repeat the request"):
        await world.end_bob()


async def test_a_device_that_cannot_be_ended_now_is_told() -> None:
    world = World()
    world.devices_of_bob = [Device("bob", "phone", frozenset({0}), 0)]
    world.result = NotAppended(False, "not now")
    with pytest.raises(LogUnavailable, match="repeat the request"):
        await world.end_bob()


async def test_what_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEPARTURE_SECONDS", 0.01)
    world = World()
    world.devices_of_bob = [Device("bob", "phone", frozenset({0}), 0)]
    world.answers_appends = False
    with pytest.raises(StoreUnavailable, match="repeat the request"):
        await world.end_bob()
