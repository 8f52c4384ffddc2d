"""Marks of what was read, until the server has sent them back.

They are in memory alone, and go out again in each session: a mark may be set as often as one likes.
A mark is durable when its echo comes, which says at least its offset.

An echo that says less is another session's, or that of a mark beyond the end of the conversation:
the server cuts such a mark to where the log ends. Its own echo comes within seconds. So where only
less came back of two tries, one after the other, the mark was cut, and more of it is never kept.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from landline.client.errors import ClientError, not_answered
from landline.client.events import Read
from landline.client.repeats import repeat_delay
from landline.client.wire import ErrorFrame
from landline.protocol.codes import ErrorCode

# One for each conversation. Together with all else that a server of an earlier version does not
# know they are less than the bad frames in a row after which it ends the session.
MARKS_IN_FLIGHT = 8
# A server may take some seconds to find out who is in a room, and some more to write down the marks
# of a conversation, all together.
MARK_AGAIN_SECONDS = 10.0
_TRIES_CUT = 2
REPEATED_CODES = {ErrorCode.BUSY, ErrorCode.UNAVAILABLE, ErrorCode.TOO_FAST}


@dataclass(slots=True, eq=False)
class _Mark:
    """A call that waits until this is durable."""

    offset: int
    is_durable: asyncio.Future[None]


@dataclass(slots=True, eq=False)
class _Conversation:
    """The marks of one conversation. The furthest speaks for all of them.

    `timer`: until then it is on its way, or has to wait. `is_less_echoed`: an echo came since it
    was sent that says less. `cut`: how many tries in a row ended with that alone.
    """

    marks: list[_Mark] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    refusals: int = 0
    is_less_echoed: bool = False
    cut: int = 0

    def durable_up_to(self, offset: int) -> None:
        """Give an answer to those that wait for no more than this."""
        for mark in self.marks:
            if mark.offset <= offset and not mark.is_durable.done():
                mark.is_durable.set_result(None)
        self.marks = [mark for mark in self.marks if mark.offset > offset]

    def fail(self, problem: ClientError) -> None:
        """Give all that wait a problem."""
        for mark in self.marks:
            if not mark.is_durable.done():
                mark.is_durable.set_exception(problem)
        self.marks.clear()

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Marks:
    """The marks of a chat. `has_work` is set when there is something to write."""

    def __init__(self, has_work: asyncio.Event) -> None:
        self._has_work = has_work
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()
        self._in_flight: dict[str, int] = {}  # the offset that is on its way, by conversation
        self._room = MARKS_IN_FLIGHT

    # For the program -------------------------------------------------------------------------

    async def set(self, conversation: str, offset: int) -> None:
        """Set a mark. Returns when it is durable. Raises: QuestionRefused, NoSuchConversation,
        ClientError.
        """
        mark = _Mark(offset, asyncio.get_running_loop().create_future())
        self._conversations.setdefault(conversation, _Conversation()).marks.append(mark)
        self._has_work.set()
        try:
            await mark.is_durable
        finally:
            each = self._conversations.get(conversation)
            if each is not None and mark in each.marks:
                each.marks.remove(mark)
                self._tidy(conversation)

    # For the connection ----------------------------------------------------------------------

    def connected(self) -> None:
        """There is a session: everything that is not durable goes out in it."""
        self._room = MARKS_IN_FLIGHT

    def disconnected(self) -> None:
        """The connection is gone, and what was on its way in it."""
        self._in_flight.clear()
        for name, each in list(self._conversations.items()):
            each.stop()
            each.cut = 0
            self._tidy(name)

    async def write(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write what may go out now."""
        while (name := self._next()) is not None:
            each = self._conversations[name]
            offset = self._in_flight[name] = max(mark.offset for mark in each.marks)
            each.is_less_echoed = False
            self._look_again_in(MARK_AGAIN_SECONDS, name, each)
            await write(orjson.dumps(read_frame(name, offset)))

    def _next(self) -> str | None:
        if len(self._in_flight) >= self._room:
            return None
        ready = (n for n, each in self._conversations.items() if each.timer is None and each.marks)
        return next(ready, None)

    def was_read(self, read: Read, user: str | None) -> bool:
        """Marks are durable. Those of `user` may be ones of another session. Returns whether there
        were any of theirs.
        """
        offsets = [offset for reader, offset in read.entries if reader == user]
        if offsets:
            self._was_read(read.conversation, max(offsets))
        return bool(offsets)

    def _was_read(self, name: str, offset: int) -> None:
        each = self._conversations.get(name)
        if each is None:
            return
        each.durable_up_to(offset)
        sent_offset = self._in_flight.get(name)
        if sent_offset is None:
            self._tidy(name)
        elif offset < sent_offset:
            each.is_less_echoed = True
        else:
            each.refusals = each.cut = 0
            self._land(name, each)

    def refused(self, refusal: ErrorFrame) -> None:
        """The server does not take a mark, for good or for now."""
        name = refusal.conversation
        if name is None:
            if len(self._in_flight) > 1:
                self._go_one_by_one()
                return
            name = next(iter(self._in_flight), "")
        each = self._conversations.get(name)
        if each is None:
            return
        if refusal.code not in REPEATED_CODES:
            each.fail(not_answered(refusal.code, refusal.reason))
            self._land(name, each)
        elif name in self._in_flight:
            each.refusals += 1
            self._put_off(repeat_delay(each.refusals, refusal.asked_seconds), name, each)

    def _go_one_by_one(self) -> None:
        """This server does not say which mark it refuses. So they are said again, alone: later,
        when it has answered those that are on their way.
        """
        self._room = 1
        for name in list(self._in_flight):
            self._put_off(MARK_AGAIN_SECONDS, name, self._conversations[name])

    # The end ---------------------------------------------------------------------------------

    def fail(self, problem: ClientError) -> None:
        """Give all that wait a problem, and wait for nothing any more."""
        self._in_flight.clear()
        for each in self._conversations.values():
            each.stop()
            each.fail(problem)
        self._conversations.clear()

    # Parts -----------------------------------------------------------------------------------

    def _land(self, name: str, each: _Conversation) -> None:
        """What was on its way is no more."""
        self._in_flight.pop(name, None)
        each.stop()
        self._tidy(name)
        self._has_work.set()

    def _put_off(self, seconds: float, name: str, each: _Conversation) -> None:
        """What was on its way is no more, and is not said again before this time."""
        self._land(name, each)
        if each.marks:
            self._look_again_in(seconds, name, each)

    def _tidy(self, name: str) -> None:
        """Forget a conversation of which nothing waits and nothing is on its way."""
        each = self._conversations[name]
        if not each.marks and name not in self._in_flight:
            each.stop()
            del self._conversations[name]

    def _look_again_in(self, seconds: float, name: str, each: _Conversation) -> None:
        each.stop()
        each.timer = asyncio.get_running_loop().call_later(seconds, self._look_again, name, each)

    def _look_again(self, name: str, each: _Conversation) -> None:
        """The mark is not durable in time, or the time to wait is over. Others have their turn
        first.
        """
        each.timer = None
        sent_offset = self._in_flight.pop(name, None)
        if sent_offset is not None:
            each.cut = each.cut + 1 if each.is_less_echoed else 0
            if each.cut >= _TRIES_CUT:
                each.durable_up_to(sent_offset)
        self._conversations.move_to_end(name)
        self._tidy(name)
        self._has_work.set()


def read_frame(conversation: str, offset: int) -> dict[str, Any]:
    """Return the frame of a mark."""
    return {"type": "read", "conversation": conversation, "offset": offset}
