"""What log and store hold at the end of a run, written into its history."""

from contextlib import suppress
from typing import Any

from landline.protocol.records import DeviceRecord, MessageRecord, ReceiptRecord, decode_record
from simulation.clients import digest
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
            digest=digest(message.content),
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


def _record(value: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        record = decode_record(value)
        if isinstance(record, MessageRecord):
            return {
                "record": "message",
                "id": record.message_id,
                "sender": record.sender,
                "recipients": record.recipients,
                "conversation": record.conversation,
                "digest": digest(record.content),
                "device": record.device,
            }
        if isinstance(record, ReceiptRecord):
            return {
                "record": "receipts",
                "receipts": [
                    (id, recipient) for recipient, _device, ids in record.entries for id in ids
                ],
                "conversation": record.conversation,
            }
        if isinstance(record, DeviceRecord):
            return {
                "record": "device",
                "user": record.user,
                "device": record.device,
                "is_added": record.is_added,
            }
    return {"record": "foreign"}
