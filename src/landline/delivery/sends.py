"""Sends: each becomes a flight into the log, and is answered by what becomes of it. A request that
makes or changes a room is one too.

A send without `retry` goes straight to the log. A repeat (`retry`) is first looked for in the
store, once that has applied everything that the partition of its conversation holds now. If it is
not there it is appended, and looked for again: another server may have appended the original in
the meantime, and then that one's position is the message's.

A client that repeats a send may have been accepted already. So a repeat is never answered
`rejected`, only `accepted` or `unknown`. That is so also where its sender may not write to its
recipient any more: it is looked for, and if it is not there it is not appended, and `unknown`. Only
a server without others knows then that it never will be in the log, and says `rejected`.

A send that says no `retry` may be a repeat all the same. So what is accepted or under way here is
joined before anything but the rate refuses it, and a user who is too fast is told `unknown`.

Where somebody has to be asked whether a send may be appended, it is held first (`hold`), and taken
once that is known. What a user may send is counted before the question, so nobody has more
questions asked than they may send messages.

Methods that say "returns what leaves" return the messages that may be pushed now, in the order of
the log (`lineup`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from landline.delivery.acceptances import KnownAcceptances
from landline.delivery.answers import Answers
from landline.delivery.counters import Counters
from landline.delivery.decisions import (
    AppendMessage,
    ConfirmPosition,
    Decision,
    FindOriginal,
    NoteChange,
    PauseReading,
    ResumeReading,
)
from landline.delivery.flights import Bar, Flight, Flights, Held, Waiter
from landline.delivery.lineup import LineUps
from landline.delivery.rates import Rates
from landline.delivery.requests import cost_of, record_of, size_of
from landline.delivery.rooms import REF_TAKEN
from landline.delivery.sender import Sender
from landline.delivery.unread import AFTER_SECONDS, STILL_SECONDS, Unread
from landline.model import Appended, AppendResult, Message, NotAppended
from landline.ports import Clock
from landline.protocol.client_frames import LogRequest
from landline.protocol.codes import ErrorCode
from landline.protocol.events import EventRecord
from landline.protocol.records import MemberRecord, MessageRecord, RoomRecord
from landline.protocol.times import rfc3339

# Other servers let a repeat wait for REPEAT_SECONDS before they look for its original. An original
# that is not in the log by then has been under way for longer than SLOW_SECONDS. So its own server
# asks the store which of the two records counts, before it shows anybody an offset. The rest covers
# pauses before a frame was read that are too short to notice (`landline.delivery.unread`).
REPEAT_SECONDS = 0.5
SLOW_SECONDS = 0.35

_NOTHING: Sequence[Message] = ()


class Sends:
    """All sends of this server that are not answered yet."""

    def __init__(
        self,
        *,
        senders: Mapping[str, Sender],
        out: list[Decision],
        clock: Clock,
        new_id: Callable[[], str],
        counters: Counters,
        has_others: bool,
        rates: Rates,
        record_version: Callable[[], int],
    ) -> None:
        """`senders`: those that are here, kept by the caller. Decisions go to `out`.

        `has_others`: whether a repeat may come to another server.
        """
        self._senders = senders
        self._out = out
        self._clock = clock
        self._new_id = new_id
        self._answers = Answers(senders, out, counters)
        self._has_others = has_others
        self._rates = rates
        self._record_version = record_version
        self._flights = Flights()
        self._held: Counter[str] = Counter()  # message ids of sends that wait for a question
        self._may_come_late = False  # the log has left an append without an answer
        self._acceptances = KnownAcceptances(clock)
        self._line_ups = LineUps()
        self._is_draining = False
        self._refusal: str | None = None
        self._unread = Unread()
        self._pulsed_at = clock.monotonic()

    def __len__(self) -> int:
        return len(self._flights)

    def drain(self) -> None:
        """Take no more sends; those in flight are still answered."""
        self._is_draining = self._answers.is_draining = True
        self._refusal = "the server is restarting; send again after reconnecting"

    def refuse(self, reason: str | None) -> None:
        """Refuse sends before the log for this reason; None: take them again."""
        if not self._is_draining:
            self._refusal = reason

    def pulse(self) -> None:
        """Notice where the process has stood still; call it every PULSE_SECONDS."""
        now = self._clock.monotonic()
        if now - self._pulsed_at > STILL_SECONDS:
            self._unread.note(self._pulsed_at, now + AFTER_SECONDS)
        self._pulsed_at = now

    def forget_old(self) -> None:
        """Let time pass: forget acceptances of long ago, and users who are quiet."""
        self._acceptances.forget_old()
        self._rates.forget_idle(self._clock.monotonic())

    # To the log ------------------------------------------------------------------------------

    def hold(self, sender: Sender, send: LogRequest) -> Held | None:
        """Somebody has sent a message, and it is not known yet whether they may. Returns what to
        `let_go` of once that is known, right before `take`; None: it needs no question, and its
        answer is on its way.
        """
        id = record_of(sender, send, self._new_id, "").message_id
        flight = self._flights.get(id)
        is_known = self._acceptances.find(id, retry=send.retry) is not None
        # One that is barred, and only looked for, must not be joined as if it were allowed.
        if is_known or (flight is not None and flight.bar is None):
            self.take(sender, send)
            return None
        waiter = Waiter(sender.id, send.ref, send.retry)
        if self._refusal is not None and flight is None:
            self._refuse([waiter], self._refusal, id)
            return None
        if self._is_too_fast(sender, send, waiter):
            return None
        self._held[id] += 1
        return Held(id, self._clock.monotonic())

    def let_go(self, held: Held) -> None:
        """It is known now, or nobody waits for it any more."""
        self._held[held.message_id] -= 1
        if not self._held[held.message_id]:
            del self._held[held.message_id]

    def take(
        self, sender: Sender, send: LogRequest, bar: Bar | None = None, since: float | None = None
    ) -> None:
        """Somebody has sent a message. `bar`: why it must not be appended. `since`: from when on it
        was held; then it has been counted for its user.
        """
        waiter = Waiter(sender.id, send.ref, send.retry)
        # Before anything is made of it: what comes too early is to cost little.
        if self._refusal is None and since is None and self._is_too_fast(sender, send, waiter):
            return
        created_at = rfc3339(self._clock.wall_ms())
        record = record_of(sender, send, self._new_id, created_at)
        id = record.message_id
        known = self._acceptances.find(id, retry=send.retry)
        flight = self._flights.get(id)
        if self._refusal is not None:
            if known is None and flight is None:  # it is not counted: they have to send it again
                self._refuse([waiter], self._refusal, id)
                return
            if since is None and self._is_too_fast(sender, send, waiter):
                return
        started_at = self._clock.monotonic() if since is None else since
        if known is not None:
            self._answers.accepted([waiter], id, known)
            return
        if flight is not None:
            waiter.size_bytes = flight.size_bytes
            flight.waiters.append(waiter)
            flight.retry = flight.retry or waiter.retry  # then its position will be confirmed
            flight.started_at = min(flight.started_at, started_at)
            if bar is None:  # it is allowed by now
                flight.bar = None
        elif (bar := bar or self._bar_second(record)) and not (send.retry or bar.is_looked_for):
            self._refuse([waiter], bar.reason, id, bar.code)
            return
        elif self._flights.is_full():
            self._refuse([waiter], "too many sends are in flight; send again in a moment", id)
            return
        else:
            self._start(record, waiter, bar, started_at)
        if sender.intake.begin(waiter.size_bytes):
            self._out.append(PauseReading(sender.id))

    def _is_too_fast(self, sender: Sender, send: LogRequest, waiter: Waiter) -> bool:
        """Count a send for its user. Returns whether they are too fast, and have been told."""
        rates = self._rates
        if not (rates.are_limited and sender.intake.is_limited):
            return False
        now = self._clock.monotonic()
        cost, size_bytes = cost_of(send), size_of(send)
        missing_seconds = rates.missing(sender.user, size_bytes, now, cost)
        wait_seconds = sender.intake.pace(missing_seconds, now)
        if not wait_seconds:
            rates.take(sender.user, size_bytes, now, cost)
        if wait_seconds:
            is_uncertain = waiter.retry or self._is_known(sender, send)
            self._answers.too_fast(waiter, wait_seconds, is_uncertain=is_uncertain)
        return bool(wait_seconds)

    def _is_known(self, sender: Sender, send: LogRequest) -> bool:
        """Say whether the same send was accepted of late, or is under way."""
        if send.ref is None:
            return False
        id = record_of(sender, send, self._new_id, "").message_id
        is_under_way = id in self._held or self._flights.get(id) is not None
        return is_under_way or self._acceptances.find(id, retry=False) is not None

    def _start(
        self, record: EventRecord, waiter: Waiter, bar: Bar | None, started_at: float
    ) -> None:
        value = self._encode(record)
        retry = waiter.retry or bar is not None
        flight = Flight(record, len(value), retry, started_at, [waiter], bar=bar)
        waiter.size_bytes = flight.size_bytes
        self._flights.start(flight)
        self._out.append(FindOriginal(flight) if retry else AppendMessage(flight, value))

    def _bar_second(self, record: EventRecord) -> Bar | None:
        """Return why a room is not made: another request with the same ref is making it now."""
        is_new = isinstance(record, RoomRecord) and record.members is not None
        return REF_TAKEN if is_new and self._flights.makes(record.conversation) else None

    def _encode(self, record: EventRecord) -> bytes:
        if isinstance(record, MessageRecord) and self._record_version() == 1:
            return record.encode()
        return record.encode_2()

    # What became of them ---------------------------------------------------------------------

    def appended(self, flight: Flight, result: AppendResult) -> Sequence[Message]:
        """The log has answered an `AppendMessage`. Returns what leaves."""
        if isinstance(result, NotAppended):
            self._may_come_late = self._may_come_late or not result.certain
            self._fail(flight, result)
            return _NOTHING
        record = flight.record
        if isinstance(record, MemberRecord) or (
            isinstance(record, RoomRecord) and record.members is not None
        ):
            self._out.append(NoteChange(record.conversation, result.position.offset))
        if flight.retry or self._may_be_overtaken(flight):
            flight.place = self._line_ups.take_place(flight.record.conversation)
            self._confirm(flight, result, is_urgent=True)
            return _NOTHING
        message = flight.message(*result)
        self._accept_message(flight, message, is_confirmed=False)
        return self._line_ups.arrive(message)

    def _may_be_overtaken(self, flight: Flight) -> bool:
        """Say whether a repeat may have reached the log first, so that the position that counts is
        the store's: the sender has left unanswered, or has waited long enough to repeat it through
        another server. A repeat through this one joins the flight.
        """
        if flight.record.ref is None:
            return False
        found = (self._senders.get(waiter.sender) for waiter in flight.waiters)
        here = [each for each in found if each is not None]
        if not here:
            return True
        if not self._has_others:
            return False
        since = min(each.intake.unread.since(flight.started_at) for each in here)
        return self._clock.monotonic() - self._unread.since(since) > SLOW_SECONDS

    def _confirm(self, flight: Flight, appended: Appended, *, is_urgent: bool) -> None:
        flight.appended = appended
        self._out.append(ConfirmPosition(flight, appended.position, is_urgent=is_urgent))

    def original_found(self, flight: Flight, stored: Appended | None) -> None:
        """The store has answered a `FindOriginal`; None: there is none, so this is the original."""
        if stored is None and flight.bar is not None:
            self._land(flight)
            self._answer_barred(flight, flight.bar)
            return
        if stored is None:
            self._out.append(AppendMessage(flight, self._encode(flight.record)))
            return
        self._accept_message(flight, flight.message(*stored), is_confirmed=True)

    def original_unknown(self, flight: Flight, reason: str) -> None:
        """The store did not answer a `FindOriginal` in time."""
        self._fail(flight, NotAppended(False, reason))

    def position_confirmed(self, flight: Flight, stored: Appended | None) -> Sequence[Message]:
        """The store has answered a `ConfirmPosition`. Returns what leaves."""
        assert flight.appended is not None, "only what is in the log is confirmed"
        if stored is None:  # in the log, applied, and not in the store: cannot be, so do not guess
            self._fail(flight, NotAppended(False, "the store does not know the message"))
            return self._leave_place(flight, None)
        message = flight.message(*stored)
        self._accept_message(flight, message, is_confirmed=True)
        is_ours = stored.position == flight.appended.position
        return self._leave_place(flight, message if is_ours else None)

    def position_unknown(self, flight: Flight, reason: str) -> Sequence[Message]:
        """The store did not answer a `ConfirmPosition` in time. Returns what leaves."""
        assert flight.appended is not None, "only what is in the log is confirmed"
        if flight.retry and flight.place is None:
            self._fail(flight, NotAppended(False, reason))
            return _NOTHING
        if flight.retry:
            # Only the store knows its offset. What came behind it is pushed live now. To push it
            # after that would break the order, so the sweep pushes it.
            leaving = self._leave_place(flight, None)
            self._confirm(flight, flight.appended, is_urgent=False)
            return leaving
        # It is in the log, and its sender, which never repeated it, is told so. While the store is
        # down no server appends a repeat, so its offset counts. There is one exception: its sender
        # has left before, seen or not. Then nobody is pushed it now: the sweep pushes it, with the
        # offset that the store has.
        message = flight.message(*flight.appended)
        is_here = self._are_certainly_here(flight.waiters)
        self._accept_message(flight, message, is_confirmed=False)
        return self._leave_place(flight, message if is_here else None)

    def may_be_known_soon(self, flight: Flight) -> bool:
        """Say whether its senders are here, as far as anybody has heard, and that is certain in a
        moment: all that is unread is read by then. A repeat is not pushed either way.
        """
        found = [self._senders.get(waiter.sender) for waiter in flight.waiters]
        is_hopeless = flight.retry or any(each is None or each.intake.is_stopped for each in found)
        return not is_hopeless and not self._are_certainly_here(flight.waiters)

    def _are_certainly_here(self, waiters: list[Waiter]) -> bool:
        """Say whether no sender has left, and not unseen either: an end that has come stays unread
        while the process stands still, and while its connection is not read. One that never comes,
        as where the network has lost the client, cannot be told from a client that waits.
        """
        now = self._clock.monotonic()
        # It may have stood still until now; only the timer notes that, once sockets were read.
        has_stood_still = now - self._pulsed_at > STILL_SECONDS or self._unread.may_be_left(now)
        if self._has_others and has_stood_still:
            return False
        found = [self._senders.get(waiter.sender) for waiter in waiters]
        return all(each is not None and each.intake.is_read(now) for each in found)

    def _leave_place(self, flight: Flight, message: Message | None) -> Sequence[Message]:
        place, flight.place = flight.place, None
        return _NOTHING if place is None else self._line_ups.settle(place, message)

    # Answers ---------------------------------------------------------------------------------

    def _answer_barred(self, flight: Flight, bar: Bar) -> None:
        """What may not be appended is not in the log. It may be later, through another server that
        had an older answer, or where the log has not said what became of it.
        """
        is_held = flight.record.message_id in self._held
        is_certain = not (self._has_others or self._may_come_late or is_held)
        code = ErrorCode.UNAVAILABLE if bar.code is ErrorCode.BUSY else bar.code
        for waiter in flight.waiters:
            if is_certain or not (waiter.retry or is_held):
                self._answers.rejected(waiter, bar.code, bar.reason)
            else:
                self._answers.unknown([waiter], bar.reason, code)

    def _accept_message(self, flight: Flight, message: Message, *, is_confirmed: bool) -> None:
        if flight.record.ref is not None:
            self._acceptances.remember(message, is_confirmed=is_confirmed)
        self._land(flight)
        self._answers.accepted(flight.waiters, message.id, message)

    def _fail(self, flight: Flight, result: NotAppended) -> None:
        self._land(flight)
        if result.certain:
            self._refuse(flight.waiters, result.reason, flight.record.message_id)
        else:
            self._answers.unknown(flight.waiters, result.reason)

    def _refuse(
        self, waiters: list[Waiter], reason: str, id: str, code: ErrorCode = ErrorCode.BUSY
    ) -> None:
        """Answer sends that did not reach the log now. A repeat may have reached it before, and the
        same message may be about to: it is held.
        """
        for waiter in waiters:
            if waiter.retry or id in self._held:
                self._answers.unknown([waiter], reason)
            else:
                self._answers.rejected(waiter, code, reason)

    def _land(self, flight: Flight) -> None:
        self._flights.land(flight)
        for waiter in flight.waiters:
            sender = self._senders.get(waiter.sender)
            if sender is not None and sender.intake.end(waiter.size_bytes):
                sender.intake.resumed_at = self._clock.monotonic()
                self._out.append(ResumeReading(sender.id))
