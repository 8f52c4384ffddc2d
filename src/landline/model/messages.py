"""What is said in a conversation, who is told, and who has acknowledged it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from landline.model.positions import Position


class Mailbox(NamedTuple):
    """Where that waits which a user is owed.

    Each of a user's devices has one. `device` None is the default mailbox: all sessions without a
    device share it, and it gets nothing new in a partition while a device is open there.
    """

    user: str
    device: str | None = None


class EventKind(StrEnum):
    """What kind of event of a conversation it is. All are owed and acknowledged alike."""

    MESSAGE = "message"
    MEMBER = "member"  # somebody was added or removed, or has another role
    ROOM = "room"  # the room was made, or its title was changed


@dataclass(frozen=True, slots=True)
class Message:
    """An accepted message or another event of a conversation: its facts, and its place in the log.

    `time_ms` is the log's time in milliseconds since the Unix epoch, UTC. `conversation` is
    opaque outside `landline.protocol.identity`. `recipients` of a room are empty in the log: its
    members at this place. What comes out of a store has the user that was asked for.

    `data` is a JSON object as text: what the sender has attached; where the kind is MEMBER or
    ROOM, what has changed, and `content` is empty then. `device` is the sender's, which is not
    owed the message; the store does not keep it. `conversation_id` is the store's own number of
    the conversation, by which its conversations take turns; 0 where it came from elsewhere.
    `is_received`: another device of the user that was asked for has acknowledged it, or it is
    their own, so that an acknowledgement is no news for its sender.
    """

    id: str
    conversation: str
    sender: str
    recipients: tuple[str, ...]
    content: str
    position: Position
    time_ms: int
    kind: EventKind = EventKind.MESSAGE
    data: str | None = None
    device: str | None = field(default=None, compare=False)
    conversation_id: int = field(default=0, compare=False)
    is_received: bool = field(default=False, compare=False)


class Receipt(NamedTuple):
    """`mailbox` has acknowledged `message_id`, in a record at `offset` of the message's partition.

    It counts for a message below it and for no other.
    """

    message_id: str
    mailbox: Mailbox
    delivered_at: str
    offset: int
