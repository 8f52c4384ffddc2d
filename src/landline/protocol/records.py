"""Records of CHAT-MESSAGES: a closed, versioned set of kinds, written and read here only.

Formats: `{"v":1,"status":"UNDELIVERED",...}` is a message, `{"v":1,"status":"DELIVERED",...}`
carries receipts. A record of another version or kind is not skipped but quarantined.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from landline.model import Entry
from landline.protocol.identity import (
    BadName,
    check_recorded_name,
    is_message_id,
    is_ref,
    is_storable,
    utf8_length,
)
from landline.protocol.limits import CONTENT_BYTES
from landline.protocol.times import is_time

RECORD_VERSION = 1
CONVERSATION_BYTES = 256
TIME_BYTES = 40
# A record lists this many receipts at the most, so that it stays far below the log's limits.
RECEIPTS_PER_RECORD = 1_000


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message as it stands in the log; its position and time come from the log itself."""

    message_id: str
    ref: str | None
    conversation: str
    sender: str
    recipients: tuple[str, ...]
    content: str
    created_at: str

    def encode(self) -> bytes:
        """Return the record's value."""
        return _compact(
            {
                "v": RECORD_VERSION,
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


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """Receipts of one conversation and recipient."""

    message_ids: Sequence[str]
    conversation: str
    recipient: str
    delivered_at: str

    def encode(self) -> bytes:
        """Return the record's value."""
        return _compact(
            {
                "v": RECORD_VERSION,
                "status": "DELIVERED",
                "message_ids": self.message_ids,
                "conversation": self.conversation,
                "recipient": self.recipient,
                "delivered_at": self.delivered_at,
            }
        )


def _compact(record: dict[str, Any]) -> bytes:
    """Return the record as JSON that takes no more room than its length.

    What `orjson.dumps` returns keeps the buffer that it was written into: 127 KiB for a record
    of 16 KiB (measured with tracemalloc, orjson 3.13). Records wait in queues, so they are copied.
    """
    return bytes(memoryview(orjson.dumps(record)))


class BadRecord(ValueError):
    """A record that can never be applied; `str(error)` says why."""


def decode_entry(entry: Entry) -> MessageRecord | ReceiptRecord:
    """Return the record of an entry, if its time is one that can be told too.

    The log's own time always is. If the topic takes the sender's time, a sender may write any
    number. Raises: BadRecord.
    """
    if not is_time(entry.time_ms):
        raise BadRecord(
            f"its time ({entry.time_ms} ms since 1970) is not in the years 1970 to 9999"
        )
    return decode_record(entry.value)


def decode_record(value: bytes) -> MessageRecord | ReceiptRecord:
    """Return the record, every field checked as strictly as at the edge.

    User names may be those of an older rule: what was accepted under it is not lost.

    Raises: BadRecord.
    """
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise BadRecord(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise BadRecord("not a JSON object")
    if record.get("v") != RECORD_VERSION or isinstance(record["v"], bool):
        raise BadRecord(f"version {record.get('v')!r:.40} is not {RECORD_VERSION}")
    kind = record.get("status")
    if kind == "UNDELIVERED":
        return _message(record)
    if kind == "DELIVERED":
        return _receipts(record)
    raise BadRecord(f"status {kind!r:.40} is neither UNDELIVERED nor DELIVERED")


def _message(record: dict[str, Any]) -> MessageRecord:
    ref = record.get("ref")
    if ref is not None and not (isinstance(ref, str) and is_ref(ref)):
        raise BadRecord("ref is not valid")
    recipients = record.get("recipients")
    if not isinstance(recipients, list) or not recipients:
        raise BadRecord("recipients is not a list of user names")
    content = _text(record, "content", CONTENT_BYTES)
    return MessageRecord(
        _id(record.get("message_id")),
        ref,
        _text(record, "conversation", CONVERSATION_BYTES),
        _name(record.get("sender")),
        tuple(map(_name, recipients)),
        content,
        _text(record, "created_at", TIME_BYTES),
    )


def _receipts(record: dict[str, Any]) -> ReceiptRecord:
    ids = record.get("message_ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= RECEIPTS_PER_RECORD:
        raise BadRecord(f"message_ids is not a list of 1 to {RECEIPTS_PER_RECORD} ids")
    return ReceiptRecord(
        tuple(map(_id, ids)),
        _text(record, "conversation", CONVERSATION_BYTES),
        _name(record.get("recipient")),
        _text(record, "delivered_at", TIME_BYTES),
    )


def _id(value: object) -> str:
    if not is_message_id(value):
        raise BadRecord("a message id is not a lower-case UUID")
    return str(value)


def _name(value: object) -> str:
    try:
        return check_recorded_name(value if isinstance(value, str) else "")
    except BadName as error:
        raise BadRecord(str(error)) from None


def _text(record: dict[str, Any], field: str, limit_bytes: int) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not is_storable(value):
        raise BadRecord(f"{field} cannot be stored as text")
    if not 1 <= utf8_length(value) <= limit_bytes:
        raise BadRecord(f"{field} must have 1 to {limit_bytes} bytes")
    return value
