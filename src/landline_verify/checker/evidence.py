"""What a history says of each send, message, session and fault: what the checks ask.

Events are named by their index, which is also their place in time. A message is known by its id
once an `ok` has told it; before, and for ever where no answer came, the id is matched with a send
of the same sender, conversation and content.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from urllib.parse import urlsplit

from landline_verify.checker.excuses import FaultSpan, LostHints, Stalls
from landline_verify.checker.fold import Fold, fold
from landline_verify.checker.messages import Message, Send
from landline_verify.checker.sessions import Session
from landline_verify.history.events import (
    HANDSHAKE_SECONDS,
    Answer,
    AppliedRow,
    Ask,
    Event,
    Listed,
    Mark,
    Marked,
    MemberRow,
    Ok,
    Paged,
    PendingRow,
    QuarantineRow,
    Record,
    Run,
    Sample,
)


@dataclass
class Dumped:
    """The contents of log and store at the end; `is_complete` says for each if all was read.

    `groundless`: rows of `pending` for which the store has no message.
    """

    records: list[tuple[int, Record]] = field(default_factory=list)
    applied: list[tuple[int, AppliedRow]] = field(default_factory=list)
    quarantine: list[tuple[int, QuarantineRow]] = field(default_factory=list)
    groundless: list[tuple[int, PendingRow]] = field(default_factory=list)
    members: list[tuple[int, MemberRow]] = field(default_factory=list)
    is_complete: dict[str, bool] = field(default_factory=dict)

    @cached_property
    def fold(self) -> Fold:
        """What the log comes to."""
        return fold(record for _, record in self.records)


@dataclass
class Evidence:
    """What a history says. Read only, once `landline_verify.checker.reading` has made it.

    `surplus` are answers that no try waited for, with the send that they name; `shared_ids` oks
    with the id of another send's message.
    """

    events: Sequence[Event]
    run: Run | None = None
    phases: dict[str, float] = field(default_factory=dict)
    sends: dict[tuple[str, str], Send] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    sessions_of: dict[str, list[Session]] = field(default_factory=lambda: defaultdict(list))
    faults: list[FaultSpan] = field(default_factory=list)
    samples: dict[str, list[tuple[int, Sample]]] = field(default_factory=lambda: defaultdict(list))
    dumped: Dumped = field(default_factory=Dumped)
    surplus: list[tuple[int, Answer, Send | None]] = field(default_factory=list)
    reused_refs: list[int] = field(default_factory=list)
    shared_ids: list[tuple[int, Send, Message]] = field(default_factory=list)
    marks: list[tuple[int, Mark]] = field(default_factory=list)
    marked: list[tuple[int, Marked]] = field(default_factory=list)
    asks: dict[tuple[str, str], tuple[int, Ask]] = field(default_factory=dict)
    listed: list[tuple[int, Listed]] = field(default_factory=list)
    paged: list[tuple[int, Paged]] = field(default_factory=list)

    @property
    def has_log(self) -> bool:
        """Say whether the whole log was read."""
        return self.dumped.is_complete.get("log", False)

    @property
    def has_store(self) -> bool:
        """Say whether the whole store was read."""
        return self.dumped.is_complete.get("store", False)

    @cached_property
    def users(self) -> frozenset[str]:
        """Everybody who took part, or was written to."""
        named = {send.to for send in self.sends.values() if send.is_direct}
        named.update(user for send in self.sends.values() for user in send.people)
        return frozenset({*self.sessions_of, *named, *(send[0] for send in self.sends)})

    @cached_property
    def end(self) -> float:
        """When the clients stopped."""
        return self.phases.get("end", self.events[-1].t if self.events else 0.0)

    @cached_property
    def healed(self) -> float:
        """When the last fault was over, or the runner said so."""
        stops = (each.stop for each in self.faults if each.stop != inf)
        return max([self.phases.get("heal", self.phases.get("final", self.end)), *stops])

    @cached_property
    def accepted(self) -> list[tuple[Message, Send, int, Ok]]:
        """Every message with an ok and the send that it answers, with its first ok."""
        return [
            (message, message.send, *message.oks[0])
            for message in self.messages.values()
            if message.oks and message.send is not None
        ]

    @cached_property
    def stalls(self) -> Stalls:
        """When the clients stood still."""
        return Stalls(sample for _, sample in self.samples.get("stall", ()))

    @cached_property
    def _lost_hints(self) -> LostHints:
        return LostHints(self.samples)

    def lost_hints(self, c: str, start: float, end: float) -> bool:
        """Say whether the directory gave the server of a session no answer between two times."""
        server = urlsplit(self.sessions[c].connect.url).netloc
        return self._lost_hints.between(server, start, end)

    def is_live_at_last(self, user: str) -> bool:
        """Say whether a user was connected and live in the final phase."""
        final = self.phases.get("final")
        return final is not None and any(
            each.live is not None and each.ends > final for each in self.sessions_of.get(user, ())
        )

    def had_auto_session(self, user: str, since: int, until: int | None) -> bool:
        """Say whether a session of a user with `ack=auto` may have been open between two events;
        without the second, at any later time.
        """
        # A busy client reads `welcome` some time after the server began to push.
        latest = inf if until is None else self.events[until].t + HANDSHAKE_SECONDS
        return any(
            each.connect.ack == "auto"
            and each.connect.t < latest
            and (each.ended_at is None or each.ended_at > since)
            for each in self.sessions_of.get(user, ())
        )
