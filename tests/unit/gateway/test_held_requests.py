"""Requests of sessions that wait until it is known whether they are allowed."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import orjson
import pytest

from landline.auth.principal import Principal
from landline.delivery.decisions import AppendMessage, AppendReads, Transmit
from landline.delivery.devices import Recognition
from landline.gateway.checks import Checks
from landline.gateway.held_requests import MARKS, HeldRequests
from landline.gateway.pauses import Pause
from landline.gateway.rooms import Rooms
from landline.model import History, Mailbox
from landline.protocol.client_frames import ChangeRoom, Create, MarkRead, Send
from landline.protocol.records import MessageRecord
from support.bench import make_heart
from support.clock import Clock
from support.conversations import ROOM, KnownConversations, known_log, room
from support.waiting import go_round


class Client:
    """A connection of a user."""

    def __init__(self, user: str) -> None:
        self.session = user
        self.principal = Principal(user)
        self.pauses: set[Pause] = set()

    def pause(self, why: Pause) -> None:
        assert why not in self.pauses
        self.pauses.add(why)

    def resume(self, why: Pause) -> None:
        self.pauses.remove(why)


class Bench:
    """Held requests between a heart and a store that has to be asked who is in the room."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.version = 2
        ids = iter(f"00000000-0000-4000-8000-{number:012}" for number in range(1_000))
        self.heart = make_heart(self.clock, ids.__next__, has_others=False)
        log = known_log()
        self.store = KnownConversations(room("alice", "bob"))
        self.store.may_answer.clear()
        self.tasks: set[asyncio.Task[None]] = set()
        rooms = Rooms(
            event_log=log,
            store=log,
            conversations=self.store,
            delivery=self.heart,
            clock=self.clock,
            spawn=self.spawn,
            happened=lambda: None,
        )
        checks = Checks(rooms, None, record_version=lambda: self.version, is_for_everybody=True)
        self.happened = 0
        self.held = HeldRequests(
            checks, delivery=self.heart, spawn=self.spawn, happened=self.happen
        )
        self.clients: dict[str, Client] = {}
        for user in ("alice", "bob", "carol"):
            self.clients[user] = Client(user)
            self.heart.connect(user, user, auto_ack=False)
            self.heart.recognised(user, Recognition(Mailbox(user)))
        self.heart.take_decisions()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def happen(self) -> None:
        self.happened += 1

    async def take(self, user: str, *requests: Any) -> None:
        for request in requests:
            connection: Any = self.clients[user]
            self.held.take(connection, request)
        await go_round(20)

    async def let(self) -> None:
        """Let the store answer."""
        self.store.may_answer.set()
        await go_round(50)

    def decided(self) -> list[Any]:
        """Return what the heart wants: contents for the log, marks, and errors."""
        self.heart.end_turn()
        found: list[Any] = []
        for decision in self.heart.take_decisions():
            if isinstance(decision, AppendMessage):
                record = decision.flight.record
                found.append(record.content if isinstance(record, MessageRecord) else record)
            elif isinstance(decision, AppendReads):
                found.append(dict(decision.record.entries))
            elif isinstance(decision, Transmit):
                found.append((decision.session, orjson.loads(decision.frame)))
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


def send(content: str, **fields: Any) -> Send:
    return Send("", content, conversation=ROOM, **fields)


async def test_what_is_known_waits_for_nothing(bench: Bench) -> None:
    bench.store.listed_members = []
    await bench.take("alice", MarkRead("dm:alice:bob", 6))
    await bench.let()
    assert bench.decided() == [{"alice": 6}]
    await bench.take("alice", Send("bob", "hello"), MarkRead("dm:alice:bob", 7))
    assert bench.decided() == ["hello"]
    assert (len(bench.held), bench.clients["alice"].pauses) == (0, set())


async def test_a_session_that_has_something_held_takes_nothing_more_until_then(
    bench: Bench,
) -> None:
    await bench.take("alice", send("one"))
    assert bench.clients["alice"].pauses == {Pause.QUESTION}
    assert len(bench.held) == 1
    assert bench.decided() == []
    await bench.let()
    assert bench.clients["alice"].pauses == set()
    assert len(bench.held) == 0
    assert bench.decided() == ["one"]
    assert bench.happened == 1


async def test_the_order_of_a_session_is_kept_from_the_held_to_the_known(bench: Bench) -> None:
    await bench.take("alice", send("one"))
    await bench.let()
    await bench.take("alice", send("two"), MarkRead(ROOM, 7), ChangeRoom(ROOM, "title"))
    one, two, title, mark = bench.decided()
    assert (one, two, title.title, mark) == ("one", "two", "title", {"alice": 7})
    assert len(bench.store.questions) == 1


async def test_other_sessions_go_on_meanwhile(bench: Bench) -> None:
    await bench.take("alice", send("one"))
    await bench.take("carol", Send("bob", "hello"))
    assert bench.decided() == ["hello"]
    assert bench.clients["carol"].pauses == set()


async def test_what_is_refused_is_answered_under_its_ref_and_the_session_goes_on(
    bench: Bench,
) -> None:
    await bench.take("carol", send("one", ref="r1"))
    await bench.let()
    ((session, error),) = bench.decided()
    assert session == "carol"
    assert (error["code"], error["outcome"]) == ("no_such_conversation", "rejected")
    assert error["ref"] == "r1"
    assert bench.clients["carol"].pauses == set()


async def test_nothing_waits_for_a_mark_and_one_that_is_refused_is_answered(bench: Bench) -> None:
    await bench.take("alice", MarkRead(ROOM, 7))
    await bench.take("carol", MarkRead(ROOM, 7))
    assert bench.clients["alice"].pauses == bench.clients["carol"].pauses == set()
    assert len(bench.held) == 2
    assert bench.decided() == []
    await bench.let()
    said = bench.decided()
    assert {"alice": 7} in said
    ((_, error),) = [each for each in said if isinstance(each, tuple)]
    assert (error["code"], error["outcome"]) == ("no_such_conversation", "rejected")


async def test_marks_that_wait_are_bounded(bench: Bench) -> None:
    await bench.take("alice", *(MarkRead(ROOM, 7) for _ in range(MARKS + 1)))
    [(_, error)] = bench.decided()
    assert (error["code"], error["conversation"]) == ("busy", ROOM)
    await bench.take("bob", MarkRead(ROOM, 7))
    assert bench.decided() == []
    await bench.let()
    assert bench.decided() == [{"alice": 7, "bob": 7}]
    assert len(bench.held) == 0


async def test_a_room_is_made_once_it_is_known_that_there_is_none(bench: Bench) -> None:
    await bench.take("bob", Create("title", ("carol",), History.ALL, "mine"))
    assert bench.decided() == []
    await bench.let()
    (made,) = bench.decided()
    assert made.members == ("bob", "carol")


async def test_a_ref_that_has_made_another_room_makes_none(bench: Bench) -> None:
    await bench.take("alice", Create("other", (), History.ALL, "the room"))
    await bench.let()
    assert bench.decided() == [], "it is looked for first"


async def test_who_has_left_meanwhile_has_sent_nothing(bench: Bench) -> None:
    await bench.take("alice", send("one"))
    bench.heart.disconnect("alice")
    await bench.let()
    assert [each for each in bench.decided() if each == "one"] == []
    assert len(bench.held) == 0


async def test_a_repeat_of_what_is_held_is_not_rejected_meanwhile(bench: Bench) -> None:
    """The one that is held may still get into the log."""
    await bench.take("alice", send("one", ref="r1"))
    bench.heart.refuse_sends("not now")
    bench.clients["alice2"] = Client("alice")
    bench.clients["alice2"].session = "alice2"
    bench.heart.connect("alice2", "alice", auto_ack=False)
    bench.heart.recognised("alice2", Recognition(Mailbox("alice")))
    bench.decided()
    await bench.take("alice2", send("one", ref="r1"))
    ((_, error),) = bench.decided()
    assert error["outcome"] == "unknown"
