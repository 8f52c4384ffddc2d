"""Places in the log, how far somebody has come in it, and what the log answers to an append."""

from collections.abc import Mapping
from dataclasses import dataclass
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
