"""The kinds of differences between log and store, and what can be named for certain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from landline.audit.sources import OffsetRange
from landline.model import OFFSET_BITS, Position, Positions


class Kind(StrEnum):
    """What kind of difference it is. The values are labels of a metric."""

    MESSAGE_MISSING = "message_missing"  # accepted, or owed, but not stored
    MESSAGE_CHANGED = "message_changed"  # stored with other facts
    MESSAGE_MOVED = "message_moved"  # stored at another position than that of its first record
    MESSAGE_UNKNOWN = "message_unknown"  # stored, but not in the log
    PENDING_MISSING = "pending_missing"  # owed and not received, but no row says so
    PENDING_CHANGED = "pending_changed"  # a row with other facts
    PENDING_UNKNOWN = "pending_unknown"  # a row without ground in the log
    RECEIPT_MISSING = "receipt_missing"  # in the log, but the row is as if it were not
    RECEIPT_UNKNOWN = "receipt_unknown"  # stored as received, without a receipt in the log
    RECEIPT_STRAY = "receipt_stray"  # of no message, or by a user who is not its recipient
    CONVERSATION_MISSING = "conversation_missing"
    CONVERSATION_CHANGED = "conversation_changed"
    CONVERSATION_UNKNOWN = "conversation_unknown"
    MEMBER_MISSING = "member_missing"  # current or former
    MEMBER_CHANGED = "member_changed"
    MEMBER_UNKNOWN = "member_unknown"
    DEVICE_MISSING = "device_missing"  # open by the log, but not stored as open
    DEVICE_CHANGED = "device_changed"
    DEVICE_UNKNOWN = "device_unknown"  # stored as open, but not open by the log
    QUARANTINED = "quarantined"  # a record that was not applied and is kept for a person
    UNREADABLE = "unreadable"  # a record that was passed over and is not in quarantine
    LOG_GAP = "log_gap"  # records are gone that were never applied
    LOG_WENT_BACK = "log_went_back"  # more was applied than the log holds


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; `text` names who and where, never a message's content."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far the log reaches back, and what is older than that.

    `base`: the offset at which the log's epoch starts. `begins`: from where on records were
    applied at their present positions. In the first epoch that is where the log starts. Later the
    records of the old partitions may be read again, at new positions, that were applied at others.
    `purged`: messages below may have been deleted from the store once they were received.
    """

    spans: Mapping[int, OffsetRange]
    base: int = 0
    purged: Positions = field(default_factory=dict)
    begins: Positions = field(default_factory=dict)

    def is_within(self, position: Position) -> bool:
        """Say whether the log reaches back to a position. Beyond its end it must not be either."""
        span = self.spans.get(position.partition)
        return span is not None and position.offset >= span.first

    def is_whole(self, partition: int) -> bool:
        """Say whether the log has everything that ever was in this partition."""
        span = self.spans.get(partition)
        return span is not None and span.first == 0 and self.base == 0

    @property
    def is_all(self) -> bool:
        """Say whether that is so of every partition."""
        return all(map(self.is_whole, self.spans))

    def begin(self, partition: int) -> int:
        """Return the offset below which the store is believed."""
        return self.begins.get(partition, self.base)

    @property
    def latest_begin(self) -> int:
        """Return the offset that lies within what the log holds, whichever the partition."""
        return max(map(self.begin, self.spans), default=0)

    def is_doubtful(self, position: Position) -> bool:
        """Say whether a record here, if its message is not stored, may be the repeat of one that
        was purged and is older than the log.
        """
        return not self.is_whole(position.partition) and any(self.purged.values())

    def may_be_purged(self, position: Position) -> bool:
        """Say whether a message of this position may have been deleted on purpose."""
        if position.offset < self.purged.get(position.partition, 0):
            return True
        # It was applied at a position of another epoch, and deleted by that.
        return position.offset < self.begin(position.partition) and any(self.purged.values())


def place(position: Position) -> str:
    """Return a position in words, as Kafka's tools show it."""
    epoch, offset = divmod(position.offset, 1 << OFFSET_BITS)
    suffix = f" of log epoch {epoch}" if epoch else ""
    return f"partition {position.partition} offset {offset}{suffix}"
