"""Hints from server to server (CHAT-ROUTING): a message to push, a status to tell, a user whose
sessions are to end.

Losing, repeating or reordering them costs latency and nothing else, so a hint that cannot be
read is dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson

from landline.model import Message, Position, Revocation
from landline.protocol.times import is_time

HINT_VERSION = 1


@dataclass(frozen=True, slots=True)
class StatusHint:
    """`user` has acknowledged these messages of `sender`, who has sessions on your server."""

    sender: str
    ids: Sequence[str]
    user: str
    time: str


def encode_message_hint(message: Message) -> bytes:
    """Return a hint to push `message` to whichever of its recipients are on that server."""
    return orjson.dumps(
        {
            "v": HINT_VERSION,
            "kind": "message",
            "id": message.id,
            "conversation": message.conversation,
            "sender": message.sender,
            "device": message.device,
            "recipients": message.recipients,
            "content": message.content,
            "data": message.data,
            "partition": message.position.partition,
            "offset": message.position.offset,
            "time_ms": message.time_ms,
        }
    )


def encode_status_hint(hint: StatusHint) -> bytes:
    """Return a hint to tell `hint.sender` about receipts."""
    return orjson.dumps(
        {
            "v": HINT_VERSION,
            "kind": "status",
            "sender": hint.sender,
            "ids": hint.ids,
            "user": hint.user,
            "time": hint.time,
        }
    )


def encode_revocation_hint(revocation: Revocation) -> bytes:
    """Return a hint to end the sessions of a user. Servers that do not know it drop it."""
    return orjson.dumps(
        {
            "v": HINT_VERSION,
            "kind": "revoked",
            "user": revocation.user,
            "revoked_at": revocation.revoked_at,
            "until_ms": revocation.until_ms,
        }
    )


def decode_hint(value: bytes) -> Message | StatusHint | Revocation | None:
    """Return the hint, or None when it cannot be read: not every field is what it should be."""
    try:
        hint = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(hint, dict) or hint.get("v") != HINT_VERSION:
        return None
    if hint.get("kind") == "status":
        return _status(hint)
    if hint.get("kind") == "message":
        return _message(hint)
    if hint.get("kind") == "revoked":
        return _revocation(hint)
    return None


def _status(hint: Mapping[str, Any]) -> StatusHint | None:
    ids = hint.get("ids")
    texts = [hint.get(field) for field in ("sender", "user", "time")]
    if not _are_texts(ids) or not _are_texts(texts):
        return None
    sender, user, time = texts
    return StatusHint(sender, tuple(ids), user, time)


def _message(hint: Mapping[str, Any]) -> Message | None:
    recipients = hint.get("recipients")
    texts = [hint.get(field) for field in ("id", "conversation", "sender", "content")]
    numbers = [hint.get(field) for field in ("partition", "offset", "time_ms")]
    if not recipients or not _are_texts(recipients) or not _are_texts(texts):
        return None
    if not _are_counts(numbers):
        return None
    partition, offset, time_ms = numbers
    if not is_time(time_ms):
        return None
    device, data = hint.get("device"), hint.get("data")
    if not (device is None or isinstance(device, str)) or not _is_data(data):
        return None
    id, conversation, sender, content = texts
    return Message(
        id,
        conversation,
        sender,
        tuple(recipients),
        content,
        Position(partition, offset),
        time_ms,
        data=data,
        device=device,
    )


def _revocation(hint: Mapping[str, Any]) -> Revocation | None:
    user, revoked_at = hint.get("user"), hint.get("revoked_at")
    until_ms = hint.get("until_ms", -1)
    if not isinstance(user, str) or type(revoked_at) is not int:
        return None
    if until_ms is None or (type(until_ms) is int and is_time(until_ms)):
        return Revocation(user, revoked_at, until_ms)
    return None


def _is_data(data: object) -> TypeGuard[str | None]:
    """Say whether it can stand in a frame as it is: nothing, or a JSON object as text."""
    if not isinstance(data, str):
        return data is None
    try:
        return isinstance(orjson.loads(data), dict)
    except orjson.JSONDecodeError:
        return False


def _are_texts(values: object) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _are_counts(values: Sequence[object]) -> TypeGuard[Sequence[int]]:
    return all(type(value) is int and value >= 0 for value in values)
