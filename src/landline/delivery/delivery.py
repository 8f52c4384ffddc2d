"""The whole of delivery on one server: events and results go in, decisions come out.

Call a method for each thing that happened. Then call `end_turn()`, carry out `take_decisions()` in
order, and feed the results back in. No method waits, and none raises for what a client or a
dependency does.

Why nothing is lost, in the terms of this file (ARCHITECTURE.md has the proof):

* A sender is told `accepted`, and a recipient is pushed a message, only after `appended`.
* `connect` enters the session here, then asks for `Register`; the ends that `registered` brings
  were read after that. A message that was looked up before is below those ends and thus found by
  the session's pull; one that is looked up later finds the session.
* A row stays pending until a client has acknowledged; `sweep` finds what everything else missed.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import assert_never

from landline.config.limits import NO_LIMITS, Limits
from landline.delivery.beginnings import Beginnings
from landline.delivery.counters import Counters
from landline.delivery.decisions import (
    Close,
    Decision,
    PushToRoom,
    ReadPending,
    RouteMessage,
    RouteRead,
    RouteStatus,
    TellRoom,
    Transmit,
    Unregister,
)
from landline.delivery.devices import Recognition
from landline.delivery.flights import Bar, Flight, Held, ReceiptBatch
from landline.delivery.memory import Memory
from landline.delivery.rates import Rates
from landline.delivery.reads import Reads
from landline.delivery.receipts import Receipts, Told
from landline.delivery.sender import Post, Sender
from landline.delivery.sends import Sends
from landline.delivery.session import Session
from landline.model import (
    Appended,
    AppendResult,
    Mailbox,
    Message,
    Pending,
    PendingQuery,
    Positions,
)
from landline.ports import Clock
from landline.protocol import server_frames
from landline.protocol.client_frames import (
    Ack,
    AskDelivery,
    AskHistory,
    AskList,
    AskMembers,
    BadFrame,
    ChangeMember,
    ChangeRoom,
    ClientFrame,
    Create,
    LogRequest,
    MarkRead,
    Ping,
    Send,
)
from landline.protocol.codes import CloseCode, Outcome
from landline.protocol.hints import MessageHint, ReadHint, StatusHint
from landline.protocol.identity import is_room, participants
from landline.protocol.limits import BAD_FRAMES_IN_A_ROW
from landline.protocol.records import ReadRecord

# A write buffer that does not shrink for this long: the peer reads nothing, or is gone.
WRITE_TIMEOUT_SECONDS = 10.0
# When a session comes again that has to use another mailbox, or whose device has ended.
COME_AGAIN_MS = 500
# When a session may come again whose user has brought too many new devices.
NEW_DEVICE_MS = 60_000


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
        has_others: bool,
        limits: Limits = NO_LIMITS,
        record_version: Callable[[], int] = lambda: 2,
    ) -> None:
        """`has_others`: whether other servers share the log, whose sessions are to be told.
        `record_version`: the newest version of records that may be appended now.
        """
        self._clock = clock
        self._server_id = server_id
        self._ack_timeout = ack_timeout
        self.has_others = has_others
        self._record_version = record_version
        self._out: list[Decision] = []
        self._sessions: dict[str, Session] = {}
        self._senders: dict[str, Sender] = {}  # sessions, and requests with one message
        self._users: dict[str, dict[str, Session]] = {}
        self._bursting: dict[str, Session] = {}  # that were pushed something in this turn
        self._beginnings = Beginnings(
            sessions=self._sessions,
            out=self._out,
            server_id=server_id,
            durability=durability,
            record_version=record_version,
        )
        self._receipts = Receipts(self._out, clock, record_version)
        self._reads = Reads(self._out, clock)
        self._told = Told(clock)
        self._is_draining = False
        self.counters = Counters()
        self.memory = Memory()
        self._sends = Sends(
            senders=self._senders,
            out=self._out,
            clock=clock,
            new_id=new_id,
            counters=self.counters,
            has_others=has_others,
            rates=Rates(limits),
            record_version=record_version,
        )

    def end_turn(self) -> None:
        """Append the receipts and the marks that came together in this turn of the loop."""
        bursting = list(self._bursting.values())
        self._bursting.clear()
        for session in bursting:
            session.end_burst()
        self._receipts.flush()
        self._reads.flush(is_over=self._is_draining)

    @property
    def has_more(self) -> bool:
        """Say whether another turn is needed although nothing happens: what goes on after a burst
        may have been one again.
        """
        return any(session.window.is_full_of_bytes for session in self._bursting.values())

    def take_decisions(self) -> list[Decision]:
        """Return what is decided and not taken yet, in order."""
        if not self._out:
            return []
        decisions = self._out.copy()
        self._out.clear()
        return self._beginnings.welcome_first(decisions)

    # Sessions --------------------------------------------------------------------------------

    def connect(
        self,
        session_id: str,
        user: str,
        *,
        auto_ack: bool,
        is_limited: bool = True,
        device: str | None = None,
    ) -> None:
        """A session begins. From here on it is in the local map."""
        if self._record_version() == 1:
            device = None  # servers of the version before know of none
        session = Session(
            session_id,
            Mailbox(user, device),
            auto_ack=auto_ack,
            out=self._out,
            clock=self._clock,
            memory=self.memory,
            counters=self.counters,
            bursting=self._bursting,
        )
        session.intake.is_limited = is_limited
        self._sessions[session_id] = self._senders[session_id] = session
        self._users.setdefault(user, {})[session_id] = session
        self.counters.sessions_opened += 1
        self._beginnings.begin(session)

    def recognised(self, session_id: str, recognition: Recognition | None) -> None:
        """The store has answered a `Recognise`; None: not in time."""
        session = self._sessions.get(session_id)
        if session is not None and self._beginnings.recognised(session, recognition):
            self._close(session, CloseCode.RESTARTING, f"retry_after_ms={COME_AGAIN_MS}")

    def entered(self, session_id: str) -> None:
        """The directory has answered a `Register`, or failed to in time."""
        if session := self._sessions.get(session_id):
            self._beginnings.entered(session)

    def opened(self, session_id: str, opened: Positions) -> None:
        """Records of an `OpenDevice` are in the log: the offsets behind them. Those of partitions
        that are missing come later.
        """
        if session := self._sessions.get(session_id):
            self._beginnings.opened(session, opened)

    def registered(self, session_id: str, ends: Positions) -> None:
        """The log has answered a `ReadEnds`."""
        if session := self._sessions.get(session_id):
            session.begin(ends)

    def disconnect(self, session_id: str) -> None:
        """A session ends. Its sends go on; what it has not acknowledged stays pending."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        del self._senders[session_id]
        self._beginnings.end(session_id)
        self._bursting.pop(session_id, None)
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
        session.window.set_writable(is_writable)
        session.intake.is_blocked = not is_writable
        session.intake.resumed_at = self._clock.monotonic()
        session.resume()

    def reading(self, session_id: str, is_read: bool) -> None:
        """The connection is read from now on, or is not, for whatever reason."""
        if session := self._sessions.get(session_id):
            session.intake.is_unread = not is_read
            session.intake.resumed_at = self._clock.monotonic()

    def left_unread(self, session_id: str, since: float) -> None:
        """What this session has sent until now may have waited since then."""
        if session := self._sessions.get(session_id):
            session.intake.read_late(since, self._clock.monotonic())

    def written(self, session_id: str) -> None:
        """All that was transmitted has left the process. For `ack=auto` that is delivered."""
        session = self._sessions.get(session_id)
        if session is not None and session.auto_ack and session.window:
            self._acknowledge(session, session.window.ids())

    # Frames ----------------------------------------------------------------------------------

    def receive(self, session_id: str, frame: ClientFrame) -> None:
        """A client has sent a good frame."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        session.intake.take_good()
        match frame:
            case Send() | Create() | ChangeMember() | ChangeRoom():
                self._sends.take(session, frame)
            case MarkRead():
                self._reads.take(session.user, frame.conversation, frame.offset)
            case Ack():
                self._acknowledge(session, frame.ids)
            case Ping():
                self._out.append(Transmit(session_id, server_frames.PONG))
            case AskList() | AskHistory() | AskMembers() | AskDelivery():
                raise AssertionError("questions are for the store, and do not come here")
            case _:
                assert_never(frame)

    def begin_post(self, post_id: str, user: str, *, is_limited: bool = True) -> None:
        """A request has come with a message. Its answer is a `Transmit` to this id."""
        self._senders[post_id] = Post(post_id, user)
        self._senders[post_id].intake.is_limited = is_limited

    def hold(self, sender_id: str, send: LogRequest) -> Held | None:
        """A session or a post has sent what somebody has to be asked about. Returns what to
        `let_go` of, right before `send`; None: there is nothing to ask.
        """
        sender = self._senders.get(sender_id)
        return None if sender is None else self._sends.hold(sender, send)

    def let_go(self, held: Held) -> None:
        """It is known whether it may be appended, or nobody waits for that any more."""
        self._sends.let_go(held)

    def send(
        self, sender_id: str, send: LogRequest, bar: Bar | None = None, since: float | None = None
    ) -> None:
        """A session or a post has sent a message, or asks for a room. `bar`: why it must not be
        appended. `since`: from when on it was held.
        """
        if sender := self._senders.get(sender_id):
            sender.intake.take_good()
            self._sends.take(sender, send, bar, since)

    def answer(self, session_id: str, frame: bytes) -> None:
        """A session has asked for something, and this is the answer."""
        if session := self._sessions.get(session_id):
            session.intake.take_good()
            self._out.append(Transmit(session_id, frame))

    def heard(self, session_id: str) -> None:
        """A session has asked a question: a good frame."""
        if session := self._sessions.get(session_id):
            session.intake.take_good()

    def end_post(self, post_id: str) -> None:
        """The request is answered, or nobody waits for the answer any more. The send goes on."""
        self._senders.pop(post_id, None)

    def receive_bad(self, session_id: str, bad: BadFrame) -> None:
        """A client has sent a frame that cannot be taken: say so; the connection lives on."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        self.counters.bad_frames += 1
        if bad.outcome is Outcome.REJECTED:
            self.counters.rejected += 1
        self.counters.error(bad.code)
        error = server_frames.error(
            bad.code, bad.message, outcome=bad.outcome, ref=bad.ref, request=bad.request
        )
        self._out.append(Transmit(session_id, error))
        if session.intake.take_bad():
            self._close(session, CloseCode.POLICY, f"{BAD_FRAMES_IN_A_ROW} bad frames in a row")

    # Sends -----------------------------------------------------------------------------------

    def message_appended(self, flight: Flight, result: AppendResult) -> None:
        """The log has answered an `AppendMessage`."""
        self._deliver(self._sends.appended(flight, result))

    def original_found(self, flight: Flight, stored: Appended | None) -> None:
        """The store has answered a `FindOriginal`; None: there is none, so this is the original."""
        self._sends.original_found(flight, stored)

    def original_unknown(self, flight: Flight, reason: str) -> None:
        """The store did not answer a `FindOriginal` in time."""
        self._sends.original_unknown(flight, reason)

    def position_confirmed(self, flight: Flight, stored: Appended | None) -> None:
        """The store has answered a `ConfirmPosition`."""
        self._deliver(self._sends.position_confirmed(flight, stored))

    def may_be_known_soon(self, flight: Flight) -> bool:
        """Say whether it is worth waiting a moment before `position_unknown`: then it may be known
        whether its sender is here.
        """
        return self._sends.may_be_known_soon(flight)

    def position_unknown(self, flight: Flight, reason: str) -> None:
        """The store did not answer a `ConfirmPosition` in time."""
        self._deliver(self._sends.position_unknown(flight, reason))

    # Pushing ---------------------------------------------------------------------------------

    def _deliver(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if is_room(message.conversation):
                self._out.append(PushToRoom(message))
                continue
            self._push_local(message, (*message.recipients, message.sender))
            if self.has_others:
                self._out.append(RouteMessage(message, self._users_to_tell(message)))

    def push_to_room(
        self,
        message: Message,
        members: Collection[str],
        *,
        is_ours: bool = True,
        left: str | None = None,
    ) -> None:
        """It is known who is in the room of a `PushToRoom`. `left`: who has just been removed. They
        hear of that, and are owed nothing more, also nothing older. `is_ours`: it was accepted
        here.
        """
        users = tuple(members)
        if left is not None:
            for session in self._users.get(left, {}).values():
                session.leave_room(message.conversation)
            users = (*users, left)
        self._push_local(message, users)
        if self.has_others and is_ours:
            self._out.append(RouteMessage(message, users))

    def _users_to_tell(self, message: Message) -> tuple[str, ...]:
        """Return whose sessions on other servers are to have it: the sender's too, unless theirs
        is a session without a device here, for then they have none.
        """
        sender, recipients = message.sender, message.recipients
        if sender in recipients:
            return recipients
        if message.device is None:
            theirs = self._users.get(sender, {}).values()
            if any(session.mailbox.device is None for session in theirs):
                return recipients
        return (*recipients, sender)

    def _push_local(self, message: Message, users: Iterable[str]) -> None:
        """Push to the sessions of these users, except those of the mailbox that it came from."""
        frame = b""
        sent_from = None
        if message.sender not in message.recipients:
            sent_from = Mailbox(message.sender, message.device)
        for user in users:
            for session in self._users.get(user, {}).values():
                if session.mailbox != sent_from:
                    frame = frame or server_frames.message(message, replay=False)
                    session.offer(message, frame)

    def routed(self, hint: MessageHint | StatusHint | ReadHint) -> None:
        """Another server has sent a hint."""
        if isinstance(hint, MessageHint) and is_room(hint.message.conversation):
            self._out.append(PushToRoom(hint.message, frozenset(hint.users)))
        elif isinstance(hint, MessageHint):
            self._push_local(hint.message, hint.users)
        elif isinstance(hint, ReadHint):
            self._push_read(hint.conversation, hint.entries, hint.users)
        else:
            self._tell_status(hint)

    # How far people have seen ----------------------------------------------------------------

    def mark(self, user: str, mark: MarkRead) -> bool:
        """A request has come with a mark. Returns whether it is on its way: `reads_appended` tells
        when it is in the log.
        """
        return self._reads.take(user, mark.conversation, mark.offset)

    def reads_appended(self, record: ReadRecord, result: AppendResult) -> None:
        """The log has answered an `AppendReads`."""
        if not isinstance(result, Appended):
            self._reads.not_appended(record)
            return
        self._reads.appended(record)
        # What is durable: nobody has seen what is not there yet.
        end = result.position.offset
        record = replace(record, entries=tuple((user, min(at, end)) for user, at in record.entries))
        if is_room(record.conversation):
            self._out.append(TellRoom(record))
        else:
            self.tell_read(record, participants(record.conversation))

    def tell_read(self, record: ReadRecord, members: Collection[str]) -> None:
        """It is known whom to tell of a `TellRoom`."""
        users = tuple(members)
        self._push_read(record.conversation, record.entries, users)
        if self.has_others:
            self._out.append(RouteRead(record, users))

    def _push_read(
        self, conversation: str, entries: Sequence[tuple[str, int]], users: Iterable[str]
    ) -> None:
        frame = server_frames.read(conversation, entries)
        for user in users:
            self._out.extend(
                Transmit(session_id, frame) for session_id in self._users.get(user, ())
            )

    def page(self, session_id: str, query: PendingQuery, pending: Pending) -> None:
        """The store has answered a `ReadPending`."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        if self._beginnings.has_to_leave(session, pending):
            self._close(session, CloseCode.RESTARTING, f"retry_after_ms={COME_AGAIN_MS}")
            return
        if not session.has_asked(query):
            self._sessions[session_id] = self._sessions.pop(session_id)  # to the end of the sweep
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
        acknowledged = session.window.acknowledge(ids)
        self.counters.acknowledged += len(acknowledged)
        self._receipts.take(session.mailbox, acknowledged)
        session.resume()

    def receipts_appended(self, batch: ReceiptBatch, result: AppendResult) -> None:
        """The log has answered an `AppendReceipts`."""
        if not isinstance(result, Appended):
            self._receipts.not_appended(batch)
            return
        self._receipts.appended(batch)
        for mailbox, acknowledged in batch.entries:
            self.counters.receipts += len(acknowledged)
            by_sender: dict[str, list[str]] = {}
            for each in acknowledged:
                if each.is_news:
                    by_sender.setdefault(each.sender, []).append(each.id)
            for sender, ids in by_sender.items():
                hint = StatusHint(sender, ids, mailbox.user, batch.delivered_at)
                self._tell_status(hint)
                if self.has_others:
                    self._out.append(RouteStatus(hint))

    def _tell_status(self, hint: StatusHint) -> None:
        sessions = self._users.get(hint.sender)
        if not sessions:
            return
        # The recipient's sessions on two servers may both acknowledge: that is two receipts.
        ids = self._told.note_new(hint.ids, hint.user)
        if ids:
            frame = server_frames.status(ids=ids, user=hint.user, time=hint.time)
            self._out.extend(Transmit(session_id, frame) for session_id in sessions)

    # Time and the end ------------------------------------------------------------------------

    def pulse(self) -> None:
        """Notice where the process has stood still; call it every PULSE_SECONDS."""
        self._sends.pulse()

    def tick(self) -> None:
        """Let time pass; call it about once a second."""
        now = self._clock.monotonic()
        for session in list(self._sessions.values()):
            why = session.window.overdue(now, self._ack_timeout, WRITE_TIMEOUT_SECONDS)
            if why is not None:
                self._close(session, CloseCode.NO_PROGRESS, why)
            else:
                session.push_held()
        self._sends.forget_old()
        self._told.forget_old()
        self._reads.forget_old()

    def drain(self) -> None:
        """Take no more sends; those in flight are still answered."""
        self._is_draining = True
        self._sends.drain()

    def refuse_sends(self, reason: str | None) -> None:
        """Refuse sends before the log for this reason; None: take them again."""
        self._sends.refuse(reason)

    @property
    def reads_dropped(self) -> int:
        """Return how many marks of reading were given up."""
        return self._reads.dropped

    @property
    def receipts_dropped(self) -> int:
        """Return how many receipts were given up because too many waited for the log."""
        return self._receipts.dropped

    def is_drained(self) -> bool:
        """Say whether every send is answered and every receipt is in the log."""
        is_told = self._receipts.is_empty() and self._reads.is_empty()
        return not len(self._sends) and is_told

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

    # Whose sessions there are ----------------------------------------------------------------

    @property
    def server_id(self) -> str:
        """Return what this server is called."""
        return self._server_id

    def sessions_of(self, user: str) -> tuple[str, ...]:
        """Return the ids of a user's sessions."""
        return tuple(self._users.get(user, ()))

    def device_mailboxes(self) -> frozenset[Mailbox]:
        """Return the mailboxes of devices that have sessions here."""
        mailboxes = (session.mailbox for session in self._sessions.values())
        return frozenset(each for each in mailboxes if each.device is not None)

    def has_nameless_sessions(self, user: str) -> bool:
        """Say whether a user has sessions here that use the default mailbox."""
        sessions = self._users.get(user, {}).values()
        return any(each.mailbox.device is None for each in sessions)

    def refuse_device(self, session_id: str) -> None:
        """This session brings one new device too many of its user in a short time."""
        if session := self._sessions.get(session_id):
            self._close(session, CloseCode.OVERLOADED, f"retry_after_ms={NEW_DEVICE_MS}")

    def close_user(self, user: str, code: CloseCode, reason: str) -> int:
        """Close every session of a user. Returns how many there were."""
        sessions = list(self._users.get(user, {}).values())
        for session in sessions:
            self._close(session, code, reason)
        return len(sessions)

    # For the metrics -------------------------------------------------------------------------

    @property
    def session_count(self) -> int:
        """Return how many sessions are open."""
        return len(self._sessions)

    @property
    def flight_count(self) -> int:
        """Return how many sends are in flight."""
        return len(self._sends)
