"""A read mark that comes by request is answered once it is in the log."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import orjson
import pytest

from landline.delivery import reads
from landline.delivery.decisions import AppendReads
from landline.delivery.reads import READ_SECONDS
from landline.delivery.receipts import RETRY_SECONDS
from landline.errors import LandlineError
from landline.gateway import marks
from landline.gateway.checks import Checks
from landline.gateway.marks import Marks
from landline.gateway.rooms import Rooms
from landline.model import Appended, AppendResult, NotAppended, Position
from landline.protocol.client_frames import MarkRead
from landline.protocol.records import ReadRecord
from support.bench import make_heart
from support.clock import Clock
from support.conversations import ROOM, KnownConversations, known_log, room
from support.waiting import go_round

IN_THE_LOG = Appended(Position(0, 9), 1_000)


class Desk:
    """As much of a hub as marks need, and a log that answers when it is told to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.version = 2
        self.heart = make_heart(self.clock)
        self.tasks: list[asyncio.Task[None]] = []
        self.records: list[ReadRecord] = []
        self.store = KnownConversations(room("alice", "bob"))
        log = known_log()
        rooms = Rooms(
            event_log=log,
            store=log,
            conversations=self.store,
            delivery=self.heart,
            clock=self.clock,
            spawn=self.spawn,
            happened=self.happened,
        )
        checks = Checks(rooms, None, record_version=lambda: self.version, is_for_everybody=True)
        self.marks = Marks(delivery=self.heart, happened=self.happened, checks=checks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def happened(self) -> None:
        self.heart.end_turn()
        self.records += [
            each.record for each in self.heart.take_decisions() if isinstance(each, AppendReads)
        ]

    def append(self, result: AppendResult = IN_THE_LOG) -> ReadRecord:
        """Have the log answer. Returns what it was given."""
        record = self.records.pop(0)
        self.heart.reads_appended(record, result)
        if isinstance(result, Appended):
            self.marks.appended(record)
        self.happened()
        return record

    async def mark(
        self, offset: int, user: str = "alice", conversation: str = ROOM
    ) -> asyncio.Task[bytes]:
        marking = asyncio.create_task(self.marks.mark(user, MarkRead(conversation, offset)))
        await go_round(20)
        return marking


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def answer(marking: asyncio.Task[bytes]) -> dict[str, Any]:
    frame: dict[str, Any] = orjson.loads(await asyncio.wait_for(marking, 60))
    return frame


async def test_it_is_answered_when_it_is_in_the_log_and_not_before(desk: Desk) -> None:
    marking = await desk.mark(7)
    assert not marking.done()
    assert len(desk.marks) == 1
    assert desk.append().entries == (("alice", 7),)
    assert await answer(marking) == {
        "type": "read", "conversation": ROOM, "entries": [["alice", 7]],
    }  # fmt: skip
    assert len(desk.marks) == 0


async def test_each_waits_for_its_own_mark(desk: Desk) -> None:
    """One that goes further covers those before it; that of another user, or an older, does not."""
    first, further = await desk.mark(7), await desk.mark(9)
    between, other = await desk.mark(8), await desk.mark(8, "bob")
    desk.append()
    await go_round(5)
    assert [each.done() for each in (first, further, between, other)] == [True] + 3 * [False]
    desk.clock.now += READ_SECONDS
    desk.happened()
    assert dict(desk.append().entries) == {"alice": 9, "bob": 8}
    for marking, offset in ((further, 9), (between, 8), (other, 8)):
        assert (await answer(marking))["entries"][0][1] == offset


async def test_what_the_log_does_not_take_at_once_is_tried_again(desk: Desk) -> None:
    marking = await desk.mark(7)
    desk.append(NotAppended(False, "not now"))
    await go_round(5)
    assert not marking.done()
    desk.clock.now += RETRY_SECONDS + READ_SECONDS
    desk.happened()
    desk.append()
    assert (await answer(marking))["type"] == "read"


async def test_who_hears_nothing_is_told_that_it_is_unknown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "MARK_SECONDS", 0.01)
    said = await answer(await desk.mark(7))
    assert (said["code"], said["outcome"]) == ("unavailable", "unknown")
    assert len(desk.marks) == 0
    desk.append()  # for nobody


async def test_who_has_gone_is_not_answered(desk: Desk) -> None:
    marking = await desk.mark(7)
    marking.cancel()
    await go_round(5)
    assert len(desk.marks) == 0
    desk.append()


async def test_at_the_end_of_the_server_nobody_is_left_waiting(desk: Desk) -> None:
    marking = await desk.mark(7)
    desk.marks.end()
    assert (await answer(marking))["outcome"] == "unknown"
    assert (await answer(await desk.mark(8)))["outcome"] == "unknown"
    assert len(desk.records) == 1


async def test_marks_of_others_conversations_are_refused(desk: Desk) -> None:
    for user, conversation in (("carol", ROOM), ("carol", "dm:alice:bob")):
        said = await answer(await desk.mark(7, user, conversation))
        assert (said["code"], said["outcome"]) == ("no_such_conversation", "rejected")
    desk.version = 1
    assert (await answer(await desk.mark(7)))["code"] == "busy"
    assert not desk.records


async def test_more_than_can_wait_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "QUEUED_READS", 0)
    said = await answer(await desk.mark(7))
    assert (said["code"], said["outcome"]) == ("busy", "rejected")
    assert len(desk.marks) == 0


async def test_who_may_not_any_more_has_marked_nothing(desk: Desk) -> None:
    def check() -> None:
        raise LandlineError("their token has expired")

    with pytest.raises(LandlineError):
        await desk.marks.mark("alice", MarkRead(ROOM, 7), check=check)
    assert not desk.records
