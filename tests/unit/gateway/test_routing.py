"""Hints: who is told, what a directory in trouble costs, and what may wait for it."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from landline.adapters.memory import MemoryDirectory, MemoryRoutingBus
from landline.delivery import Delivery
from landline.delivery.decisions import RouteMessage, RouteRead, RouteStatus
from landline.errors import DirectoryUnavailable
from landline.gateway import routing
from landline.gateway.routing import Routing
from landline.model import Message, Position, Revocation
from landline.protocol.hints import (
    Hint,
    MessageHint,
    ReadHint,
    RoomHint,
    StatusHint,
    decode_hint,
    encode_revocation_hint,
    encode_room_hint,
)
from landline.protocol.records import ReadRecord
from support.clock import Clock
from support.conversations import ROOM
from support.waiting import running, until


class Directory(MemoryDirectory):
    """Knows where bob and alice are. It fails while it is told to, and counts its questions."""

    def __init__(self) -> None:
        super().__init__({}, "one")
        self.questions: list[set[str]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_down = False

    async def lookup(self, users: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Return one address for bob, two for alice."""
        self.questions.append(set(users))
        await self.answers.wait()
        if self.is_down:
            raise DirectoryUnavailable("no answer")
        return {"bob": frozenset({"two"}), "alice": frozenset({"two", "three"})}


class Bus(MemoryRoutingBus):
    """Notes what is published."""

    def __init__(self) -> None:
        super().__init__({}, "one")
        self.published: list[tuple[str, Hint | None]] = []

    def publish(self, address: str, value: bytes) -> None:
        """Take a hint."""
        self.published.append((address, decode_hint(value)))


class Bench:
    """A routing between its directory and its bus."""

    def __init__(self) -> None:
        self.directory, self.bus = Directory(), Bus()
        self.revoked: list[Revocation] = []
        self.changed: list[tuple[str, int]] = []
        heart = Delivery(
            clock=Clock(),
            new_id=str,
            server_id="s",
            durability="fsync",
            ack_timeout=60.0,
            has_others=True,
        )
        self.routing = Routing(
            directory=self.directory,
            bus=self.bus,
            delivery=heart,
            happened=lambda: None,
            revoked=self.revoked.append,
            room_changed=lambda room, offset: self.changed.append((room, offset)),
        )


def message(offset: int, to: str = "bob", content: str = "hello") -> Message:
    id = f"00000000-0000-4000-8000-{offset:012x}"
    return Message(id, f"dm:carol:{to}", "carol", (to,), content, Position(0, offset), 0)


async def test_who_has_the_user_is_told_and_nobody_else() -> None:
    bench = Bench()
    status = StatusHint("alice", [message(1).id], "bob", "2026-01-01T00:00:00.000Z")
    for decision in (
        RouteMessage(message(1), ("bob",)),
        RouteStatus(status),
        RouteMessage(message(2, to="nobody"), ("nobody",)),
    ):
        bench.routing.put(decision)
    async with running(bench.routing.run()):
        await until(lambda: len(bench.bus.published) == 3, "all are told")
    assert bench.directory.questions == [{"bob", "alice", "nobody"}]
    assert {address for address, _ in bench.bus.published} == {"two", "three"}
    assert bench.bus.published[0] == ("two", MessageHint(message(1), ("bob",)))


async def test_no_answer_means_no_hint_and_the_next_ones_go_out() -> None:
    bench = Bench()
    bench.directory.is_down = True
    bench.routing.put(RouteMessage(message(1), ("bob",)))
    async with running(bench.routing.run()):
        await until(lambda: bench.routing.failures == 1, "it was asked for")
        bench.directory.is_down = False
        bench.routing.put(RouteMessage(message(2), ("bob",)))
        await until(lambda: len(bench.bus.published) == 1, "the next one is told")
    assert bench.bus.published == [("two", MessageHint(message(2), ("bob",)))]


@pytest.mark.parametrize(("bound", "limit"), [("ROUTED_HINTS", 3), ("ROUTED_BYTES", 3_500)])
async def test_what_waits_for_the_directory_is_bounded_and_the_room_comes_back(
    bound: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, bound, limit)
    bench = Bench()
    content = "x" * 1_000
    for offset in range(10):
        bench.routing.put(RouteMessage(message(offset, content=content), ("bob",)))
    assert bench.routing.dropped == 7
    async with running(bench.routing.run()):
        await until(lambda: len(bench.bus.published) == 3, "those that waited are told")
        for offset in range(10, 13):
            bench.routing.put(RouteMessage(message(offset, content=content), ("bob",)))
        await until(lambda: len(bench.bus.published) == 6, "there is room again")
    assert bench.routing.dropped == 7


async def test_what_is_attached_to_messages_that_wait_counts_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routing, "ROUTED_BYTES", 3_500)
    bench = Bench()
    data = '{"a":"' + "x" * 1_000 + '"}'
    for offset in range(10):
        bench.routing.put(RouteMessage(replace(message(offset), data=data), ("bob",)))
    assert bench.routing.dropped == 7


async def test_who_is_told_is_what_the_heart_says() -> None:
    """The sender too, whose other devices may be anywhere; each server once."""
    bench = Bench()
    bench.routing.put(RouteMessage(message(1, to="alice"), ("alice", "bob")))
    async with running(bench.routing.run()):
        await until(lambda: len(bench.bus.published) == 2, "all are told")
    assert bench.directory.questions == [{"alice", "bob"}]
    assert sorted(address for address, _ in bench.bus.published) == ["three", "two"]


async def test_a_hint_about_a_user_who_is_to_leave_is_not_for_the_heart() -> None:
    bench = Bench()
    revocation = Revocation("bob", 7, None)
    bench.routing._heard(encode_revocation_hint(revocation))
    bench.routing._heard(b"no hint")
    assert bench.revoked == [revocation]


async def test_each_server_is_told_once_of_a_message_with_those_who_are_there() -> None:
    bench = Bench()
    sent = Message(message(1).id, ROOM, "carol", (), "hello", Position(0, 1), 0)
    bench.routing.put(RouteMessage(sent, ("alice", "bob", "nobody")))
    async with running(bench.routing.run()):
        await until(lambda: len(bench.bus.published) == 2, "all are told")
    assert dict(bench.bus.published) == {
        "two": MessageHint(sent, ("alice", "bob")),
        "three": MessageHint(sent, ("alice",)),
    }


async def test_marks_are_told_where_those_are_whom_they_are_for() -> None:
    bench = Bench()
    bench.routing.put(RouteRead(ReadRecord(ROOM, (("carol", 7),)), ("bob", "carol")))
    async with running(bench.routing.run()):
        await until(lambda: len(bench.bus.published) == 1, "it is told")
    assert bench.bus.published == [("two", ReadHint(ROOM, [("carol", 7)], ("bob",)))]


async def test_that_a_room_has_changed_is_told_to_all_without_a_look() -> None:
    bench = Bench()
    told: list[bytes] = []
    bench.bus.publish_to_all = told.append  # type: ignore[method-assign, assignment]
    bench.routing.tell_change(ROOM, 7)
    assert [decode_hint(each) for each in told] == [RoomHint(ROOM, 7)]
    assert bench.directory.questions == []


async def test_a_hint_about_a_room_is_for_those_who_know_rooms() -> None:
    bench = Bench()
    bench.routing._heard(encode_room_hint(ROOM, 7))
    assert bench.changed == [(ROOM, 7)]
