"""The nouns that every part shares: positions in the log, messages, receipts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Position(NamedTuple):
    """A place in the log. Within a partition, a higher offset was appended later."""

    partition: int
    offset: int


# For each partition the *next* offset: everything below it is meant. A partition that is not
# named counts as 0. Never changed in place: many sessions share one vector.
Positions = Mapping[int, int]

NOWHERE: Positions = {}


def covers(positions: Positions, target: Positions) -> bool:
    """Say whether `positions` has reached `target` in every partition."""
    return all(positions.get(partition, 0) >= offset for partition, offset in target.items())


def join(left: Positions, right: Positions) -> Positions:
    """Return the furthest of both vectors, partition by partition."""
    if not left or left is right:
        return right
    if not right:
        return left
    joined = dict(left)
    for partition, offset in right.items():
        if offset > joined.get(partition, 0):
            joined[partition] = offset
    return joined


# An offset is counted within one log. When another log takes its place, its offsets start again
# at 0; the epoch above them keeps every new position beyond all old ones.
OFFSET_BITS = 40


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """Which log positions belong to: a topic of a cluster, and how many logs were before it."""

    cluster_id: str
    topic_id: str
    partitions: int
    epoch: int = 0

    @property
    def base(self) -> int:
        """Return the offset at which every partition of this epoch starts."""
        return self.epoch << OFFSET_BITS


class Appended(NamedTuple):
    """The log's acknowledgement of one record.

    `time_ms` is the log's own time of the record, milliseconds since the Unix epoch, UTC.
    """

    position: Position
    time_ms: int


@dataclass(frozen=True, slots=True)
class NotAppended:
    """The log did not acknowledge a record.

    `certain`: the record is not in the log and never will be. Otherwise nobody knows: it may
    be there already or appear later, and the sender has to repeat it with the same id.
    """

    certain: bool
    reason: str


AppendResult = Appended | NotAppended


class Entry(NamedTuple):
    """One record of the log as it was read back."""

    position: Position
    time_ms: int
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was read of one partition: all its entries from `start` up to, not including, `end`.

    Offsets without an entry hold nothing of ours (a transaction's markers, say); `end` is past
    them, so that readers of the log get past them too.
    """

    partition: int
    start: int
    end: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """An accepted message: its facts, and the place in the log that orders it.

    `time_ms` is the log's time in milliseconds since the Unix epoch, UTC. `conversation` is
    opaque outside `landline.protocol.identity`.
    """

    id: str
    conversation: str
    sender: str
    recipients: tuple[str, ...]
    content: str
    position: Position
    time_ms: int


class Receipt(NamedTuple):
    """`recipient` has acknowledged `message_id`."""

    message_id: str
    recipient: str
    delivered_at: str


class Revocation(NamedTuple):
    """Every session of `user` that is open has to end.

    `revoked_at`: milliseconds since the Unix epoch, by the store's clock, and later than that of
    any revocation before it. So it says which of two is newer, whatever the clocks say.
    `until_ms`: no new session before this time, milliseconds since the Unix epoch; None: at once.
    """

    user: str
    revoked_at: int
    until_ms: int | None


class OpenSession(NamedTuple):
    """A session, with what is known of it where it was asked.

    `opened_ms` is milliseconds since the Unix epoch. It and `address` are known of a server's own
    sessions alone; `origin` is what a browser said, which others do not.
    """

    server: str
    session: str
    opened_ms: int | None = None
    address: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that can never be applied, with its bytes and the reason in words."""

    position: Position
    value: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What the entries of one stretch add up to. Applying it again changes nothing.

    Covers the offsets from `start` up to, not including, `end`. `messages` and `receipts` hold
    each key once: the first message, the earliest receipt.
    """

    partition: int
    start: int
    end: int
    messages: tuple[Message, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()


class Turn(NamedTuple):
    """Conversations of a mailbox take turns in this order; in another partition it is another."""

    conversation: str
    partition: int


FIRST_TURN = Turn("", -1)  # before all
# A conversation brings so many messages at the most when it is its turn.
MESSAGES_A_TURN = 4


def turns_of(limit: int) -> int:
    """Return how many conversations may have their turn in a page of `limit` messages."""
    return max(1, limit // 4)


def ahead_of(limit: int) -> int:
    """Return how many messages they bring with such a page at the most.

    That is half of it, so that the session's cursor moves on as well.
    """
    return max(2, limit // 2)


NO_CURSORS: Mapping[Turn, int] = {}


class PendingQuery(NamedTuple):
    """Ask for what `mailbox` is owed at or beyond `after`, at most `limit` messages.

    `turn`: None asks in the order of the log, which costs least. Otherwise partitions take turns
    in the answer; and so do conversations, from behind `turn` on, each with its oldest messages.
    `cursors`: of these conversations nothing below the offset is wanted in their turn.
    `limit_bytes`: no further message is begun when the contents before it come to this.
    """

    mailbox: str
    after: Positions
    limit: int
    turn: Turn | None = None
    limit_bytes: int = 1024 * 1024
    cursors: Mapping[Turn, int] = NO_CURSORS


@dataclass(frozen=True, slots=True)
class Pending:
    """Answer to one `PendingQuery`.

    `messages` are, of each partition, the first ones in the order of their offsets. `complete`
    says that they are all; otherwise they are all below `until`. `applied` was read in the same
    snapshot as the messages.

    `ahead`, when turns were asked for and not all was answered: messages of the conversations
    between the turn of the query and `turn`. Of each they are the `MESSAGES_A_TURN` oldest at or
    beyond `after` and its own cursor, in their order, those among `messages` too. All together
    they are at most `ahead_of(limit)`. `turn` is what to ask from next; the end is followed by the
    start. None: no conversation had a turn.

    `below`: conversations that had a turn and have something pending between `after` and their own
    cursor.
    """

    messages: tuple[Message, ...]
    complete: bool
    applied: Positions
    until: Positions = field(default_factory=dict)
    ahead: tuple[Message, ...] = ()
    turn: Turn | None = None
    below: frozenset[Turn] = frozenset()
