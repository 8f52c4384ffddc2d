"""Questions about conversations, and marks of what was read, until the server has answered.

Both are in memory alone, and go out again in each session: a question changes nothing, and a mark
may be set as often as one likes. A mark is durable when the server has sent it back.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import orjson

from landline.client.conversations import Answer
from landline.client.errors import ClientError, QuestionRefused, rejection
from landline.client.events import Read
from landline.client.repeats import repeat_delay
from landline.client.wire import ErrorFrame
from landline.protocol.client_frames import BadFrame, decode
from landline.protocol.codes import ErrorCode

# The server lets a few more of one session wait.
QUESTIONS_IN_FLIGHT = 8
# A server may take some seconds to find out who is in a room, and some more to write down the marks
# of a conversation, all together. Until then a refusal is about this mark.
MARK_AGAIN_SECONDS = 10.0
_REPEATED_CODES = {ErrorCode.BUSY, ErrorCode.UNAVAILABLE, ErrorCode.TOO_FAST}


@dataclass(slots=True, eq=False)
class _Question:
    frame: bytes
    answer: asyncio.Future[Answer]
    refusals: int = 0
    sent_at: float = 0.0


@dataclass(slots=True, eq=False)
class _Mark:
    """A call that waits until this is durable."""

    offset: int
    is_durable: asyncio.Future[None]


class Reading:
    """The questions and the marks of a chat. `has_work` is set when there is something to write."""

    def __init__(self, has_work: asyncio.Event) -> None:
        self._has_work = has_work
        self._numbers = count(1)
        self._questions: dict[str, _Question] = {}  # by request, all without an answer
        self._unasked: deque[str] = deque()
        self._in_flight: OrderedDict[str, _Question] = OrderedDict()
        # One mark is on its way at a time: a refusal does not say which it is about.
        self._marks: OrderedDict[str, list[_Mark]] = OrderedDict()  # by conversation
        self._marking: str | None = None
        self._marked_offset = 0
        self._refusals = 0
        self._timers: set[asyncio.TimerHandle] = set()
        self._mark_timer: asyncio.TimerHandle | None = None

    # For the program -------------------------------------------------------------------------

    async def ask(self, kind: str, fields: Mapping[str, Any]) -> Answer:
        """Ask, and return the answer. Raises: QuestionRefused, NoSuchConversation, ClientError."""
        request = str(next(self._numbers))
        given = {name: value for name, value in fields.items() if value is not None}
        frame = _checked({"type": kind, "request": request, **given})
        question = _Question(frame, asyncio.get_running_loop().create_future())
        self._questions[request] = question
        self._queue(request)
        try:
            return await question.answer
        finally:
            # The server may still answer, which then is of no use.
            del self._questions[request]

    async def mark(self, conversation: str, offset: int) -> None:
        """Say that everything up to `offset` was seen. Returns when that is durable. Raises as
        `ask`.
        """
        _checked(_read_frame(conversation, offset))
        mark = _Mark(offset, asyncio.get_running_loop().create_future())
        self._marks.setdefault(conversation, []).append(mark)
        self._has_work.set()
        try:
            await mark.is_durable
        finally:
            self._forget(conversation, mark)

    # For the connection ----------------------------------------------------------------------

    @property
    def are_in_flight(self) -> bool:
        """Say whether the server owes an answer to a question."""
        return bool(self._in_flight)

    def is_overdue(self, seconds: float) -> bool:
        """Say whether the oldest question has had no answer for longer than `seconds`."""
        oldest = next(iter(self._in_flight.values()), None)
        return oldest is not None and asyncio.get_running_loop().time() - oldest.sent_at > seconds

    def connected(self) -> None:
        """There is a session: everything without an answer goes out in it."""
        self._unasked = deque(self._questions)

    def disconnected(self) -> None:
        """The connection is gone, and what was on its way in it."""
        self._in_flight.clear()
        self._marking = None
        self._stop()

    async def write(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write what may go out now."""
        loop = asyncio.get_running_loop()
        while self._unasked and len(self._in_flight) < QUESTIONS_IN_FLIGHT:
            request = self._unasked.popleft()
            question = self._questions.get(request)
            if question is None or request in self._in_flight:
                continue  # nobody waits any more, or it is there twice
            question.sent_at = loop.time()
            self._in_flight[request] = question
            await write(question.frame)
        if self._marking is None and self._mark_timer is None and self._marks:
            conversation, marks = next(iter(self._marks.items()))
            self._marking, self._marked_offset = conversation, max(m.offset for m in marks)
            self._mark_again_in(MARK_AGAIN_SECONDS)
            await write(orjson.dumps(_read_frame(conversation, self._marked_offset)))

    def answered(self, request: str | None, answer: Answer) -> None:
        """A question has its answer."""
        question = self._land(request)
        if question is not None and not question.answer.done():
            question.answer.set_result(answer)

    def refused(self, refusal: ErrorFrame) -> None:
        """The server refuses what has no `ref`, for good or for now."""
        if refusal.request is None:
            if refusal.code == ErrorCode.UNKNOWN_TYPE:
                self._not_understood(refusal)
            self._mark_refused(refusal)
            return
        question = self._land(refusal.request)
        if question is None:
            return
        if refusal.code in _REPEATED_CODES:
            question.refusals += 1
            delay = repeat_delay(question.refusals, refusal.asked_seconds)
            request = refusal.request
            self._after(delay, lambda: self._queue(request))
        elif not question.answer.done():
            question.answer.set_exception(_refusal(refusal))

    def _mark_refused(self, refusal: ErrorFrame) -> None:
        """The server does not take the mark that is on its way."""
        conversation, self._marking = self._marking, None
        if conversation is None:
            return
        if refusal.code in _REPEATED_CODES:
            self._refusals += 1
            self._mark_again_in(repeat_delay(self._refusals, refusal.asked_seconds))
            return
        self._mark_done()
        for mark in self._marks.pop(conversation, []):
            if not mark.is_durable.done():
                mark.is_durable.set_exception(_refusal(refusal))

    def _not_understood(self, refusal: ErrorFrame) -> None:
        """A server of an earlier version knows no such frames: it does not say which one it was."""
        for request in list(self._in_flight):
            question = self._land(request)
            if question is not None and not question.answer.done():
                question.answer.set_exception(_refusal(refusal))

    def was_read(self, read: Read, user: str | None) -> None:
        """Marks are durable. Those of `user` may be ones of another session."""
        for reader, offset in read.entries:
            if reader == user:
                self._was_read(read.conversation, offset)

    def _was_read(self, conversation: str, offset: int) -> None:
        is_sent = conversation == self._marking and offset >= self._marked_offset
        for mark in self._marks.get(conversation, []):
            if mark.offset <= offset and not mark.is_durable.done():
                mark.is_durable.set_result(None)
        if is_sent:
            self._marking = None
            self._mark_done()

    # The end ---------------------------------------------------------------------------------

    def end(self, problem: ClientError) -> None:
        """The chat has ended: all that wait get the problem."""
        self._stop()
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_exception(problem)
        for mark in (each for marks in self._marks.values() for each in marks):
            if not mark.is_durable.done():
                mark.is_durable.set_exception(problem)

    # Parts -----------------------------------------------------------------------------------

    def _queue(self, request: str) -> None:
        self._unasked.append(request)
        self._has_work.set()

    def _land(self, request: str | None) -> _Question | None:
        self._has_work.set()
        return self._in_flight.pop(request or "", None)

    def _forget(self, conversation: str, mark: _Mark) -> None:
        marks = self._marks.get(conversation)
        if marks is not None and mark in marks:
            marks.remove(mark)
            if not marks:
                del self._marks[conversation]

    def _mark_done(self) -> None:
        self._refusals = 0
        if self._mark_timer is not None:
            self._mark_timer.cancel()
            self._mark_timer = None
        self._has_work.set()

    def _mark_again_in(self, seconds: float) -> None:
        if self._mark_timer is not None:
            self._mark_timer.cancel()
        self._mark_timer = asyncio.get_running_loop().call_later(seconds, self._mark_again)

    def _mark_again(self) -> None:
        """No echo came in time, or the time to wait is over. Others have their turn first."""
        self._mark_timer = None
        if self._marking is not None and self._marking in self._marks:
            self._marks.move_to_end(self._marking)
        self._marking = None
        self._has_work.set()

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def _stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._mark_timer is not None:
            self._mark_timer.cancel()
            self._mark_timer = None


def _read_frame(conversation: str, offset: int) -> dict[str, Any]:
    return {"type": "read", "conversation": conversation, "offset": offset}


def _checked(frame: Mapping[str, Any]) -> bytes:
    """Return the frame, unless no server takes it. Raises: QuestionRefused."""
    try:
        written = orjson.dumps(frame)
        decode(written.decode())
    except orjson.JSONEncodeError as error:
        raise QuestionRefused(ErrorCode.BAD_FRAME, str(error)) from None
    except BadFrame as bad:
        raise QuestionRefused(bad.code, bad.message) from None
    return written


def _refusal(refusal: ErrorFrame) -> ClientError:
    if refusal.code == ErrorCode.NO_SUCH_CONVERSATION:
        return rejection(refusal.code, refusal.reason)
    return QuestionRefused(refusal.code, refusal.reason)
