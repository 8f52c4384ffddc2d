"""Hints from server to server (CHAT-ROUTING): a message to push, a status to tell, a user whose
sessions are to end.

Losing, repeating or reordering them costs latency and nothing else, so a hint that cannot be
read is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import orjson

from landline.model import EventKind, Message, Position, Revocation
from landline.protocol.identity import is_room
from landline.protocol.times import is_time

HINT_VERSION = 1


@dataclass(frozen=True, slots=True)
class StatusHint:
    """`user` has acknowledged these messages of `sender`, who has sessions on your server."""

    sender: str
    ids: Sequence[str]
    user: str
    time: str


class RoomHint(NamedTuple):
    """Who is in a room changes at this offset of its log: what is known of it may be old."""

    room: str
    offset: int


@dataclass(frozen=True, slots=True)
class MessageHint:
    """A message, or another event, for these users, who have sessions on your server."""

    message: Message
    users: Sequence[str]


@dataclass(frozen=True, slots=True)
class ReadHint:
    """How far some have seen a conversation, for these users, who have sessions on your server."""

    conversation: str
    entries: Sequence[tuple[str, int]]
    users: Sequence[str]


def encode_message_hint(message: Message, users: Sequence[str]) -> bytes:
    """Return a hint to push `message` to whichever sessions these users have on that server."""
    return orjson.dumps(
        {
            "v": HINT_VERSION,
            "kind": "message",
            "event": message.kind,
            "id": message.id,
            "conversation": message.conversation,
            "sender": message.sender,
            "device": message.device,
            "recipients": message.recipients,
            "users": users,
            "content": message.content,
            "data": message.data,
            "partition": message.position.partition,
            "offset": message.position.offset,
            "time_ms": message.time_ms,
        }
    )


def encode_read_hint(hint: ReadHint) -> bytes:
    """Return a hint to tell users how far others have seen. Servers that do not know it drop it."""
    return orjson.dumps(
        {
            "v": HINT_VERSION,
            "kind": "read",
            "conversation": hint.conversation,
            "entries": hint.entries,
            "users": hint.users,
        }
    )


def encode_room_hint(room: str, offset: int) -> bytes:
    """Return a hint that who is in a room changes at this offset of its log."""
    return orjson.dumps({"v": HINT_VERSION, "kind": "room", "room": room, "offset": offset})


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


def decode_hint(value: bytes) -> Hint | None:
    """Return the hint, or None when it cannot be read: not every field is what it should be."""
    try:
        hint = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(hint, dict) or hint.get("v") != HINT_VERSION:
        return None
    kind = hint.get("kind")
    read = _READ.get(kind) if isinstance(kind, str) else None
    return None if read is None else read(hint)


def _status(hint: Mapping[str, Any]) -> StatusHint | None:
    ids = hint.get("ids")
    texts = [hint.get(field) for field in ("sender", "user", "time")]
    if not _are_texts(ids) or not _are_texts(texts):
        return None
    sender, user, time = texts
    return StatusHint(sender, tuple(ids), user, time)


def _message(hint: Mapping[str, Any]) -> MessageHint | None:
    recipients = hint.get("recipients")
    users = hint.get("users", recipients)  # a server of the version before names no others
    texts = [hint.get(field) for field in ("id", "conversation", "sender", "content")]
    numbers = [hint.get(field) for field in ("partition", "offset", "time_ms")]
    if not _are_texts(recipients) or not _are_texts(users) or not _are_texts(texts):
        return None
    if not users or not _are_counts(numbers):
        return None
    partition, offset, time_ms = numbers
    if not is_time(time_ms):
        return None
    kind = hint.get("event", EventKind.MESSAGE)
    device, data = hint.get("device"), hint.get("data")
    if not isinstance(kind, str) or kind not in set(EventKind):
        return None
    if not (device is None or isinstance(device, str)):
        return None
    id, conversation, sender, content = texts
    if not _is_data(data) or (kind != EventKind.MESSAGE and not _is_change(kind, data)):
        return None
    if is_room(conversation) == bool(recipients):
        return None
    message = Message(
        id,
        conversation,
        sender,
        tuple(recipients),
        content,
        Position(partition, offset),
        time_ms,
        EventKind(kind),
        data,
        device,
    )
    return MessageHint(message, tuple(users))


def _read(hint: Mapping[str, Any]) -> ReadHint | None:
    conversation, entries, users = hint.get("conversation"), hint.get("entries"), hint.get("users")
    if not isinstance(conversation, str) or not _are_texts(users):
        return None
    if not isinstance(entries, list) or not all(map(_is_mark, entries)):
        return None
    return ReadHint(conversation, [(user, offset) for user, offset in entries], tuple(users))


def _is_mark(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and type(entry[1]) is int
        and entry[1] >= -1  # before the first event
    )


def _room(hint: Mapping[str, Any]) -> RoomHint | None:
    room, offset = hint.get("room"), hint.get("offset")
    if not isinstance(room, str) or not _are_counts([offset]):
        return None
    return RoomHint(room, int(str(offset)))


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


def _is_change(kind: str, data: str | None) -> bool:
    """Say whether it tells what an event of this kind has changed."""
    details = {} if data is None else orjson.loads(data)
    if kind == EventKind.ROOM:
        return isinstance(details.get("title", 0), str | None)
    return all(isinstance(details.get(name), str) for name in ("user", "change", "role"))


def _are_texts(values: object) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _are_counts(values: Sequence[object]) -> TypeGuard[Sequence[int]]:
    return all(type(value) is int and value >= 0 for value in values)


Hint = MessageHint | ReadHint | StatusHint | RoomHint | Revocation

_READ: Mapping[str, Callable[[Mapping[str, Any]], Hint | None]] = {
    "message": _message,
    "read": _read,
    "room": _room,
    "status": _status,
    "revoked": _revocation,
}
