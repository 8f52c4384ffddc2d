"""Records of the log, as they stand in a history."""

from typing import Final

import orjson

from landline_verify.history.events import Event, ForeignRecord, MessageRecord, ReceiptsRecord
from landline_verify.history.recorder import digest

_STATUSES: Final = frozenset({"UNDELIVERED", "DELIVERED"})


def described(value: bytes, now: float, partition: int, offset: int, prefix: str) -> Event:
    """Return the event of a log record; of a record that is not the run's, only its place."""
    try:
        record = orjson.loads(value)
        conversation, status = record["conversation"], record["status"]
        if status == "UNDELIVERED":
            message = MessageRecord(
                now, partition, offset, record["message_id"], record["sender"],
                tuple(record["recipients"]), conversation, digest(record["content"]),
            )  # fmt: skip
            if message.sender.startswith(prefix):
                return message
        elif status == "DELIVERED":
            ids, recipient = tuple(record["message_ids"]), record["recipient"]
            if recipient.startswith(prefix):
                return ReceiptsRecord(now, partition, offset, ids, recipient, conversation)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ForeignRecord(now, partition, offset, garbage=True)
    return ForeignRecord(now, partition, offset, garbage=status not in _STATUSES)
