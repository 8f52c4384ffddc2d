"""Sends without an answer: kept before they go out, repeated until answered, forgotten then."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from landline.client.errors import ChatClosed, ClientError, MessageRejected, MessageUncertain
from landline.client.events import Acceptance, Accepted, Event, Rejected
from landline.client.outbox import Draft, MemoryOutbox
from landline.client.outgoing import NOT_KEPT, Outgoing
from landline.client.repeats import IN_FLIGHT, IN_FLIGHT_BYTES, UnansweredSend
from landline.client.wire import ErrorFrame
from support.waiting import until

ACCEPTANCE = Acceptance("id", "dm:a:b", 1, datetime(2026, 1, 2, tzinfo=UTC))


class Line:
    """The sends of a chat between an outbox and a socket; `happened` is what both were given."""

    def __init__(self, *, has_listener: bool = True) -> None:
        self.happened: list[str] = []
        self.frames: list[dict[str, Any]] = []
        self.events: list[Event] = []
        self.failures: list[Exception] = []
        self.defect: Exception | None = None  # of the listener
        self.problem: Exception | None = None
        self.is_free = asyncio.Event()
        self.is_free.set()
        line = self

        class Outbox(MemoryOutbox):
            async def add(self, draft: Draft) -> None:
                await line.is_free.wait()
                if line.problem is not None:
                    raise line.problem
                line.happened.append(f"kept {draft.ref}")

            async def remove(self, refs: Sequence[str]) -> None:
                line.happened.extend(f"forgot {ref}" for ref in refs)

        self.has_work = asyncio.Event()
        self.outgoing = Outgoing(
            Outbox(), self.hear if has_listener else None, self.failures.append, self.has_work
        )

    def hear(self, event: Event) -> None:
        if self.defect is not None:
            raise self.defect
        self.events.append(event)

    async def begin(self, *refs: str, to: str = "b") -> list[UnansweredSend]:
        """Begin to send, and wait until it is kept, or is not."""
        sends = [self.outgoing.begin(Draft(ref, to, "hello")) for ref in refs]
        await until(lambda: not self.outgoing._keeping, "all are kept")
        return sends

    async def write(self) -> list[str]:
        """Write what may go out. Returns the refs."""
        before = len(self.frames)

        async def send(frame: bytes) -> None:
            self.frames.append(orjson.loads(frame))
            self.happened.append(f"sent {self.frames[-1]['ref']}")

        await self.outgoing.write(send)
        return [frame["ref"] for frame in self.frames[before:]]

    def refuse(self, ref: str, code: str, outcome: str | None = "rejected") -> None:
        self.outgoing.refused(ErrorFrame(ref, code, "no", outcome, 0.0))


async def test_a_draft_is_kept_before_it_is_sent_and_forgotten_after_its_acceptance_is_told() -> (
    None
):
    line = Line()
    line.is_free.clear()
    send = line.outgoing.begin(Draft("r", "b", "hello"))
    await asyncio.sleep(0)
    assert await line.write() == []
    assert [draft.ref for draft in line.outgoing.unanswered] == ["r"]
    line.is_free.set()
    await until(lambda: send.is_kept, "it is kept")
    assert await line.write() == ["r"]
    await line.outgoing.forget_answered()
    line.outgoing.accepted("r", ACCEPTANCE)
    assert line.events == [Accepted("b", "hello", ACCEPTANCE)]
    await line.outgoing.forget_answered()
    assert line.happened == ["kept r", "sent r", "forgot r"]
    assert await send.answer == ACCEPTANCE
    assert line.outgoing.unanswered == []


async def test_where_the_listener_fails_the_draft_is_not_forgotten() -> None:
    line = Line()
    await line.begin("r")
    await line.write()
    line.defect = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        line.outgoing.accepted("r", ACCEPTANCE)
    await line.outgoing.forget_answered()
    assert "forgot r" not in line.happened


async def test_no_more_are_under_way_than_the_server_reads() -> None:
    line = Line()
    refs = [str(number) for number in range(IN_FLIGHT + 2)]
    await line.begin(*refs)
    assert await line.write() == refs[:IN_FLIGHT]
    assert await line.write() == []
    line.outgoing.accepted("7", ACCEPTANCE)
    assert await line.write() == refs[IN_FLIGHT : IN_FLIGHT + 1]


async def test_no_more_bytes_are_under_way_than_a_slow_line_carries_in_half_a_second() -> None:
    """But always one, however large."""
    line = Line()
    for ref in ("1", "2", "3", "4"):
        line.outgoing.begin(Draft(ref, "b", "x" * (IN_FLIGHT_BYTES // 2)))
    await until(lambda: not line.outgoing._keeping, "all are kept")
    assert await line.write() == ["1", "2"]
    line.refuse("1", "busy")
    assert await line.write() == []
    line.outgoing.accepted("2", ACCEPTANCE)
    assert await line.write() == []
    line.outgoing.disconnected()
    line.outgoing.connected()
    assert await line.write() == ["1", "3"]


async def test_after_a_reconnect_what_was_under_way_is_repeated_before_what_was_not() -> None:
    line = Line()
    await line.begin("1", "2")
    await line.write()
    await line.begin("3")
    line.outgoing.disconnected()
    assert not line.outgoing.are_in_flight
    line.outgoing.connected()
    assert await line.write() == ["1", "2"]
    line.outgoing.accepted("1", ACCEPTANCE)
    assert await line.write() == []
    line.outgoing.accepted("2", ACCEPTANCE)
    assert await line.write() == ["3"]
    assert [frame.get("retry", False) for frame in line.frames[2:]] == [True, True, False]


async def test_what_an_earlier_chat_left_is_repeated() -> None:
    line = Line()
    line.outgoing.take_over([Draft("old", "b", "hello")])
    await line.write()
    assert line.frames[0]["retry"] is True


async def test_one_that_is_rejected_is_told_to_whoever_waits_and_forgotten() -> None:
    line = Line()
    [send] = await line.begin("r")
    await line.write()
    line.refuse("r", "bad_recipient")
    with pytest.raises(MessageRejected, match="bad_recipient: no"):
        await send.answer
    await line.outgoing.forget_answered()
    assert line.happened[-1] == "forgot r"
    assert line.events == []


@pytest.mark.parametrize("has_listener", [True, False])
async def test_one_that_is_rejected_and_nobody_waits_for_is_forgotten_only_if_it_is_told(
    caplog: pytest.LogCaptureFixture, *, has_listener: bool
) -> None:
    line = Line(has_listener=has_listener)
    line.outgoing.take_over([Draft("old", "b", "hello")])
    await line.write()
    with caplog.at_level(logging.WARNING, "landline.client"):
        line.refuse("old", "bad_recipient")
    await line.outgoing.forget_answered()
    assert ("forgot old" in line.happened) is has_listener
    assert ("was rejected" in caplog.text) is not has_listener
    told = [Rejected("b", "hello", "bad_recipient", "no")]
    assert line.events == (told if has_listener else [])


@pytest.mark.parametrize(
    ("code", "outcome", "retry"),
    [
        ("busy", "rejected", False),
        ("too_fast", "rejected", False),
        ("unavailable", "unknown", True),
    ],
)
async def test_one_that_could_not_be_taken_now_goes_out_again(
    code: str, outcome: str, retry: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline.client.repeats.repeat_delay", lambda *_: 0.0)
    line = Line()
    [send] = await line.begin("r")
    await line.write()
    line.has_work.clear()
    line.refuse("r", code, outcome)
    line.has_work.clear()
    await asyncio.wait_for(line.has_work.wait(), 60)
    assert await line.write() == ["r"]
    assert line.frames[-1].get("retry", False) is retry
    assert not send.answer.done()


@pytest.mark.parametrize("is_old", [True, False])
@pytest.mark.parametrize(
    "code", ["forbidden", "no_such_conversation", "bad_recipient", "bad_ref", "room_full"]
)
async def test_one_that_is_forbidden_and_may_be_in_the_log_is_given_up_at_last(
    monkeypatch: pytest.MonkeyPatch, code: str, *, is_old: bool
) -> None:
    """Its sender was removed from the room, or is no admin any more."""
    monkeypatch.setattr("landline.client.repeats.repeat_delay", lambda *_: 0.0)
    line = Line()
    sends = []
    if is_old:
        line.outgoing.take_over([Draft("r", "b", "hello")])
    else:
        sends = await line.begin("r")
    for _ in range(5):
        line.has_work.clear()
        if not await line.write():
            await asyncio.wait_for(line.has_work.wait(), 60)
            await line.write()
        line.refuse("r", code, "unknown")
    assert line.frames[-1]["retry"]
    assert len(line.frames) == 5
    assert not line.outgoing.unanswered
    await line.outgoing.forget_answered()
    assert line.happened[-1] == "forgot r"
    if is_old:
        assert line.events == [Rejected("b", "hello", code, "no", is_certain=False)]
    for send in sends:
        with pytest.raises(MessageUncertain, match=f"{code}: no; it is unknown"):
            await send.answer


async def test_one_that_cannot_be_kept_is_not_sent() -> None:
    line = Line()
    line.problem = ClientError("the disk is full")
    [send] = await line.begin("r")
    with pytest.raises(ClientError, match="full"):
        await send.answer
    assert await line.write() == []
    assert line.outgoing.unanswered == []


async def test_one_that_cannot_be_kept_after_its_sender_gave_up_is_told() -> None:
    line = Line()
    line.is_free.clear()
    line.problem = ClientError("the disk is full")
    send = line.outgoing.begin(Draft("r", "b", "hello"))
    line.outgoing.give_up(send)
    line.is_free.set()
    await until(lambda: bool(line.events), "it is told")
    assert line.events == [Rejected("b", "hello", NOT_KEPT, "the disk is full")]


async def test_a_listener_that_fails_then_ends_the_chat() -> None:
    line = Line()
    line.is_free.clear()
    line.problem = ClientError("the disk is full")
    line.defect = ZeroDivisionError()
    line.outgoing.give_up(line.outgoing.begin(Draft("r", "b", "hello")))
    line.is_free.set()
    await until(lambda: bool(line.failures), "the chat hears of it")
    assert isinstance(line.failures[0], ZeroDivisionError)


async def test_the_end_is_the_answer_of_all_that_wait() -> None:
    line = Line()
    sends = await line.begin("1", "2")
    line.is_free.clear()
    late = line.outgoing.begin(Draft("3", "b", "hello"))
    line.outgoing.end(ChatClosed("the chat was left"))
    line.is_free.set()
    await until(late.answer.done, "the last one is answered")
    for send in (*sends, late):
        assert isinstance(send.answer.exception(), ChatClosed)
    assert late.is_kept, "the next chat sends it"
    assert not any(entry.startswith("forgot") for entry in line.happened)


async def test_a_try_without_an_answer_is_overdue() -> None:
    line = Line()
    assert not line.outgoing.is_overdue(-1.0)
    await line.begin("r")
    await line.write()
    assert line.outgoing.is_overdue(-1.0)
    assert not line.outgoing.is_overdue(3600.0)
