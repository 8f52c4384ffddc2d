"""Sends of this user, until they are answered.

A draft is kept before its first try, under a `ref` of its own, and until it is answered. A try
whose answer was never seen is repeated with `retry: true`.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import count

from landline.client.errors import ClientError, MessageRejected, MessageUncertain, rejection
from landline.client.events import Acceptance, Accepted, Event, Rejected
from landline.client.outbox import Draft, Outbox
from landline.client.pace import Pace
from landline.client.repeats import IN_FLIGHT_BYTES, RepeatLines, UnansweredSend
from landline.client.wire import ErrorFrame, send_frame
from landline.protocol.codes import ErrorCode, Outcome

# The code of a `Rejected` that is not the server's: the outbox could not take the draft.
NOT_KEPT = "not_kept"

_log = logging.getLogger("landline.client")

# Tries of what must not be repeated any more, and may be in the log. Its original has arrived by
# then, after some seconds, if it ever does.
_FORBIDDEN_TRIES = 5
_FORBIDDING_CODES = {
    ErrorCode.FORBIDDEN,
    ErrorCode.NO_SUCH_CONVERSATION,
    ErrorCode.BAD_RECIPIENT,
    ErrorCode.BAD_REF,
    ErrorCode.ROOM_FULL,
}
_REPEATED_CODES = {ErrorCode.BUSY, ErrorCode.TOO_FAST}
NO_ROOMS = "the server is of an earlier version, which knows no rooms"


class Outgoing:
    """The sends without an answer, from the outbox to the socket and back.

    `on_event` is None if the program does not listen. `fail` is called with what it raises if no
    caller would hear of it. `has_work` is set when there is something to write.
    """

    def __init__(
        self,
        outbox: Outbox,
        on_event: Callable[[Event], None] | None,
        fail: Callable[[Exception], None],
        has_work: asyncio.Event,
    ) -> None:
        self._outbox = outbox
        self._on_event = on_event
        self._fail = fail
        self._has_work = has_work
        self._sends: OrderedDict[str, UnansweredSend] = OrderedDict()  # by ref, all that are kept
        self._unsent: deque[UnansweredSend] = deque()
        self._in_flight: OrderedDict[str, UnansweredSend] = OrderedDict()
        self._in_flight_bytes = 0
        # Whether this session's server knows requests that are no sends; None: not known yet.
        self._are_known: bool | None = None
        self._keeping: dict[UnansweredSend, asyncio.Task[None]] = {}  # on their way into the outbox
        self._answered: list[str] = []  # drafts that the outbox has not forgotten yet
        self._places = count()
        self._lines = RepeatLines(self._let_through)
        self._pace = Pace()
        self._resuming: asyncio.TimerHandle | None = None
        self._ended: ClientError | None = None

    # For the program -------------------------------------------------------------------------

    def take_over(self, drafts: Iterable[Draft]) -> None:
        """Send what an earlier chat has left in the outbox."""
        for draft in drafts:
            send = self._new_send(draft)
            send.is_kept = send.is_uncertain = True
            self._queue(send)

    def begin(self, draft: Draft) -> UnansweredSend:
        """Begin to send a draft."""
        send = self._new_send(draft)
        send.is_awaited = True
        # A task of the chat's own: the caller may stop waiting before the draft is kept.
        self._keeping[send] = asyncio.create_task(self._keep(send), name="landline-keep")
        return send

    @property
    def unanswered(self) -> list[Draft]:
        """Return the drafts that have no answer yet, oldest first."""
        return [send.draft for send in (*self._sends.values(), *self._keeping)]

    @property
    def are_awaited(self) -> bool:
        """Say whether a caller waits for an answer."""
        sends = (*self._sends.values(), *self._keeping)
        return any(send.is_awaited and not send.answer.done() for send in sends)

    def give_up(self, send: UnansweredSend) -> None:
        """The caller waits no longer for this answer, which may have come in the same moment."""
        send.is_awaited = False
        problem = send.answer.exception() if send.answer.done() else None
        if isinstance(problem, MessageRejected | MessageUncertain):
            self._tell(_rejected(send.draft, problem))
        elif problem is not None and not send.is_kept:
            self._tell_unkept(send, problem)

    async def _keep(self, send: UnansweredSend) -> None:
        """Keep a draft, and then let it go out."""
        try:
            await self._outbox.add(send.draft)
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            del self._keeping[send]
            send.fail(error)
            if not send.is_awaited:
                self._tell_unkept(send, error)
        else:
            del self._keeping[send]
            send.is_kept = True
            self._queue(send)
            if self._ended is not None:  # meanwhile: the next chat with this outbox sends it
                send.fail(self._ended)

    def _tell_unkept(self, send: UnansweredSend, problem: BaseException) -> None:
        """A draft could not be kept and was not sent, and no caller waits to hear that."""
        to, content = send.draft.to, send.draft.content
        if self._on_event is None:
            _log.warning("a %s to %r was not sent: %s", _noun(send.draft), to, problem)
            return
        try:
            self._on_event(Rejected(to, content, NOT_KEPT, str(problem), kind=send.draft.kind))
        except Exception as error:  # noqa: BLE001 - anything that a callback raises ends the chat
            self._fail(error)

    # For the connection ----------------------------------------------------------------------

    @property
    def are_in_flight(self) -> bool:
        """Say whether the server owes an answer."""
        return bool(self._in_flight)

    def connected(self) -> None:
        """There is a session: everything without an answer goes out in it, oldest first."""
        self._unsent = deque(self._sends.values())
        self._are_known = None

    def disconnected(self) -> None:
        """The connection is gone: what was not answered may be in the log."""
        for send in self._in_flight.values():
            send.is_uncertain = True
            send.sent_at = None
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._lines.clear()

    async def write(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write what may go out now."""
        clock = asyncio.get_running_loop().time
        while self._unsent and self._has_room():
            if pause_seconds := self._pace.pause_seconds(clock()):
                self._resume_after(pause_seconds)
                return
            if self._must_wait(self._unsent[0]):
                return
            send = self._unsent.popleft()
            ref = send.draft.ref
            # It may be there twice: once since before it had to wait again.
            if ref not in self._sends or ref in self._in_flight or self._lines.holds_back(send):
                continue
            if self._are_known is False and send.draft.change is not None:
                self._reject_unknown(send)
                continue
            frame = send_frame(send.draft, retry=send.is_uncertain)
            send.sent_at, send.sent_bytes = clock(), len(frame)
            self._in_flight[ref] = send
            self._in_flight_bytes += len(frame)
            await write(frame)

    def _must_wait(self, send: UnansweredSend) -> bool:
        """Say whether a request has to wait for the answer to another one. The first of a session
        goes alone: the server may know none, and ends a session after some such frames.
        """
        if self._are_known is not None or send.draft.change is None:
            return False
        return any(other.draft.change is not None for other in self._in_flight.values())

    def _has_room(self) -> bool:
        return len(self._in_flight) < self._pace.room and self._in_flight_bytes < IN_FLIGHT_BYTES

    def _land(self, ref: str | None) -> None:
        """A send has its answer, or was refused."""
        send = self._in_flight.pop(ref or "", None)
        if send is not None:
            self._in_flight_bytes -= send.sent_bytes

    def _resume_after(self, seconds: float) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
        loop = asyncio.get_running_loop()
        self._resuming = loop.call_later(seconds, self._has_work.set)

    def is_overdue(self, seconds: float) -> bool:
        """Say whether the oldest try has had no answer for longer than `seconds`."""
        oldest = next(iter(self._in_flight.values()), None)
        if oldest is None or oldest.sent_at is None:
            return False
        return asyncio.get_running_loop().time() - oldest.sent_at > seconds

    async def forget_answered(self) -> None:
        """Take the answered drafts out of the outbox, all at once. Raises: ClientError."""
        if self._answered:
            refs = self._answered.copy()
            await self._outbox.remove(refs)  # may be cancelled: then it is done once more
            del self._answered[: len(refs)]

    def accepted(self, ref: str | None, acceptance: Acceptance) -> None:
        """The log has a send."""
        send = self._settle(ref, is_forgotten=False)
        if send is None:
            return
        self._note_known(send)
        self._pace.accepted()
        # First of all the answer: what comes after may fail, or be cancelled with the connection.
        if not send.answer.done():
            send.answer.set_result(acceptance)
        # The outbox forgets it only after this: a program that notes it elsewhere misses nothing.
        draft = send.draft
        self._tell(Accepted(draft.to, draft.content, acceptance, draft.kind))
        self._answered.append(send.draft.ref)
        self._has_work.set()

    def refused(self, refusal: ErrorFrame) -> None:
        """The server has not accepted a send, for good or for now."""
        send = self._in_flight.get(refusal.ref or "")
        if send is None:
            return
        self._note_known(send)
        if refusal.outcome == Outcome.REJECTED and refusal.code not in _REPEATED_CODES:
            self._reject(send, rejection(refusal.code, refusal.reason))
            return
        if refusal.code in _FORBIDDING_CODES:
            send.forbidden += 1
            if send.forbidden >= _FORBIDDEN_TRIES:
                self._reject(send, MessageUncertain(refusal.code, refusal.reason))
                return
        if refusal.code == ErrorCode.TOO_FAST:
            self._pace.too_fast(asyncio.get_running_loop().time(), refusal.asked_seconds)
        if refusal.outcome != Outcome.REJECTED:
            send.is_uncertain = True
        self._land(send.draft.ref)
        self._lines.refused(send, refusal.asked_seconds)
        self._has_work.set()

    def not_understood(self) -> None:
        """The server is of an earlier version, which knows no request but sends. It says not which
        frame that was about, and that is no matter.
        """
        self._are_known = False
        for send in list(self._in_flight.values()):
            if send.draft.change is not None:
                self._reject_unknown(send)
        self._has_work.set()

    def _note_known(self, send: UnansweredSend) -> None:
        if self._are_known is None and send.draft.change is not None:
            self._are_known = True

    def _reject_unknown(self, send: UnansweredSend) -> None:
        """This server does not know the request. Another one may have taken an earlier try."""
        error = MessageUncertain if send.is_uncertain else MessageRejected
        self._reject(send, error(ErrorCode.UNKNOWN_TYPE, NO_ROOMS))

    def _reject(self, send: UnansweredSend, problem: MessageRejected | MessageUncertain) -> None:
        """A draft is not tried any more. It is forgotten only if the program is told."""
        draft = send.draft
        if not send.is_awaited:
            if self._on_event is not None:
                # First of all this: when it raises, the draft is still kept.
                self._on_event(_rejected(draft, problem))
            else:
                _log.warning("a kept %s to %r was rejected: %s", _noun(draft), draft.to, problem)
        self._settle(draft.ref, is_forgotten=send.is_awaited or self._on_event is not None)
        if not send.answer.done():
            send.fail(problem)

    def _settle(self, ref: str | None, *, is_forgotten: bool = True) -> UnansweredSend | None:
        """A draft is answered: return its send, for the last time."""
        send = self._sends.pop(ref or "", None)
        self._land(ref)
        if send is not None:
            if is_forgotten:
                self._answered.append(send.draft.ref)
            self._lines.answered(send)
        self._has_work.set()
        return send

    def _let_through(self, send: UnansweredSend) -> None:
        """It is a send's turn to be tried again."""
        self._unsent.append(send)
        self._has_work.set()

    # The end ---------------------------------------------------------------------------------

    def end(self, problem: ClientError) -> None:
        """The chat has ended: all that wait for an answer get the problem."""
        self._ended = problem
        for send in self._sends.values():
            if not send.answer.done():
                send.fail(problem)

    def stop(self) -> None:
        """Try nothing again."""
        self._lines.clear()
        if self._resuming is not None:
            self._resuming.cancel()

    async def wait_for_kept(self, seconds: float) -> None:
        """Wait until the drafts that are on their way into the outbox are there."""
        if self._keeping:
            await asyncio.wait(self._keeping.values(), timeout=seconds)

    def let_go(self) -> None:
        """Leave the answered drafts in the outbox: the file is being closed."""
        self._answered.clear()

    # Parts -----------------------------------------------------------------------------------

    def _new_send(self, draft: Draft) -> UnansweredSend:
        answer: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
        return UnansweredSend(draft, answer, next(self._places))

    def _queue(self, send: UnansweredSend) -> None:
        self._sends[send.draft.ref] = send
        self._unsent.append(send)
        self._has_work.set()

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)


def _rejected(draft: Draft, problem: MessageRejected | MessageUncertain) -> Rejected:
    is_certain = isinstance(problem, MessageRejected)
    return Rejected(draft.to, draft.content, problem.code, problem.reason, is_certain, draft.kind)


def _noun(draft: Draft) -> str:
    return "message" if draft.change is None else f"request ({draft.kind})"
