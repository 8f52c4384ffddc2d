"""What a history says of one send, and of one message."""

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from landline_verify.checker.fold import conversation_of, is_room
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import (
    Ack,
    Answer,
    Invoke,
    MessageRow,
    Ok,
    PendingRow,
    ReceiptsRecord,
    Recv,
    Rejected,
    Said,
    Status,
    StatusRow,
)


@dataclass(slots=True)
class Try:
    """One time that a send was asked for, and its answer.

    Where several tries wait in one session, nobody knows which of them an answer is for.
    `is_retry`: all tries that the answer may be for had `retry: true`.
    """

    at: int
    invoke: Invoke
    is_retry: bool
    answered_at: int | None = None
    answer: Answer | None = None


@dataclass(slots=True)
class Send:
    """A message, or another request for the log, that a user wants accepted, under one ref.

    `room`: what a `create` has made, once it is known.
    """

    user: str
    to: str
    ref: str
    digest: str
    what: str = "send"
    people: tuple[str, ...] = ()
    room: str = ""
    tries: list[Try] = field(default_factory=list)
    id: str | None = None

    @property
    def at(self) -> int:
        """When it was first tried."""
        return self.tries[0].at

    @property
    def is_direct(self) -> bool:
        """Say whether it is for one user."""
        return self.what == "send" and not is_room(self.to)

    @property
    def conversation(self) -> str:
        """The conversation that it belongs to; empty while that is to be made."""
        return self.room if self.what == "create" else conversation_of(self.user, self.to)

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
    records: list[tuple[int, Said]] = field(default_factory=list)
    receipts: list[tuple[int, ReceiptsRecord]] = field(default_factory=list)
    rows: list[tuple[int, MessageRow]] = field(default_factory=list)
    status_rows: list[tuple[int, StatusRow]] = field(default_factory=list)
    pending_rows: list[tuple[int, PendingRow]] = field(default_factory=list)
    # Where it stands in a page: index, offset, digest.
    paged: list[tuple[int, int, str]] = field(default_factory=list)

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
            return self.send.conversation
        return next((conversation for _, _, conversation, _ in self.contents()), "")

    @property
    def position(self) -> int | None:
        """Its offset: that of its first record, otherwise the one that is named most often."""
        if self.records:
            return min((each.partition, each.offset) for _, each in self.records)[1]
        claims = Counter(each.offset for _, each in self.recvs)
        claims.update(each.offset for _, each in self.rows)
        if not claims:
            claims.update(offset for _, offset, _ in self.paged)
        if not claims:
            claims.update(ok.offset for _, ok in self.oks)
        return max(claims, key=lambda offset: (claims[offset], -offset), default=None)

    @property
    def is_confirmed(self) -> bool:
        """Say whether anything but an ok says where it stands."""
        return bool(self.records or self.recvs or self.rows)

    def received_by(self, user: str, through: Container[str] | None = None) -> int | None:
        """Return when a user first received it; `through` these sessions, if they are given."""
        for at, recv in self.recvs:
            if recv.user == user and (through is None or recv.c in through):
                return at
        return None

    def acknowledged_by(self, user: str, through: Container[str] | None = None) -> int | None:
        """Return when a user first acknowledged it in a session that it had been pushed in."""
        for at, ack in self.acks:
            if (
                ack.user == user
                and (through is None or ack.c in through)
                and any(r < at and recv.c == ack.c for r, recv in self.recvs)
            ):
                return at
        return None

    def violates(self, invariant: str, sentence: str, *events: int) -> Violation:
        """Return a violation that names this message."""
        sender = None if self.send is None else self.send.user
        ref = None if self.send is None else self.send.ref
        return Violation(invariant, sentence, tuple(sorted(events)), self.id, sender, ref)
