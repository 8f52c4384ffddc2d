"""What log and store hold at the end of a run, written into its history."""

from contextlib import suppress
from typing import Any

import orjson

from landline.model import EventKind, Message
from landline.protocol.records import (
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptRecord,
    RoomRecord,
    decode_record,
)
from simulation.outgoing import digest_of
from simulation.world import World


def dump(world: World) -> None:
    """Write log and store into the history."""
    for partition, entries in world.log.entries.items():
        for entry in entries:
            world.note(
                "record",
                partition=partition,
                offset=entry.position.offset,
                appended_at=world.log.appended_at[entry.position],
                **_record(entry.value),
            )
    world.note("dump", what="log", complete=True)
    for message in world.store.messages.values():
        world.note(
            "row",
            table="messages",
            id=message.id,
            sender=message.sender,
            recipients=message.recipients,
            conversation=message.conversation,
            digest=_digest(message),
            partition=message.position.partition,
            offset=message.position.offset,
        )
    for id, recipient, status in sorted(world.store.statuses()):
        world.note("row", table="status", id=id, recipient=recipient, status=status)
    for partition, end in world.store.applied.items():
        world.note("row", table="applied", partition=partition, next=end)
    for position, bad in world.store.quarantine.items():
        world.note("row", table="quarantine", partition=position.partition,
                  offset=position.offset, reason=bad.reason)  # fmt: skip
    world.note("dump", what="store", complete=True)


def _digest(message: Message) -> str:
    if message.kind is EventKind.MESSAGE:
        return digest_of({"type": "message", "content": message.content})
    assert message.data is not None, "it says what has changed"
    return digest_of({"type": message.kind, **orjson.loads(message.data)})


def _record(value: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        record = decode_record(value)
        if isinstance(record, MessageRecord | RoomRecord | MemberRecord):
            return _event(record)
        if isinstance(record, ReceiptRecord):
            return {
                "record": "receipts",
                "receipts": [
                    (id, recipient) for recipient, _device, ids in record.entries for id in ids
                ],
                "conversation": record.conversation,
            }
        if isinstance(record, ReadRecord):
            return {
                "record": "reads",
                "conversation": record.conversation,
                "entries": record.entries,
            }
        if isinstance(record, DeviceRecord):
            return {
                "record": "device",
                "user": record.user,
                "device": record.device,
                "is_added": record.is_added,
            }
    return {"record": "foreign"}


def _event(record: MessageRecord | RoomRecord | MemberRecord) -> dict[str, Any]:
    """Return a record of what is in a conversation: a message, or a change of a room."""
    said: dict[str, Any]
    recipients: tuple[str, ...] = ()
    if isinstance(record, MessageRecord):
        said, recipients = {"type": "message", "content": record.content}, record.recipients
    elif isinstance(record, RoomRecord):
        said = {"type": "room", "title": record.title}
    else:
        said = {"type": "member", "user": record.user, "change": record.change, "role": record.role}
    members = record.members if isinstance(record, RoomRecord) else None
    return {
        "record": "event",
        "id": record.message_id,
        "ref": record.ref,
        "sender": record.sender,
        "recipients": recipients,
        "to": recipients[0] if recipients else record.conversation,
        "conversation": record.conversation,
        "digest": digest_of(said),
        "device": record.device,
        "what": said["type"],
        "change": said,
        "members": members,  # of a room that is made
        "history": record.history if isinstance(record, RoomRecord) else None,
    }
