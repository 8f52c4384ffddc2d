"""What records say, as events of a conversation and as changes of who is in it."""

import orjson

from landline.model import (
    Change,
    EventKind,
    MemberChange,
    Message,
    Position,
    RoomChange,
)
from landline.protocol.records import MemberRecord, MessageRecord, RoomRecord

EventRecord = MessageRecord | RoomRecord | MemberRecord


def event_of(record: EventRecord, position: Position, time_ms: int) -> Message:
    """Return the event that a record is, at its place in the log."""
    if isinstance(record, MessageRecord):
        return Message(
            record.message_id,
            record.conversation,
            record.sender,
            record.recipients,
            record.content,
            position,
            time_ms,
            data=record.data,
            device=record.device,
        )
    if isinstance(record, RoomRecord):
        kind, details = EventKind.ROOM, {"title": record.title}
    else:
        kind = EventKind.MEMBER
        details = {"user": record.user, "change": record.change, "role": record.role}
    return Message(
        record.message_id,
        record.conversation,
        record.sender,
        (),
        "",
        position,
        time_ms,
        kind,
        orjson.dumps(details).decode(),
        record.device,
    )


def changed_user(event: Message) -> str:
    """Return whom a MEMBER event is about."""
    assert event.data is not None, "it says whom"
    return str(orjson.loads(event.data)["user"])


def change_of(record: RoomRecord | MemberRecord) -> Change:
    """Return what a record changes."""
    if isinstance(record, RoomRecord):
        return RoomChange(record.conversation, record.title, record.history, record.members)
    return MemberChange(record.conversation, record.user, record.change, record.role)
