"""Records of the log, as they stand in a history."""

from typing import Any, Final

import orjson

from landline_verify.history.events import (
    DeviceRecord,
    Event,
    ForeignRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptsRecord,
    RoomRecord,
)
from landline_verify.history.recorder import digest, digest_of_member, digest_of_title

# Version 1 tells its records by their status, version 2 by their kind.
_KINDS_1: Final = {"UNDELIVERED": "message", "DELIVERED": "receipt"}


def described(value: bytes, now: float, partition: int, offset: int, prefix: str) -> Event:
    """Return the event of a log record; of a record that is not the run's, only its place."""
    at = (now, partition, offset)
    try:
        record = orjson.loads(value)
        kind = record["kind"] if record["v"] == 2 else _KINDS_1[record["status"]]
        return _READ[kind](record, at, prefix) or ForeignRecord(*at)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ForeignRecord(*at, garbage=True)


def _message(record: Any, at: tuple[float, int, int], prefix: str) -> Event | None:
    message = MessageRecord(
        *at, record["message_id"], record["sender"], tuple(record["recipients"]),
        record["conversation"], digest(record["content"]), record.get("device"),
    )  # fmt: skip
    return message if message.sender.startswith(prefix) else None


def _receipts(record: Any, at: tuple[float, int, int], prefix: str) -> Event | None:
    if record["v"] == 2:
        given = [(user, device, tuple(ids)) for user, device, ids in record["entries"]]
    else:
        given = [(record["recipient"], None, tuple(record["message_ids"]))]
    entries = tuple(each for each in given if each[0].startswith(prefix))
    return ReceiptsRecord(*at, entries, record["conversation"]) if entries else None


def _device(record: Any, at: tuple[float, int, int], prefix: str) -> Event | None:
    device = DeviceRecord(*at, record["user"], record["device"], record["change"])
    return device if device.user.startswith(prefix) else None


def _room(record: Any, at: tuple[float, int, int], prefix: str) -> Event | None:
    room = RoomRecord(
        *at, record["message_id"], record["sender"], record["conversation"],
        digest_of_title(record["title"]), record["device"], tuple(record["members"] or ()),
        record["history"],
    )  # fmt: skip
    return room if room.sender.startswith(prefix) else None


def _member(record: Any, at: tuple[float, int, int], prefix: str) -> Event | None:
    user, change, role = record["user"], record["change"], record["role"]
    member = MemberRecord(
        *at, record["message_id"], record["sender"], record["conversation"],
        digest_of_member(user, change, role), record["device"], user, change, role,
    )  # fmt: skip
    return member if member.sender.startswith(prefix) else None


def _read(record: Any, at: tuple[float, int, int], prefix: str) -> Event | None:
    entries = tuple((user, seen) for user, seen in record["entries"] if user.startswith(prefix))
    return ReadRecord(*at, record["conversation"], entries) if entries else None


def digest_of_row(kind: str, content: str, data: str | None) -> str:
    """Return what stands for an event as the store has it."""
    if kind == "message":
        return digest(content)
    said = orjson.loads(data or "{}")
    if kind == "room":
        return digest_of_title(said.get("title"))
    return digest_of_member(*(str(said.get(name)) for name in ("user", "change", "role")))


_READ: Final = {
    "message": _message,
    "receipt": _receipts,
    "device": _device,
    "room": _room,
    "member": _member,
    "read": _read,
}
