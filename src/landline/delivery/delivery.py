"""The whole of delivery on one server: events and results go in, decisions come out.

Call a method for what happened, as often as something does; then `end_turn()`, carry out
`take_decisions()` in order, and feed the results back in. No method waits, none raises for what a
client or a dependency does.

Why nothing is lost, in the terms of this file (ARCHITECTURE.md has the proof):

* A sender is told `accepted`, and a recipient is pushed a message, only after `appended`.
* `connect` enters the session here, then asks for `Register`; the ends that `registered` brings
  were read after that. A message that was looked up before is below those ends and thus found by
  the session's pull; one that is looked up later finds the session.
* A row stays pending until a client has acknowledged; `sweep` finds what everything else missed.
"""

from collections.abc import Callable, Iterable

from landline.delivery.counters import Counters
from landline.delivery.decisions import (
    Close,
    Decision,
    PauseReading,
    ReadPending,
    Register,
    ResumeReading,
    RouteMessage,
    RouteStatus,
    Transmit,
    Unregister,
)
from landline.delivery.flights import Flight, ReceiptBatch, Waiter
from landline.delivery.lineup import LineUps
from landline.delivery.memory import Memory
from landline.delivery.receipts import Receipts, Told
from landline.delivery.sends import SLOW_SECONDS, Recent, Sends
from landline.delivery.session import Session
from landline.delivery.unread import AFTER_SECONDS, STILL_SECONDS, Unread
from landline.model import (
    Appended,
    AppendResult,
    Message,
    NotAppended,
    Pending,
    PendingQuery,
    Positions,
)
from landline.ports import Clock
from landline.protocol import frames
from landline.protocol.codes import CloseCode, ErrorCode, Outcome
from landline.protocol.frames import Ack, BadFrame, ClientFrame, Send
from landline.protocol.hints import StatusHint
from landline.protocol.limits import BAD_FRAMES_IN_A_ROW

# Sends of one session that may be in flight before its connection is not read any further: about
# what others wait behind. With 256 of one that floods they waited up to 145 ms, with this up to
# 90 (`python -m bench.floods --kinds sends`).
SESSION_FLIGHTS = 128
# The same in bytes: one session's large messages must not make a commit long for everybody.
SESSION_FLIGHT_BYTES = 256 * 1024
# A write buffer that does not shrink for this long: the peer reads nothing, or is gone.
WRITE_TIMEOUT_SECONDS = 10.0


class Delivery:
    """The heart of one server."""

    def __init__(
        self,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        server_id: str,
        durability: str,
        ack_timeout: float,
    ) -> None:
        self._clock = clock
        self._new_id = new_id
        self._server_id = server_id
        self._durability = durability
        self._ack_timeout = ack_timeout
        self._out: list[Decision] = []
        self._sessions: dict[str, Session] = {}
        self._users: dict[str, dict[str, Session]] = {}
        self._sends = Sends(self._out, clock)
        self._receipts = Receipts(self._out, clock)
        self._told = Told(clock)
        self._line_ups = LineUps()
        self._is_draining = False
        self._refusal: str | None = None
        self._pulsed_at = clock.monotonic()
        self._unread = Unread()
        self.counters = Counters()
        self.memory = Memory()

    def end_turn(self) -> None:
        """Append the receipts that came together in this turn of the loop, in one record each."""
        self._receipts.flush()

    def take_decisions(self) -> list[Decision]:
        """Return what is decided and not taken yet, in order."""
        if not self._out:
            return []
        decisions = self._out.copy()
        self._out.clear()
        return decisions

    # Sessions --------------------------------------------------------------------------------

    def connect(self, session_id: str, user: str, *, auto_ack: bool) -> None:
        """A session begins. From here on it is in the local map."""
        session = Session(
            session_id,
            user,
            auto_ack=auto_ack,
            out=self._out,
            clock=self._clock,
            memory=self.memory,
            counters=self.counters,
        )
        self._sessions[session_id] = session
        self._users.setdefault(user, {})[session_id] = session
        self.counters.sessions_opened += 1
        welcome = frames.welcome(
            user=user, server=self._server_id, session=session_id, durability=self._durability
        )
        self._out.append(Transmit(session_id, welcome))
        self._out.append(Register(session_id, user))

    def registered(self, session_id: str, ends: Positions) -> None:
        """The directory has answered (or failed to in time), then the log's ends were read."""
        if session := self._sessions.get(session_id):
            session.begin(ends)

    def disconnect(self, session_id: str) -> None:
        """A session ends. Its sends go on; what it has not acknowledged stays pending."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        session.leave()
        siblings = self._users[session.user]
        del siblings[session_id]
        if not siblings:
            del self._users[session.user]
        self._out.append(Unregister(session_id, session.user))

    def writable(self, session_id: str, is_writable: bool) -> None:
        """The connection's write buffer has filled up, or has drained."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        session.unwritable_since = None if is_writable else self._clock.monotonic()
        session.resume()

    def left_unread(self, session_id: str, since: float) -> None:
        """What this session has sent until now may have waited since then."""
        if session := self._sessions.get(session_id):
            session.unread.note(since, self._clock.monotonic())

    def written(self, session_id: str) -> None:
        """All that was transmitted has left the process. For `ack=auto` that is delivered."""
        session = self._sessions.get(session_id)
        if session is not None and session.auto_ack and session.outstanding:
            self._acknowledge(session, tuple(session.outstanding))

    # Frames ----------------------------------------------------------------------------------

    def receive(self, session_id: str, frame: ClientFrame) -> None:
        """A client has sent a good frame."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        session.bad_frames = 0
        if isinstance(frame, Send):
            self._send(session, frame)
        elif isinstance(frame, Ack):
            self._acknowledge(session, frame.ids)
        else:
            self._out.append(Transmit(session_id, frames.PONG))

    def receive_bad(self, session_id: str, bad: BadFrame) -> None:
        """A client has sent a frame that cannot be taken: say so; the connection lives on."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        self.counters.bad_frames += 1
        session.bad_frames += 1
        if bad.outcome is Outcome.REJECTED:
            self.counters.rejected += 1
        self.counters.error(bad.code)
        error = frames.error(bad.code, bad.message, outcome=bad.outcome, ref=bad.ref)
        self._out.append(Transmit(session_id, error))
        if session.bad_frames >= BAD_FRAMES_IN_A_ROW:
            self._close(session, CloseCode.POLICY, f"{BAD_FRAMES_IN_A_ROW} bad frames in a row")

    # Sends -----------------------------------------------------------------------------------

    def _send(self, session: Session, send: Send) -> None:
        waiter = Waiter(session.id, send.ref, send.retry)
        fresh_id = self._new_id() if send.ref is None else None
        record = self._sends.record(session.user, send, fresh_id)
        if self._refusal is not None:
            self._refuse([waiter], self._refusal)
            return
        if recent := self._sends.recent(record.message_id, retry=send.retry):
            self.counters.repeated += 1
            self._accept([waiter], record.message_id, recent)
            return
        if flight := self._sends.flight(record.message_id):
            self.counters.repeated += 1
            self._sends.join(flight, waiter)
        elif self._sends.is_full():
            self._refuse([waiter], "too many sends are in flight; send again in a moment")
            return
        else:
            self._sends.start(record, waiter)
        session.in_flight += 1
        session.in_flight_bytes += waiter.size_bytes
        is_full = (
            session.in_flight >= SESSION_FLIGHTS or session.in_flight_bytes >= SESSION_FLIGHT_BYTES
        )
        if is_full and not session.reading_paused:
            session.reading_paused = True
            self._out.append(PauseReading(session.id))

    def message_appended(self, flight: Flight, result: AppendResult) -> None:
        """The log has answered an `AppendMessage`."""
        if isinstance(result, NotAppended):
            self._fail(flight, result)
        elif flight.retry or self._may_be_repeated_elsewhere(flight):
            flight.place = self._line_ups.take_place(flight.record.conversation)
            self._sends.confirm(flight, result, is_urgent=True)
        else:
            message = flight.message(*result)
            self._accept_message(flight, message, is_confirmed=False)
            self._deliver(self._line_ups.arrive(message))

    def _may_be_repeated_elsewhere(self, flight: Flight) -> bool:
        """Say whether another server may have been faster with a repeat, so that the position that
        counts is the store's: the sender has left unanswered, or has waited long enough to.
        """
        if flight.record.ref is None:
            return False
        since = flight.started_at
        is_anybody_here = False
        for waiter in flight.waiters:
            if session := self._sessions.get(waiter.session):
                is_anybody_here = True
                since = min(since, session.unread.since(flight.started_at))
        since = self._unread.since(since)
        return not is_anybody_here or self._clock.monotonic() - since > SLOW_SECONDS

    def original_found(self, flight: Flight, stored: Appended | None) -> None:
        """The store has answered a `FindOriginal`; None: there is none, so this is the original."""
        if stored is None:
            self._sends.append_after_all(flight)
            return
        self.counters.repeated += 1
        self._accept_message(flight, flight.message(*stored), is_confirmed=True)

    def original_unknown(self, flight: Flight, reason: str) -> None:
        """The store did not answer a `FindOriginal` in time."""
        self._fail(flight, NotAppended(False, reason))

    def position_confirmed(self, flight: Flight, stored: Appended | None) -> None:
        """The store has answered a `ConfirmPosition`."""
        assert flight.appended is not None, "only what is in the log is confirmed"
        if stored is None:  # in the log, applied, and not in the store: cannot be, so do not guess
            self._fail(flight, NotAppended(False, "the store does not know the message"))
            self._leave_place(flight, None)
            return
        message = flight.message(*stored)
        self.counters.repeated += 1
        self._accept_message(flight, message, is_confirmed=True)
        is_ours = stored.position == flight.appended.position
        self._leave_place(flight, message if is_ours else None)

    def position_unknown(self, flight: Flight, reason: str) -> None:
        """The store did not answer a `ConfirmPosition` in time."""
        assert flight.appended is not None, "only what is in the log is confirmed"
        if flight.retry and flight.place is None:
            self._fail(flight, NotAppended(False, reason))
            return
        if flight.retry:
            # Only the store knows its offset. What came behind it is live meanwhile; to push it
            # after that would be out of order, so the sweep does.
            self._leave_place(flight, None)
            self._sends.confirm(flight, flight.appended, is_urgent=False)
            return
        # It is in the log, and who never repeated it is told so. While the store is away no server
        # appends a repeat, so its offset is the one that counts, unless its sender has left before,
        # which goes unseen where its connection is not read. Then nobody is pushed it now: the
        # sweep does that, with the offset that the store has.
        message = flight.message(*flight.appended)
        sessions = [self._sessions.get(waiter.session) for waiter in flight.waiters]
        is_here = any(session and not session.reading_paused for session in sessions)
        self._accept_message(flight, message, is_confirmed=False)
        self._leave_place(flight, message if is_here else None)

    def _leave_place(self, flight: Flight, message: Message | None) -> None:
        place, flight.place = flight.place, None
        if place is not None:
            self._deliver(self._line_ups.settle(place, message))

    def _accept_message(self, flight: Flight, message: Message, *, is_confirmed: bool) -> None:
        if flight.record.ref is not None:
            self._sends.remember(message, is_confirmed=is_confirmed)
        waiters = self._sends.land(flight)
        self._settle(waiters)
        self._accept(waiters, message.id, message)

    def _accept(self, waiters: list[Waiter], message_id: str, accepted: Recent | Message) -> None:
        for waiter in waiters:
            self.counters.accepted += 1
            if waiter.session in self._sessions:
                frame = frames.accepted(
                    ref=waiter.ref,
                    id=message_id,
                    conversation=accepted.conversation,
                    offset=accepted.position.offset,
                    time_ms=accepted.time_ms,
                )
                self._out.append(Transmit(waiter.session, frame))

    def _fail(self, flight: Flight, result: NotAppended) -> None:
        waiters = self._sends.land(flight)
        self._settle(waiters)
        if result.certain:
            self._refuse(waiters, result.reason)
        else:
            self._answer_unknown(waiters, result.reason)

    def _refuse(self, waiters: list[Waiter], reason: str) -> None:
        """Answer sends that did not reach the log now. A repeat may have reached it before."""
        for waiter in waiters:
            if waiter.retry:
                self._answer_unknown([waiter], reason)
            elif waiter.session in self._sessions:
                self.counters.rejected += 1
                self.counters.error(ErrorCode.BUSY)
                error = frames.error(
                    ErrorCode.BUSY, reason, outcome=Outcome.REJECTED, ref=waiter.ref
                )
                self._out.append(Transmit(waiter.session, error))

    def _answer_unknown(self, waiters: list[Waiter], reason: str) -> None:
        for waiter in waiters:
            # While draining, silence and the close that follows make the client repeat as well.
            if waiter.session in self._sessions and not self._is_draining:
                self.counters.unknown += 1
                self.counters.error(ErrorCode.UNAVAILABLE)
                error = frames.error(
                    ErrorCode.UNAVAILABLE, reason, outcome=Outcome.UNKNOWN, ref=waiter.ref
                )
                self._out.append(Transmit(waiter.session, error))

    def _settle(self, waiters: list[Waiter]) -> None:
        for waiter in waiters:
            session = self._sessions.get(waiter.session)
            if session is None:
                continue
            session.in_flight -= 1
            session.in_flight_bytes -= waiter.size_bytes
            if (
                session.reading_paused
                and session.in_flight <= SESSION_FLIGHTS // 2
                and session.in_flight_bytes <= SESSION_FLIGHT_BYTES // 2
            ):
                session.reading_paused = False
                self._out.append(ResumeReading(session.id))

    # Pushing ---------------------------------------------------------------------------------

    def _deliver(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._push_local(message)
            self._out.append(RouteMessage(message))

    def _push_local(self, message: Message) -> None:
        frame = b""
        for recipient in message.recipients:
            for session in self._users.get(recipient, {}).values():
                frame = frame or frames.message(message, replay=False)
                session.offer(message, frame)

    def routed(self, hint: Message | StatusHint) -> None:
        """Another server has sent a hint."""
        if isinstance(hint, Message):
            self._push_local(hint)
        else:
            self._tell_status(hint)

    def page(self, session_id: str, query: PendingQuery, pending: Pending) -> None:
        """The store has answered a `ReadPending`."""
        if session := self._sessions.pop(session_id, None):
            self._sessions[session_id] = session  # to the end of the queue of the sweep
            session.page(query, pending, self._receipts.is_settled)

    def applied(self, session_id: str) -> None:
        """The store has reached the target of an `AwaitApplied`."""
        if session := self._sessions.get(session_id):
            session.pull()

    def sweep(self) -> list[ReadPending]:
        """Return what to ask the store for: of each session that is up to date, what it has missed.

        Those come first that had an answer longest ago.
        """
        queries = ((session.id, session.sweep_query()) for session in self._sessions.values())
        return [ReadPending(id, query, is_sweep=True) for id, query in queries if query is not None]

    # Receipts --------------------------------------------------------------------------------

    def _acknowledge(self, session: Session, ids: tuple[str, ...]) -> None:
        acknowledged = session.acknowledge(ids)
        self.counters.acknowledged += len(acknowledged)
        self.counters.acks_ignored += len(ids) - len(acknowledged)
        self._receipts.take(session.user, acknowledged)
        session.resume()

    def receipts_appended(self, batch: ReceiptBatch, result: AppendResult) -> None:
        """The log has answered an `AppendReceipts`."""
        if not isinstance(result, Appended):
            self._receipts.not_appended(batch)
            return
        self._receipts.appended(batch)
        self.counters.receipts += len(batch.senders)
        by_sender: dict[str, list[str]] = {}
        for id, sender in batch.senders.items():
            by_sender.setdefault(sender, []).append(id)
        for sender, ids in by_sender.items():
            hint = StatusHint(sender, ids, batch.recipient, batch.delivered_at)
            self._tell_status(hint)
            self._out.append(RouteStatus(hint))

    def _tell_status(self, hint: StatusHint) -> None:
        sessions = self._users.get(hint.sender)
        if not sessions:
            return
        # The recipient's sessions on two servers may both acknowledge: that is two receipts.
        ids = self._told.note_new(hint.ids, hint.user)
        if ids:
            frame = frames.status(ids=ids, user=hint.user, time=hint.time)
            self._out.extend(Transmit(session_id, frame) for session_id in sessions)

    # Time and the end ------------------------------------------------------------------------

    def pulse(self) -> None:
        """Notice where the process has stood still; call it every PULSE_SECONDS."""
        now = self._clock.monotonic()
        if now - self._pulsed_at > STILL_SECONDS:
            self._unread.note(self._pulsed_at, now + AFTER_SECONDS)
        self._pulsed_at = now

    def tick(self) -> None:
        """Let time pass; call it about once a second."""
        now = self._clock.monotonic()
        for session in list(self._sessions.values()):
            why = session.overdue(now, self._ack_timeout, WRITE_TIMEOUT_SECONDS)
            if why is not None:
                self._close(session, CloseCode.NO_PROGRESS, why)
            else:
                session.push_held()
        self._sends.forget_old()
        self._told.forget_old()

    def drain(self) -> None:
        """Take no more sends; those in flight are still answered."""
        self._is_draining = True
        self._refusal = "the server is restarting; send again after reconnecting"

    def refuse_sends(self, reason: str | None) -> None:
        """Refuse sends before the log for this reason; None: take them again."""
        if not self._is_draining:
            self._refusal = reason

    @property
    def receipts_dropped(self) -> int:
        """Return how many receipts were given up because too many waited for the log."""
        return self._receipts.dropped

    def is_drained(self) -> bool:
        """Say whether every send is answered and every receipt is in the log."""
        return not len(self._sends) and self._receipts.is_empty()

    def close_all(self, first_retry_ms: int, last_retry_ms: int) -> None:
        """Close every session; their retries are spread, so that they do not come at once."""
        sessions = list(self._sessions.values())
        step = (last_retry_ms - first_retry_ms) / max(1, len(sessions))
        for index, session in enumerate(sessions):
            retry_ms = int(first_retry_ms + index * step)
            self._close(session, CloseCode.RESTARTING, f"retry_after_ms={retry_ms}")

    def _close(self, session: Session, code: CloseCode, reason: str) -> None:
        self._out.append(Close(session.id, code, reason))
        self.disconnect(session.id)

    # For the metrics -------------------------------------------------------------------------

    @property
    def session_count(self) -> int:
        """Return how many sessions are open."""
        return len(self._sessions)

    @property
    def flight_count(self) -> int:
        """Return how many sends are in flight."""
        return len(self._sends)
