"""Records of the log, as they stand in a history."""

from typing import Any, Final

import orjson

from landline_verify.history.events import (
    DeviceRecord,
    Event,
    ForeignRecord,
    MessageRecord,
    ReceiptsRecord,
)
from landline_verify.history.recorder import digest

# Version 1 tells its records by their status, version 2 by their kind.
_KINDS_1: Final = {"UNDELIVERED": "message", "DELIVERED": "receipt"}
# What no user of a run makes so far, but others may.
_OTHERS: Final = frozenset({"room", "member", "read"})


def described(value: bytes, now: float, partition: int, offset: int, prefix: str) -> Event:
    """Return the event of a log record; of a record that is not the run's, only its place."""
    at = (now, partition, offset)
    try:
        record = orjson.loads(value)
        kind = record["kind"] if record["v"] == 2 else _KINDS_1[record["status"]]
        if kind in _OTHERS:
            return ForeignRecord(*at)
        return _READ[kind](record, at, prefix) or ForeignRecord(*at)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ForeignRecord(*at, garbage=True)


def _message(record: Any, at: tuple[float, int, int], prefix: str) -> Event | None:
    if record["conversation"].startswith("room:"):
        return None
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


_READ: Final = {"message": _message, "receipt": _receipts, "device": _device}
