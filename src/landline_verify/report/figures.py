"""A history in numbers: counts, rates, latencies."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from landline_verify.history.events import (
    FLOOD_PREFIX,
    Connect,
    Disconnect,
    Event,
    FaultEvent,
    Invoke,
    Listed,
    Live,
    Mark,
    MessageRecord,
    MessageRow,
    Ok,
    Paged,
    Phase,
    Recv,
    Rejected,
    Run,
    Sample,
    Status,
    Unknown,
)

# The picture of a run has so many columns, or fewer in a short run.
_COLUMNS = 120


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A fault, or a phase of the run, on the time axis."""

    name: str
    start: float
    stop: float
    detail: str = ""


@dataclass(slots=True)
class Bin:
    """A column of the picture: what happened in a short time."""

    sent: int = 0
    accepted: int = 0
    received: int = 0
    dropped: int = 0
    accepted_after: list[float] = field(default_factory=list)
    received_after: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Figures:
    """The numbers of a report. Latencies are in seconds, of the load only."""

    run: Run | None = None
    servers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    durability: set[str] = field(default_factory=set)
    users: dict[str, int] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=Counter)
    accepted_after: list[float] = field(default_factory=list)
    received_after: list[float] = field(default_factory=list)
    flooded_after: list[float] = field(default_factory=list)  # answers beside a flood
    phases: list[TimeSpan] = field(default_factory=list)
    faults: list[TimeSpan] = field(default_factory=list)
    bins: list[Bin] = field(default_factory=list)
    bin_seconds: float = 1.0
    seconds: float = 0.0
    stalled_seconds: float = 0.0

    @property
    def load_seconds(self) -> float:
        """How long the load lasted."""
        return next((each.stop - each.start for each in self.phases if each.name == "load"), 0.0)

    @property
    def rate(self) -> float:
        """New messages a second while there was load."""
        return self.counts["sent under load"] / self.load_seconds if self.load_seconds else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of them does not exceed (nearest rank); 0 of none."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)] if values else 0.0


def figures(history: Sequence[Event]) -> Figures:
    """Count a history."""
    return _Counting(history).result


def _clients_stopped(history: Sequence[Event]) -> float:
    """Return when the clients stopped: what follows is the reading of log and store."""
    end = (event.t for event in history if isinstance(event, Phase) and event.name == "end")
    return next(end, history[-1].t if history else 0.0)


class _Counting:
    """One pass over the events."""

    def __init__(self, history: Sequence[Event]) -> None:
        self.result = result = Figures()
        self._sent: dict[tuple[str, str], float] = {}  # when each send was first tried
        self._sent_id: dict[str, float] = {}
        self._early: dict[str, list[float]] = defaultdict(list)  # received before its `accepted`
        self._users: set[str] = set()
        self._devices: set[tuple[str, str]] = set()
        self._answered: set[tuple[str, str]] = set()
        self._received: set[tuple[str, str]] = set()
        self._directory_failures: dict[str, float] = {}
        self._bins: dict[int, Bin] = defaultdict(Bin)
        result.seconds = _clients_stopped(history)
        result.bin_seconds = max(0.25, result.seconds / _COLUMNS)
        self._take_spans(history)
        self._floods = [each for each in result.faults if each.name.startswith(FLOOD_PREFIX)]
        self._load_ends = max((e.stop for e in result.phases if e.name == "load"), default=0.0)
        for event in history:
            self._take(event)
        last = int(result.seconds / result.bin_seconds)
        result.bins = [self._bins[number] for number in range(last + 1)]

    def _take_spans(self, history: Sequence[Event]) -> None:
        phases = [event for event in history if isinstance(event, Phase)]
        ends = [*(phase.t for phase in phases[1:]), self.result.seconds]
        self.result.phases = [
            TimeSpan(phase.name, phase.t, end)
            for phase, end in zip(phases, ends, strict=True)
            if phase.name != "end"
        ]
        begun: dict[str, list[FaultEvent]] = defaultdict(list)
        for event in history:
            if isinstance(event, FaultEvent) and event.phase == "start":
                begun[event.name].append(event)
            elif isinstance(event, FaultEvent) and begun[event.name]:
                start = begun[event.name].pop()
                self.result.faults.append(TimeSpan(event.name, start.t, event.t, start.detail))
        for starts in begun.values():
            for start in starts:
                self.result.faults.append(
                    TimeSpan(start.name, start.t, self.result.seconds, start.detail)
                )
        self.result.faults.sort(key=lambda span: span.start)

    def _bin(self, t: float) -> Bin:
        return self._bins[int(t / self.result.bin_seconds)]

    def _take(self, event: Event) -> None:
        counts = self.result.counts
        match event:
            case Run():
                self.result.run = event
            case Connect():
                self._take_connect(event)
            case Live(replayed=replayed):
                counts["live"] += 1
                counts["sessions with replay"] += replayed > 0
            case Disconnect(by=by, code=code, t=t):
                counts[
                    f"ended by the {by}" + (f" ({code})" if code and by == "server" else "")
                ] += 1
                self._bin(t).dropped += by != "client"
            case Invoke():
                self._take_invoke(event)
            case Ok():
                self._take_ok(event)
            case Rejected() | Unknown():
                self._take_failure(event)
            case Recv():
                self._take_recv(event)
            case Status() | Mark() | Paged() | Listed():
                name = "receipts" if isinstance(event, Status) else event.kind
                counts[name] += len(event.ids) if isinstance(event, Status) else 1
            case Sample():
                self._take_sample(event)
            case MessageRecord() | MessageRow():
                counts["records" if isinstance(event, MessageRecord) else "rows"] += 1
            case _:
                pass

    def _take_connect(self, event: Connect) -> None:
        if event.user not in self._users:
            self._users.add(event.user)
            is_new = event.behaviour == "final"
            self.result.users["absent" if is_new else event.behaviour] += 1
        self.result.counts["connections"] += 1
        if event.device is not None and (event.user, event.device) not in self._devices:
            self._devices.add((event.user, event.device))
            self.result.counts["devices"] += 1
        self.result.servers[event.url].add(event.server)
        self.result.durability.add(event.durability)

    def _take_invoke(self, event: Invoke) -> None:
        counts, key = self.result.counts, (event.user, event.ref)
        if key in self._sent:
            counts["repeats"] += 1
            return
        self._sent[key] = event.t
        counts["sent"] += 1
        if event.what != "send" or event.to.startswith("room:"):
            counts[f"rooms: {event.what}"] += 1
        counts["sent under load"] += event.t <= self._load_ends
        self._bin(event.t).sent += 1

    def _take_sample(self, sample: Sample) -> None:
        counts, what, value = self.result.counts, sample.what, sample.value
        if what == "stall":
            counts["stalls"] += 1
            self.result.stalled_seconds += value
        elif what.startswith("directory_failures:"):
            before = self._directory_failures.get(what, value)
            counts["directory failures"] += max(0, int(value - before))
            self._directory_failures[what] = value

    def _take_failure(self, event: Rejected | Unknown) -> None:
        self.result.counts[event.kind] += 1
        if isinstance(event, Rejected):
            self.result.counts[f"rejected: {event.code}"] += 1

    def _take_ok(self, event: Ok) -> None:
        key = (event.user, event.ref)
        if key in self._answered or key not in self._sent:
            return
        self._answered.add(key)
        sent = self._sent_id[event.id] = self._sent[key]
        column = self._bin(event.t)
        column.accepted += 1
        self.result.counts["accepted"] += 1
        if event.t <= self._load_ends:
            column.accepted_after.append(event.t - sent)
            self.result.accepted_after.append(event.t - sent)
        if any(each.start <= sent <= each.stop for each in self._floods):
            self.result.flooded_after.append(event.t - sent)
        for at in self._early.pop(event.id, ()):
            self._note_latency(at, sent)

    def _take_recv(self, event: Recv) -> None:
        counts = self.result.counts
        counts["pushed"] += 1
        counts["replayed"] += event.replay
        self._bin(event.t).received += 1
        if (event.user, event.id) in self._received:
            counts["pushed again"] += 1
            return
        self._received.add((event.user, event.id))
        counts["received"] += 1
        if event.replay or event.t > self._load_ends:
            return
        if event.id in self._sent_id:
            self._note_latency(event.t, self._sent_id[event.id])
        else:
            self._early[event.id].append(event.t)

    def _note_latency(self, at: float, sent: float) -> None:
        self._bin(at).received_after.append(at - sent)
        self.result.received_after.append(at - sent)
