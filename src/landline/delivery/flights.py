"""What is on its way into the log: messages, and batches of receipts."""

from dataclasses import dataclass, field

from landline.delivery.lineup import Place
from landline.model import Appended, Message, Position
from landline.protocol.records import MessageRecord


@dataclass(slots=True)
class Waiter:
    """A session that waits for the answer to its send, of so many bytes in the log."""

    session: str
    ref: str | None
    retry: bool
    size_bytes: int = 0


@dataclass(slots=True, eq=False)
class Flight:
    """A message between its send and its answer.

    `started_at`: when the send was taken. `appended`: the log has it, and the store has not said
    yet whether that is the position which counts.
    """

    record: MessageRecord
    size_bytes: int
    retry: bool
    started_at: float
    waiters: list[Waiter] = field(default_factory=list)
    appended: Appended | None = None
    place: Place | None = None  # among the messages of its conversation, while it is confirmed

    def message(self, position: Position, time_ms: int) -> Message:
        """Return the message, now that the log has given it a place."""
        record = self.record
        return Message(
            record.message_id,
            record.conversation,
            record.sender,
            record.recipients,
            record.content,
            position,
            time_ms,
        )


@dataclass(slots=True, eq=False)
class ReceiptBatch:
    """Receipts of one conversation and recipient in one record. `senders`: id -> sender."""

    conversation: str
    recipient: str
    senders: dict[str, str]
    delivered_at: str
