"""What is on its way into the log: messages, and batches of receipts."""

from dataclasses import dataclass, field
from typing import NamedTuple

from landline.delivery.lineup import Place
from landline.delivery.window import Acknowledged
from landline.model import Appended, Mailbox, Message, Position
from landline.protocol.codes import ErrorCode
from landline.protocol.events import EventRecord, event_of
from landline.protocol.records import RoomRecord

# What may be on its way to the log at once. The log bounds itself too; this bound is ours.
FLIGHTS = 32_768
FLIGHT_BYTES = 32 * 1024 * 1024


class Held(NamedTuple):
    """A send that waits until it is known whether it may be appended, and since when."""

    message_id: str
    since: float


class Bar(NamedTuple):
    """Why a message must not be appended, though nothing is wrong with it. `is_looked_for`: unless
    it is there already, repeat or not.
    """

    code: ErrorCode
    reason: str
    is_looked_for: bool = False


@dataclass(slots=True)
class Waiter:
    """A sender that waits for the answer to its send, of so many bytes in the log."""

    sender: str
    ref: str | None
    retry: bool
    size_bytes: int = 0


@dataclass(slots=True, eq=False)
class Flight:
    """A message between its send and its answer.

    `started_at`: when the send was read. `appended`: the log has it, and the store has not said
    yet whether that is the position which counts. `bar`: why this repeat is looked for and not
    appended; None where it may be.
    """

    record: EventRecord
    size_bytes: int
    retry: bool
    started_at: float
    waiters: list[Waiter] = field(default_factory=list)
    appended: Appended | None = None
    place: Place | None = None  # among the messages of its conversation, while it is confirmed
    bar: Bar | None = None

    def message(self, position: Position, time_ms: int) -> Message:
        """Return the message, now that the log has given it a place."""
        return event_of(self.record, position, time_ms)


class Flights:
    """The messages of this server that are in flight, by their ids."""

    __slots__ = ("_bytes", "_flights", "_rooms")

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._rooms: dict[str, str] = {}  # that are being made, and by which message
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, message_id: str) -> Flight | None:
        """Return the flight of this message, if it is under way."""
        return self._flights.get(message_id)

    def is_full(self) -> bool:
        """Say whether another flight would exceed the bounds."""
        return len(self._flights) >= FLIGHTS or self._bytes >= FLIGHT_BYTES

    def makes(self, conversation: str) -> str | None:
        """Return the id of the message that is making this room."""
        return self._rooms.get(conversation)

    def start(self, flight: Flight) -> None:
        """Take in a flight."""
        record = flight.record
        self._flights[record.message_id] = flight
        if isinstance(record, RoomRecord) and record.members is not None:
            self._rooms.setdefault(record.conversation, record.message_id)
        self._bytes += flight.size_bytes

    def land(self, flight: Flight) -> None:
        """End a flight."""
        record = flight.record
        if self._flights.pop(record.message_id, None) is not None:
            self._bytes -= flight.size_bytes
            if self._rooms.get(record.conversation) == record.message_id:
                del self._rooms[record.conversation]


@dataclass(slots=True, eq=False)
class ReceiptBatch:
    """Receipts of one conversation in one record, by mailbox."""

    conversation: str
    entries: list[tuple[Mailbox, list[Acknowledged]]]
    delivered_at: str
