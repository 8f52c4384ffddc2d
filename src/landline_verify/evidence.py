"""A history in order: what it says of each send, message, session and fault, in one pass.

Events are named by their index, which is also their place in time. A message is known by its id
once an `ok` has told it; before, and for ever where no answer came, the id is matched with a send
of the same sender, conversation and content.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from landline_verify.events import (
    Ack,
    AppliedRow,
    Connect,
    DeliveryRow,
    Disconnect,
    Dump,
    Event,
    FaultEvent,
    Invoke,
    Live,
    MessageRecord,
    MessageRow,
    Ok,
    Phase,
    QuarantineRow,
    ReceiptsRecord,
    Record,
    Recv,
    Rejected,
    Run,
    Sample,
    Status,
    Unknown,
)
from landline_verify.fold import Fold, conversation_of, fold
from landline_verify.verdict import Violation

# A session that owes this many acknowledgements may soon be, or already is, at the end of its
# window (256, of which the client sees only what has arrived): the server need not push.
NEARLY_FULL = 128

# A client waits so long for `welcome`.
HANDSHAKE_SECONDS = 5.0

Answer = Ok | Rejected | Unknown


@dataclass(slots=True)
class Try:
    """One time that a send was asked for, and its answer.

    Of several tries in one session that wait at once nobody knows which one an answer answers.
    `is_retry`: all that it may be for had `retry: true`.
    """

    at: int
    invoke: Invoke
    is_retry: bool
    answered_at: int | None = None
    answer: Answer | None = None


@dataclass(slots=True)
class Send:
    """What one user wants to be accepted, under one ref."""

    user: str
    to: str
    ref: str
    digest: str
    tries: list[Try] = field(default_factory=list)
    id: str | None = None

    @property
    def at(self) -> int:
        """When it was first tried."""
        return self.tries[0].at

    @property
    def is_rejected(self) -> bool:
        """Say whether it can be nowhere: each try was answered so."""
        return all(isinstance(each.answer, Rejected) for each in self.tries)

    def violates(self, invariant: str, sentence: str, *events: int) -> Violation:
        """Return a violation that names this send."""
        return Violation(
            invariant, sentence, tuple(sorted(events)), self.id, sender=self.user, ref=self.ref
        )


@dataclass(slots=True)
class Message:
    """Everything that was seen of one id."""

    id: str
    send: Send | None = None
    oks: list[tuple[int, Ok]] = field(default_factory=list)
    recvs: list[tuple[int, Recv]] = field(default_factory=list)
    acks: list[tuple[int, Ack]] = field(default_factory=list)
    statuses: list[tuple[int, Status]] = field(default_factory=list)
    records: list[tuple[int, MessageRecord]] = field(default_factory=list)
    receipts: list[tuple[int, ReceiptsRecord]] = field(default_factory=list)
    rows: list[tuple[int, MessageRow]] = field(default_factory=list)
    deliveries: list[tuple[int, DeliveryRow]] = field(default_factory=list)

    def contents(self) -> Iterator[tuple[int, str, str, str]]:
        """Yield (index, sender, conversation, digest) wherever the message itself was seen."""
        for at, record in self.records:
            yield at, record.sender, record.conversation, record.digest
        for at, row in self.rows:
            yield at, row.sender, row.conversation, row.digest
        for at, recv in self.recvs:
            yield at, recv.sender, recv.conversation, recv.digest

    @property
    def conversation(self) -> str:
        """The conversation that it belongs to."""
        if self.send is not None:
            return conversation_of(self.send.user, self.send.to)
        return next((conversation for _, _, conversation, _ in self.contents()), "")

    @property
    def position(self) -> int | None:
        """Where it stands: where its first record does, otherwise where most say it stands."""
        if self.records:
            return min((each.partition, each.offset) for _, each in self.records)[1]
        claims = Counter(each.offset for _, each in self.recvs)
        claims.update(each.offset for _, each in self.rows)
        if not claims:
            claims.update(ok.offset for _, ok in self.oks)
        return max(claims, key=lambda offset: (claims[offset], -offset), default=None)

    @property
    def is_confirmed(self) -> bool:
        """Say whether anything but an ok says where it stands."""
        return bool(self.records or self.recvs or self.rows)

    def received_by(self, user: str) -> int | None:
        """Return when a user first received it."""
        return next((at for at, recv in self.recvs if recv.user == user), None)

    def acknowledged_by(self, user: str) -> int | None:
        """Return when a user first acknowledged it in a session that it had been pushed in."""
        for at, ack in self.acks:
            if ack.user == user and any(r < at and recv.c == ack.c for r, recv in self.recvs):
                return at
        return None

    def violates(self, invariant: str, sentence: str, *events: int) -> Violation:
        """Return a violation that names this message."""
        sender = None if self.send is None else self.send.user
        ref = None if self.send is None else self.send.ref
        return Violation(invariant, sentence, tuple(sorted(events)), self.id, sender, ref)


@dataclass(slots=True)
class Session:
    """One connection from `welcome` to its end."""

    at: int
    connect: Connect
    live: tuple[int, Live] | None = None
    ended_at: int | None = None
    ended: Disconnect | None = None
    recvs: list[tuple[int, Recv]] = field(default_factory=list)
    acks: list[tuple[int, Ack]] = field(default_factory=list)
    _full: list[tuple[float, float]] | None = None

    @property
    def ends(self) -> float:
        """When it ended, in seconds; infinity where the history ends first."""
        return inf if self.ended is None else self.ended.t

    def is_nearly_full(self, start: float, end: float) -> bool:
        """Say whether it owed many acknowledgements at some time between two."""
        if self._full is None:
            self._full = list(self._full_spans())
        return any(since <= end and start <= until for since, until in self._full)

    def _full_spans(self) -> Iterator[tuple[float, float]]:
        if self.connect.ack == "auto":
            return
        owed: set[str] = set()
        since: float | None = None
        seen: list[tuple[int, Recv | Ack]] = [*self.recvs, *self.acks]
        for _, event in sorted(seen, key=lambda each: each[0]):
            if isinstance(event, Recv):
                owed.add(event.id)
            else:
                owed.difference_update(event.ids)
            if since is None and len(owed) >= NEARLY_FULL:
                since = event.t
            elif since is not None and len(owed) < NEARLY_FULL:
                yield since, event.t
                since = None
        if since is not None:
            yield since, self.ends


@dataclass(slots=True)
class FaultSpan:
    """One fault from its start to its stop; infinity where it was never stopped."""

    at: int
    name: str
    detail: str
    start: float
    stop: float = inf


class _Stalls(NamedTuple):
    """When the clients stood still, in the order of time: `begins`, and the same in time without
    any stall, `awake`. After so many of them: when the last one ended, and how long all took.
    """

    begins: list[float]
    awake: list[float]
    ends: list[float]
    sums: list[float]


class Evidence:
    """What a history says. Read only, once it is made."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.run: Run | None = None
        self.phases: dict[str, float] = {}
        self.sends: dict[tuple[str, str], Send] = {}
        self.messages: dict[str, Message] = {}
        self.sessions: dict[str, Session] = {}
        self.sessions_of: defaultdict[str, list[Session]] = defaultdict(list)
        self.strikes: list[FaultSpan] = []
        self.samples: defaultdict[str, list[tuple[int, Sample]]] = defaultdict(list)
        self.records: list[tuple[int, Record]] = []
        self.applied: list[tuple[int, AppliedRow]] = []
        self.quarantine: list[tuple[int, QuarantineRow]] = []
        self.dumps: dict[str, bool] = {}
        # Answers that no try waited for, with the send that they name.
        self.surplus: list[tuple[int, Answer, Send | None]] = []
        self.reused_refs: list[int] = []
        # An ok with the id of another send's message.
        self.shared_ids: list[tuple[int, Send, Message]] = []
        self._unanswered: defaultdict[tuple[str, str], list[Try]] = defaultdict(list)
        self._take_all(events)
        self._match()

    # What the checks ask ---------------------------------------------------------------------

    @property
    def has_log(self) -> bool:
        """Say whether the whole log was read."""
        return self.dumps.get("log", False)

    @property
    def has_store(self) -> bool:
        """Say whether the whole store was read."""
        return self.dumps.get("store", False)

    @cached_property
    def users(self) -> frozenset[str]:
        """Everybody who took part, or was written to."""
        recipients = {send.to for send in self.sends.values()}
        return frozenset({*self.sessions_of, *recipients, *(send[0] for send in self.sends)})

    @cached_property
    def end(self) -> float:
        """When the clients stopped."""
        return self.phases.get("end", self.events[-1].t if self.events else 0.0)

    @cached_property
    def healed(self) -> float:
        """When the last fault was over, or the runner said so."""
        stops = (each.stop for each in self.strikes if each.stop != inf)
        return max([self.phases.get("heal", self.phases.get("final", self.end)), *stops])

    @cached_property
    def fold(self) -> Fold:
        """What the log comes to."""
        return fold(record for _, record in self.records)

    @cached_property
    def accepted(self) -> list[tuple[Message, Send, int, Ok]]:
        """Every message with an ok and the send that it answers, with its first ok."""
        return [
            (message, message.send, *message.oks[0])
            for message in self.messages.values()
            if message.oks and message.send is not None
        ]

    def stalled(self, start: float, end: float) -> float:
        """Return for how many seconds between two times the clients themselves stood still."""
        return max(0.0, self._stood_still(end) - self._stood_still(start))

    def lost_hints(self, c: str, start: float, end: float) -> bool:
        """Say whether the directory gave the server of a session no answer between two times, by
        the server's own count.
        """
        server = urlsplit(self.sessions[c].connect.url).netloc
        if server not in self._directory_failures:
            return False
        times, values = self._directory_failures[server]
        return values[bisect_left(times, end)] > values[bisect_right(times, start) - 1]

    @cached_property
    def _directory_failures(self) -> dict[str, tuple[list[float], list[float]]]:
        """For each server its times and counts, with a 0 before the first and the last for ever."""
        found = {}
        for what, samples in self.samples.items():
            kind, _, server = what.partition(":")
            if kind == "directory_failures":
                values = [sample.value for _, sample in samples]
                times = [sample.t for _, sample in samples]
                found[server] = ([-inf, *times, inf], [0.0, *values, values[-1]])
        return found

    def after(self, start: float, seconds: float) -> float:
        """Return when so many seconds have gone by in which the clients did not stand still."""
        stalls = self._stalls
        until = start - self._stood_still(start) + seconds  # in time without any stall
        return max(start, until + stalls.sums[bisect_left(stalls.awake, until)])

    def _stood_still(self, until: float) -> float:
        """Return for how many seconds until a time. Asked for each message: it has to be quick."""
        stalls = self._stalls
        begun = bisect_left(stalls.begins, until)
        return stalls.sums[begun] - max(0.0, stalls.ends[begun] - until)

    @cached_property
    def _stalls(self) -> "_Stalls":
        begins: list[float] = []
        ends = [-inf]
        sums = [0.0]
        for _, stall in self.samples.get("stall", ()):
            begin = max(stall.t - stall.value, ends[-1])
            if begin < stall.t:
                begins.append(begin)
                ends.append(stall.t)
                sums.append(sums[-1] + stall.t - begin)
        awake = [begin - before for begin, before in zip(begins, sums, strict=False)]
        return _Stalls(begins, awake, ends, sums)

    def is_live_at_last(self, user: str) -> bool:
        """Say whether a user was connected and live in the final phase."""
        final = self.phases.get("final")
        return final is not None and any(
            each.live is not None and each.ends > final for each in self.sessions_of.get(user, ())
        )

    def had_auto_session(self, user: str, since: int, until: int | None) -> bool:
        """Say whether a session of a user that acknowledges nothing itself may have been open
        between two events; without the second, at any later time.
        """
        # A busy client reads `welcome` some time after the server began to push.
        latest = inf if until is None else self.events[until].t + HANDSHAKE_SECONDS
        return any(
            each.connect.ack == "auto"
            and each.connect.t < latest
            and (each.ended_at is None or each.ended_at > since)
            for each in self.sessions_of.get(user, ())
        )

    # One pass --------------------------------------------------------------------------------

    def _take_all(self, events: Sequence[Event]) -> None:
        takers: dict[type[Event], Callable[[int, Any], None]] = {
            Run: self._take_run,
            Phase: self._take_phase,
            Connect: self._take_connect,
            Live: self._take_live,
            Disconnect: self._take_disconnect,
            Invoke: self._take_invoke,
            Ok: self._take_ok,
            Rejected: self._take_answer,
            Unknown: self._take_answer,
            Recv: self._take_recv,
            Ack: self._take_ack,
            Status: self._take_status,
            FaultEvent: self._take_nemesis,
            Sample: lambda at, event: self.samples[event.what].append((at, event)),
            Dump: lambda _, event: self.dumps.update({event.what: event.complete}),
            AppliedRow: lambda at, event: self.applied.append((at, event)),
            QuarantineRow: lambda at, event: self.quarantine.append((at, event)),
            MessageRow: lambda at, event: self._message(event.id).rows.append((at, event)),
            DeliveryRow: lambda at, event: self._message(event.id).deliveries.append((at, event)),
        }
        for at, event in enumerate(events):
            if isinstance(event, Record):
                self._take_record(at, event)
            elif (take := takers.get(type(event))) is not None:
                take(at, event)

    def _message(self, id: str) -> Message:
        message = self.messages.get(id)
        if message is None:
            message = self.messages[id] = Message(id)
        return message

    def _take_run(self, _: int, event: Run) -> None:
        self.run = event

    def _take_phase(self, _: int, event: Phase) -> None:
        self.phases.setdefault(event.name, event.t)

    def _take_connect(self, at: int, event: Connect) -> None:
        session = self.sessions[event.c] = Session(at, event)
        self.sessions_of[event.user].append(session)

    def _take_live(self, at: int, event: Live) -> None:
        if (session := self.sessions.get(event.c)) is not None and session.live is None:
            session.live = (at, event)

    def _take_disconnect(self, at: int, event: Disconnect) -> None:
        if (session := self.sessions.get(event.c)) is not None:
            session.ended_at, session.ended = at, event

    def _take_invoke(self, at: int, event: Invoke) -> None:
        send = self.sends.get((event.user, event.ref))
        if send is None:
            send = Send(event.user, event.to, event.ref, event.digest)
            self.sends[(event.user, event.ref)] = send
        elif (send.to, send.digest) != (event.to, event.digest):
            self.reused_refs.append(at)
        attempt = Try(at, event, event.retry)
        send.tries.append(attempt)
        waiting = self._unanswered[(event.c, event.ref)]
        waiting.append(attempt)
        if not all(each.is_retry for each in waiting):
            for each in waiting:
                each.is_retry = False

    def _take_answer(self, at: int, event: Answer) -> None:
        waiting = self._unanswered.get((event.c, event.ref))
        if waiting:
            attempt = waiting.pop(0)
            attempt.answered_at, attempt.answer = at, event
        else:
            self.surplus.append((at, event, self.sends.get((event.user, event.ref))))

    def _take_ok(self, at: int, event: Ok) -> None:
        self._take_answer(at, event)
        message = self._message(event.id)
        message.oks.append((at, event))
        send = self.sends.get((event.user, event.ref))
        if send is not None:
            send.id = send.id or event.id
            message.send = message.send or send
            if message.send is not send:
                self.shared_ids.append((at, send, message))

    def _take_recv(self, at: int, event: Recv) -> None:
        self._message(event.id).recvs.append((at, event))
        if (session := self.sessions.get(event.c)) is not None:
            session.recvs.append((at, event))

    def _take_ack(self, at: int, event: Ack) -> None:
        for id in event.ids:
            self._message(id).acks.append((at, event))
        if (session := self.sessions.get(event.c)) is not None:
            session.acks.append((at, event))

    def _take_status(self, at: int, event: Status) -> None:
        for id in event.ids:
            self._message(id).statuses.append((at, event))

    def _take_nemesis(self, at: int, event: FaultEvent) -> None:
        if event.phase == "start":
            self.strikes.append(FaultSpan(at, event.name, event.detail, event.t))
            return
        open_strikes = [each for each in self.strikes if each.stop == inf]
        for strike in reversed(open_strikes):
            if strike.name == event.name:
                strike.stop = event.t
                return

    def _take_record(self, at: int, event: Record) -> None:
        self.records.append((at, event))
        if isinstance(event, MessageRecord):
            self._message(event.id).records.append((at, event))
        elif isinstance(event, ReceiptsRecord):
            for id in event.ids:
                self._message(id).receipts.append((at, event))

    def _match(self) -> None:
        """Find the send of each message that no ok names."""
        free: defaultdict[tuple[str, str, str], list[Send]] = defaultdict(list)
        for send in self.sends.values():
            if send.id is None:
                key = (send.user, conversation_of(send.user, send.to), send.digest)
                free[key].append(send)
        for sends in free.values():
            sends.sort(key=lambda each: not each.is_rejected)  # the last is taken first
        for message in self.messages.values():
            if message.send is None:
                keys = ((who, where, what) for _, who, where, what in message.contents())
                sends = next((each for key in keys if (each := free.get(key))), [])
                if sends:
                    message.send = sends.pop()
                    message.send.id = message.id
