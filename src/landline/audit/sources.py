"""What an audit reads: the log as it is, and the store in one snapshot."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from landline.model import Entry, Position, Positions


class OffsetRange(NamedTuple):
    """What the log holds of a partition: from `first` up to, not including, `end`."""

    first: int
    end: int


class StoredMessage(NamedTuple):
    """A row of `messages`."""

    id: str
    conversation: str
    sender: str
    content: str
    position: Position
    time_ms: int


class StoredDelivery(NamedTuple):
    """A row of `deliveries`. `position` is None where only a receipt is known."""

    id: str
    recipient: str
    mailbox: str
    is_delivered: bool
    position: Position | None


class StoredQuarantine(NamedTuple):
    """A row of `quarantine`, without its bytes."""

    position: Position
    reason: str


class AuditLog(Protocol):
    """The log. Raises everywhere: LogUnavailable, LogLost."""

    async def spans(self) -> Mapping[int, OffsetRange]:
        """Return what it holds, of every partition."""

    def entries(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Entry]]:
        """Yield all entries from `start` to `end`, partition by partition in their order, in
        windows of bounded size. Both name the same partitions, and lie within the spans.
        """


class AuditStore(Protocol):
    """One snapshot of the store: all that is asked is of the same moment.

    Pages have a bounded number of rows. Raises everywhere: StartupError.
    """

    async def applied(self) -> Positions:
        """Return how far each partition has been applied."""

    def quarantined(self) -> AsyncIterator[Sequence[StoredQuarantine]]:
        """Yield what is in quarantine."""

    def messages(self) -> AsyncIterator[Sequence[StoredMessage]]:
        """Yield every message, in the order of the ids."""

    def deliveries(self) -> AsyncIterator[Sequence[StoredDelivery]]:
        """Yield every delivery, in the order of the messages' ids."""
