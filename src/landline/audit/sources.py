"""What an audit reads: the log as it is, and the store in one snapshot."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from landline.model import Entry, Position, Positions

# How the stores name the device of a default mailbox. No device can be called so.
DEFAULT_MAILBOX: Final = "*"


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
    kind: str = "message"
    data: str | None = None


class StoredConversation(NamedTuple):
    """A row of `conversations`. `id` is the store's own number."""

    id: int
    name: str
    kind: str
    history: str | None
    title: str | None
    last_offset: int
    last_time_ms: int


class StoredMember(NamedTuple):
    """A row of `members`. `number` tells who of those that joined together comes first."""

    conversation_id: int
    user: str
    role: str
    joined_offset: int
    number: int
    read_offset: int


class StoredFormerMember(NamedTuple):
    """A row of `former_members`."""

    conversation_id: int
    user: str
    joined_offset: int
    left_offset: int


class StoredDevice(NamedTuple):
    """A row of `devices`. `since`: for each partition in which it is open, the offset at which it
    began. `device` of a default mailbox is `DEFAULT_MAILBOX`.
    """

    mailbox_id: int
    user: str
    device: str
    since: Mapping[int, int]


class StoredPending(NamedTuple):
    """A row of `pending`: `mailbox_id` is owed what stands at `position`."""

    mailbox_id: int
    position: Position
    conversation_id: int
    is_received: bool


class StoredQuarantine(NamedTuple):
    """A row of `quarantine`, without its bytes."""

    position: Position
    reason: str


class StoredEndedUser(NamedTuple):
    """What a row of `ended_users` says of a partition: below this position their default mailbox is
    owed nothing any more.
    """

    user: str
    before: Position


StoredRow = (
    StoredMessage
    | StoredConversation
    | StoredMember
    | StoredFormerMember
    | StoredDevice
    | StoredPending
    | StoredQuarantine
    | StoredEndedUser
)


class AuditLog(Protocol):
    """The log. Raises everywhere: LogUnavailable, LogLost."""

    async def spans(self) -> Mapping[int, OffsetRange]:
        """Return what it holds, of every partition."""

    def entries(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Entry]]:
        """Yield all entries from `start` to `end`, those of a partition in their order, in windows
        of bounded size. Both name the same partitions, and lie within the spans.
        """


class AuditStore(Protocol):
    """One snapshot of the store: all that is asked is of the same moment.

    Raises everywhere: StartupError.
    """

    async def applied(self) -> Positions:
        """Return how far each partition has been applied."""

    async def purged(self) -> Positions:
        """Return, for each partition, the offset below which messages that were received may have
        been deleted.
        """

    def rows(self) -> AsyncIterator[Sequence[StoredRow]]:
        """Yield every row of every table, in any order, in pages of a bounded number of rows."""
