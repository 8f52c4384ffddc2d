"""What the heart wants done. The edge carries decisions out in order and feeds results back in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landline.model import Message, PendingQuery, Positions
from landline.protocol.codes import CloseCode
from landline.protocol.hints import StatusHint

if TYPE_CHECKING:
    from landline.delivery.receipts import ReceiptBatch
    from landline.delivery.sends import Flight


@dataclass(slots=True)
class Transmit:
    """Write this frame to the session's connection."""

    session: str
    frame: bytes


@dataclass(slots=True)
class Close:
    """Close the session's connection. The heart has forgotten the session already."""

    session: str
    code: CloseCode
    reason: str


@dataclass(slots=True)
class PauseReading:
    """Stop reading from the connection: it has as many sends in flight as one may have."""

    session: str


@dataclass(slots=True)
class ResumeReading:
    """Read from the connection again."""

    session: str


@dataclass(slots=True)
class Register:
    """Enter the session in the directory, *then* read the log's ends: `Delivery.registered`."""

    session: str
    user: str


@dataclass(slots=True)
class Unregister:
    """Take the session out of the directory."""

    session: str
    user: str


@dataclass(slots=True)
class Append:
    """Append to the log: `Delivery.appended` with the same token."""

    token: "Flight | ReceiptBatch"
    key: str
    value: bytes


@dataclass(slots=True)
class Find:
    """Look the message up in the store once that has reached `target`: `Delivery.found`.

    `target` None: what the partition of its conversation holds now. `is_urgent`: others are pushed
    behind it, so that no answer soon is an answer too.
    """

    token: "Flight"
    target: Positions | None
    is_urgent: bool


@dataclass(slots=True)
class ReadPending:
    """Read a page of what the session's mailbox is owed: `Delivery.page`."""

    session: str
    query: PendingQuery


@dataclass(slots=True)
class AwaitApplied:
    """Wait until the store has reached `target`: `Delivery.applied`."""

    session: str
    target: Positions


@dataclass(slots=True)
class RouteMessage:
    """Tell other servers that have sessions of the recipients."""

    message: Message


@dataclass(slots=True)
class RouteStatus:
    """Tell other servers that have sessions of the sender."""

    hint: StatusHint


Decision = (
    Transmit
    | Close
    | PauseReading
    | ResumeReading
    | Register
    | Unregister
    | Append
    | Find
    | ReadPending
    | AwaitApplied
    | RouteMessage
    | RouteStatus
)
