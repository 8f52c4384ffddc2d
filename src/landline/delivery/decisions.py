"""What the heart wants done. The edge carries decisions out in order and feeds results back in."""

from dataclasses import dataclass

from landline.delivery.flights import Flight, ReceiptBatch
from landline.model import Mailbox, Message, PendingQuery, Position, Positions
from landline.protocol.codes import CloseCode
from landline.protocol.hints import StatusHint
from landline.protocol.records import ReadRecord


@dataclass(slots=True)
class Transmit:
    """Write this frame to the session's connection."""

    session: str
    frame: bytes


@dataclass(slots=True)
class Welcome(Transmit):
    """The first frame of a session that has waited for it."""


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
    """Enter the session in the directory: `Delivery.entered`."""

    session: str
    user: str


@dataclass(slots=True)
class Recognise:
    """Find out which mailbox the session uses, and whether its device is new:
    `Delivery.recognised`.
    """

    session: str
    mailbox: Mailbox


@dataclass(slots=True)
class OpenDevice:
    """Append the record of the session's device to these partitions, and wait for the log:
    `Delivery.opened`, once for what came soon and again for what came late.

    `with_nameless`: before it that of the device with the empty name.
    """

    session: str
    mailbox: Mailbox
    partitions: frozenset[int]
    with_nameless: bool = False


@dataclass(slots=True)
class ReadEnds:
    """Read the log's ends: `Delivery.registered`."""

    session: str


@dataclass(slots=True)
class Unregister:
    """Take the session out of the directory."""

    session: str
    user: str


@dataclass(slots=True)
class AppendMessage:
    """Append a message to the log, keyed by its conversation: `Delivery.message_appended`."""

    flight: Flight
    value: bytes


@dataclass(slots=True)
class AppendReceipts:
    """Append receipts to the log, keyed by their conversation: `Delivery.receipts_appended`."""

    batch: ReceiptBatch
    value: bytes


@dataclass(slots=True)
class AppendReads:
    """Append marks to the log, keyed by their conversation: `Delivery.reads_appended`."""

    record: ReadRecord
    value: bytes


@dataclass(slots=True)
class PushToRoom:
    """Find out who is in the room of a message: `Delivery.push_to_room`, in the order of the
    room's log. `users`: who of them is here, as the server says that has sent a hint of it; None:
    it was accepted here.
    """

    message: Message
    users: frozenset[str] | None = None


@dataclass(slots=True)
class NoteChange:
    """Who is in a room has changed, at this offset of its log. To be carried out at once, here and
    on all servers, whenever the event itself is pushed.
    """

    room: str
    offset: int


@dataclass(slots=True)
class TellRoom:
    """Find out who is in a room, to tell them of these marks: `Delivery.tell_read`."""

    record: ReadRecord


@dataclass(slots=True)
class FindOriginal:
    """Look for the original of a repeat in the store, once that has applied what the partition of
    its conversation holds now: `Delivery.original_found`, or `original_unknown`.
    """

    flight: Flight


@dataclass(slots=True)
class ConfirmPosition:
    """Ask the store which position of a message counts, once it has applied this one:
    `Delivery.position_confirmed`, or `position_unknown`.

    `is_urgent`: others are pushed behind it, so that no answer soon is an answer too.
    """

    flight: Flight
    position: Position
    is_urgent: bool


@dataclass(slots=True)
class ReadPending:
    """Read a page of what the session's mailbox is owed: `Delivery.page` with the same query.

    `is_sweep`: where there is no answer, none is needed, for the next sweep asks again.
    """

    session: str
    query: PendingQuery
    is_sweep: bool = False


@dataclass(slots=True)
class AwaitApplied:
    """Wait until the store has reached `target`: `Delivery.applied`."""

    session: str
    target: Positions


@dataclass(slots=True)
class RouteMessage:
    """Tell other servers that have sessions of these users."""

    message: Message
    users: tuple[str, ...]


@dataclass(slots=True)
class RouteRead:
    """Tell other servers that have sessions of these users how far others have seen."""

    record: ReadRecord
    users: tuple[str, ...]


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
    | Recognise
    | OpenDevice
    | ReadEnds
    | Unregister
    | AppendMessage
    | AppendReceipts
    | AppendReads
    | PushToRoom
    | NoteChange
    | TellRoom
    | FindOriginal
    | ConfirmPosition
    | ReadPending
    | AwaitApplied
    | RouteMessage
    | RouteRead
    | RouteStatus
)
