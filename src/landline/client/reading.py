"""Questions about conversations, until the server has answered; and the marks of what was read.

They are in memory alone, and go out again in each session: a question changes nothing.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import orjson

from landline.client.conversations import Answer
from landline.client.errors import ClientError, QuestionRefused, not_answered
from landline.client.events import Read
from landline.client.marks import REPEATED_CODES, Marks, read_frame
from landline.client.repeats import repeat_delay
from landline.client.wire import ErrorFrame
from landline.protocol.client_frames import BadFrame, decode
from landline.protocol.codes import ErrorCode

# The server lets a few more of one session wait.
QUESTIONS_IN_FLIGHT = 8
NO_QUESTIONS = "the server is of an earlier version, which knows no questions about conversations"


@dataclass(slots=True, eq=False)
class _Question:
    frame: bytes
    answer: asyncio.Future[Answer]
    refusals: int = 0
    sent_at: float = 0.0


class Reading:
    """The questions and the marks of a chat. `has_work` is set when there is something to write."""

    def __init__(self, has_work: asyncio.Event) -> None:
        self._has_work = has_work
        self._marks = Marks(has_work)
        self._numbers = count(1)
        self._questions: dict[str, _Question] = {}  # by request, all without an answer
        self._unasked: OrderedDict[str, _Question] = OrderedDict()
        self._in_flight: OrderedDict[str, _Question] = OrderedDict()
        self._heard_at = 0.0  # when the server has answered anything here
        self._is_understood = True  # until a session's server says otherwise
        self._timers: set[asyncio.TimerHandle] = set()

    # For the program -------------------------------------------------------------------------

    async def ask(self, kind: str, fields: Mapping[str, Any]) -> Answer:
        """Ask, and return the answer. Raises: QuestionRefused, NoSuchConversation, ClientError."""
        request = str(next(self._numbers))
        given = {name: value for name, value in fields.items() if value is not None}
        frame = _checked({"type": kind, "request": request, **given})
        self._check_understood()
        question = _Question(frame, asyncio.get_running_loop().create_future())
        self._questions[request] = question
        self._queue(request, question)
        try:
            return await question.answer
        finally:
            # One that was asked may still be answered, which then is of no use.
            del self._questions[request]
            self._unasked.pop(request, None)

    async def mark(self, conversation: str, offset: int) -> None:
        """Say that everything up to `offset` was seen. Returns when that is durable. Raises as
        `ask`.
        """
        _checked(read_frame(conversation, offset))
        self._check_understood()
        await self._marks.set(conversation, offset)

    def _check_understood(self) -> None:
        if not self._is_understood:
            raise QuestionRefused(ErrorCode.UNKNOWN_TYPE, NO_QUESTIONS)

    # For the connection ----------------------------------------------------------------------

    @property
    def are_in_flight(self) -> bool:
        """Say whether the server owes an answer to a question."""
        return bool(self._in_flight)

    def is_overdue(self, seconds: float) -> bool:
        """Say whether the oldest question has had no answer for longer than `seconds`. The server
        answers one after the other, so the time begins anew with each answer.
        """
        oldest = next(iter(self._in_flight.values()), None)
        if oldest is None:
            return False
        return asyncio.get_running_loop().time() - max(oldest.sent_at, self._heard_at) > seconds

    def connected(self) -> None:
        """There is a session: everything without an answer goes out in it."""
        self._unasked = OrderedDict(self._questions)
        self._marks.connected()

    def disconnected(self) -> None:
        """The connection is gone, and what was on its way in it."""
        self._in_flight.clear()
        self._is_understood = True
        self._stop()
        self._marks.disconnected()

    async def write(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write what may go out now."""
        loop = asyncio.get_running_loop()
        while self._unasked and len(self._in_flight) < QUESTIONS_IN_FLIGHT:
            request, question = self._unasked.popitem(last=False)
            question.sent_at = loop.time()
            self._in_flight[request] = question
            await write(question.frame)
        await self._marks.write(write)

    def answered(self, request: str | None, answer: Answer) -> None:
        """A question has its answer."""
        question = self._land(request)
        if question is not None and not question.answer.done():
            question.answer.set_result(answer)

    def refused(self, refusal: ErrorFrame) -> None:
        """The server refuses what has no `ref`, for good or for now."""
        request = refusal.request
        if request is None:
            self._heard()
            self._marks.refused(refusal)
            return
        question = self._land(request)
        if question is None or question.answer.done():
            return
        if refusal.code in REPEATED_CODES:
            question.refusals += 1
            delay = repeat_delay(question.refusals, refusal.asked_seconds)
            self._after(delay, lambda: self._queue(request, question))
        else:
            question.answer.set_exception(not_answered(refusal.code, refusal.reason))

    def not_understood(self) -> None:
        """The server is of an earlier version, which knows none of this. It says not which frame
        that was about, and that is no matter. It is asked nothing any more in this session: it
        would end that after some such frames.
        """
        self._is_understood = False
        self._unasked.clear()
        self._in_flight.clear()
        self._stop()
        self._fail(QuestionRefused(ErrorCode.UNKNOWN_TYPE, NO_QUESTIONS))

    def was_read(self, read: Read, user: str | None) -> None:
        """Marks are durable. Those of `user` may be ones of another session."""
        if self._marks.was_read(read, user):
            self._heard()

    # The end ---------------------------------------------------------------------------------

    def end(self, problem: ClientError) -> None:
        """The chat has ended: all that wait get the problem."""
        self._stop()
        self._fail(problem)

    # Parts -----------------------------------------------------------------------------------

    def _fail(self, problem: ClientError) -> None:
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_exception(problem)
        self._marks.fail(problem)

    def _queue(self, request: str, question: _Question) -> None:
        if not question.answer.done():  # nobody may wait any more
            self._unasked[request] = question
            self._has_work.set()

    def _land(self, request: str | None) -> _Question | None:
        self._heard()
        self._has_work.set()
        return self._in_flight.pop(request or "", None)

    def _heard(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()

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
