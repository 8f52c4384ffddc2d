"""The kinds of records, and how each is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from landline.model import History, MemberStep, Role

# A record lists this many receipts at the most, so that it stays far below the log's limits.
RECEIPTS_PER_RECORD = 1_000


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message as it stands in the log; its position and time come from the log itself.

    `recipients` of a message to a room are empty: the members at its offset. `device` is the
    sender's, None for a session without one and for what the product sends in somebody's name.
    `data` is a JSON object as text.
    """

    message_id: str
    ref: str | None
    conversation: str
    sender: str
    recipients: tuple[str, ...]
    content: str
    created_at: str
    device: str | None = None
    data: str | None = None

    def encode(self) -> bytes:
        """Return the record's value in version 1, which has no device and no data."""
        return _compact(
            {
                "v": 1,
                "status": "UNDELIVERED",
                "message_id": self.message_id,
                "ref": self.ref,
                "conversation": self.conversation,
                "sender": self.sender,
                "recipients": self.recipients,
                "content": self.content,
                "created_at": self.created_at,
            }
        )

    def encode_2(self) -> bytes:
        """Return the record's value in version 2."""
        return _version_2(
            "message",
            {
                "status": "UNDELIVERED",
                "message_id": self.message_id,
                "ref": self.ref,
                "conversation": self.conversation,
                "sender": self.sender,
                "device": self.device,
                "recipients": self.recipients,
                "content": self.content,
                "data": None if self.data is None else orjson.Fragment(self.data),
                "created_at": self.created_at,
            },
        )


class ReceiptEntry(NamedTuple):
    """What one mailbox has acknowledged: `device` None is that of sessions without a device."""

    recipient: str
    device: str | None
    message_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """Receipts of one conversation. Version 1 has them of one recipient."""

    conversation: str
    entries: tuple[ReceiptEntry, ...]
    delivered_at: str

    def encode(self) -> bytes:
        """Return the record's value in version 1, which has no device."""
        [(recipient, _device, message_ids)] = self.entries
        return _compact(
            {
                "v": 1,
                "status": "DELIVERED",
                "message_ids": message_ids,
                "conversation": self.conversation,
                "recipient": recipient,
                "delivered_at": self.delivered_at,
            }
        )

    def encode_2(self) -> bytes:
        """Return the record's value in version 2."""
        return _version_2(
            "receipt",
            {
                "status": "DELIVERED",
                "conversation": self.conversation,
                "entries": [tuple(each) for each in self.entries],  # orjson takes no subclasses
                "delivered_at": self.delivered_at,
            },
        )


@dataclass(frozen=True, slots=True)
class RoomRecord:
    """A room is made (`members` with the creator first, and `history`), or its title changes."""

    message_id: str
    ref: str | None
    conversation: str
    sender: str
    device: str | None
    title: str | None
    history: History | None
    members: tuple[str, ...] | None
    created_at: str

    def encode_2(self) -> bytes:
        """Return the record's value in version 2."""
        return _version_2("room", _fields_of(self))


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """Somebody is added to a room, removed, or has another role from now on."""

    message_id: str
    ref: str | None
    conversation: str
    sender: str
    device: str | None
    user: str
    change: MemberStep
    role: Role
    created_at: str

    def encode_2(self) -> bytes:
        """Return the record's value in version 2."""
        return _version_2("member", _fields_of(self))


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """How far users have seen a conversation: `entries` of user and offset."""

    conversation: str
    entries: tuple[tuple[str, int], ...]

    def encode_2(self) -> bytes:
        """Return the record's value in version 2."""
        return _version_2("read", _fields_of(self))


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device begins or ends, in the partition in which this record stands."""

    user: str
    device: str
    is_added: bool

    def encode_2(self) -> bytes:
        """Return the record's value in version 2."""
        change = "add" if self.is_added else "remove"
        return _version_2("device", {"user": self.user, "device": self.device, "change": change})


Record = MessageRecord | ReceiptRecord | RoomRecord | MemberRecord | ReadRecord | DeviceRecord


def _fields_of(record: RoomRecord | MemberRecord | ReadRecord) -> Mapping[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def _version_2(kind: str, fields: Mapping[str, Any]) -> bytes:
    return _compact({"v": 2, "kind": kind, **fields})


def _compact(record: Mapping[str, Any]) -> bytes:
    """Return the record as JSON that takes no more room than its length.

    What `orjson.dumps` returns keeps the buffer that it was written into: 127 KiB for a record
    of 16 KiB (measured with tracemalloc, orjson 3.13). Records wait in queues, so they are copied.
    """
    return bytes(memoryview(orjson.dumps(record)))
