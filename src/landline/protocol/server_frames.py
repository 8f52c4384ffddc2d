"""Server frames: what a server says to a client. One function a frame; each returns its JSON."""

from collections.abc import Sequence
from typing import Any

import orjson

from landline.model import (
    DeliveryStatus,
    EventKind,
    ListedConversation,
    ListedMember,
    Message,
    Role,
)
from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.identity import is_room, participants
from landline.protocol.limits import CONTENT_BYTES, FRAME_BYTES, PROTOCOL_VERSION, WINDOW
from landline.protocol.times import rfc3339

# What a list shows of a conversation's last message.
PREVIEW_CHARACTERS = 100

PONG = b'{"type":"pong"}'


def welcome(
    *,
    user: str,
    server: str,
    session: str,
    durability: str,
    device: str | None = None,
    is_new: bool | None = None,
) -> bytes:
    """Return the first frame of every session. `device`: if it has one; `is_new`: if that is known
    in time.
    """
    frame: dict[str, Any] = {
        "type": "welcome",
        "user": user,
        "server": server,
        "session": session,
        "protocol": PROTOCOL_VERSION,
        "durability": durability,
        "limits": {
            "content_bytes": CONTENT_BYTES,
            "frame_bytes": FRAME_BYTES,
            "window": WINDOW,
        },
    }
    if device is not None:
        frame["device"] = device
    if is_new is not None:
        frame["is_new"] = is_new
    return orjson.dumps(frame)


def accepted(*, ref: str | None, id: str, conversation: str, offset: int, time_ms: int) -> bytes:
    """Return the answer to a send whose message is durably in the log."""
    frame: dict[str, Any] = {"type": "accepted"}
    if ref is not None:
        frame["ref"] = ref
    frame |= {
        "id": id,
        "conversation": conversation,
        "offset": offset,
        "time": rfc3339(time_ms),
    }
    return orjson.dumps(frame)


def message(message: Message, *, replay: bool) -> bytes:
    """Return a message, or another event of a conversation, as it is pushed to somebody."""
    frame = _event(message)
    if replay:
        frame["replay"] = True
    return orjson.dumps(frame)


def _event(event: Message) -> dict[str, Any]:
    frame: dict[str, Any] = {
        "type": event.kind,
        "id": event.id,
        "conversation": event.conversation,
        "sender": event.sender,
    }
    if event.kind is EventKind.MESSAGE:
        if not is_room(event.conversation):
            frame["to"] = _to(event)
        frame["content"] = event.content
        if event.data is not None:
            frame["data"] = orjson.Fragment(event.data)
    else:
        assert event.data is not None, "it says what has changed"
        frame |= orjson.loads(event.data)
    frame["time"] = rfc3339(event.time_ms)
    frame["offset"] = event.position.offset
    return frame


def _to(message: Message) -> str:
    """Return whom a direct message is for. What comes out of the store names whose mailbox it was
    in: that may be the sender's own other device.
    """
    named = message.recipients[0]
    if named != message.sender:
        return named
    others = [each for each in participants(message.conversation) if each != named]
    return others[0] if others else named


def caught_up(replayed: int) -> bytes:
    """Return the frame that says: all that was owed when the session began has been pushed."""
    return orjson.dumps({"type": "caught_up", "replayed": replayed})


def status(*, ids: Sequence[str], user: str, time: str) -> bytes:
    """Return the news for a sender that `user` has acknowledged these messages."""
    return orjson.dumps(
        {"type": "status", "ids": ids, "user": user, "status": "DELIVERED", "time": time}
    )


def authenticated(expires_ms: int) -> bytes:
    """Return the answer to a fresh token in a session: it is good until then."""
    return orjson.dumps({"type": "authenticated", "expires": rfc3339(expires_ms)})


def read(conversation: str, entries: Sequence[tuple[str, int]]) -> bytes:
    """Return the news how far users have seen a conversation; to themselves: it is in the log."""
    return orjson.dumps({"type": "read", "conversation": conversation, "entries": entries})


def conversations(
    request: str | None, items: Sequence[ListedConversation], next_page: str | None
) -> bytes:
    """Return a page of a user's conversations."""
    frame = _answer("conversations", request)
    frame["items"] = [_listed(each) for each in items]
    if next_page is not None:
        frame["next"] = next_page
    return orjson.dumps(frame)


def _listed(item: ListedConversation) -> dict[str, Any]:
    listed: dict[str, Any] = {
        "conversation": item.name,
        "kind": "room" if is_room(item.name) else "direct",
    }
    if item.role is not None:
        listed |= {"title": item.title, "role": item.role}
    listed |= {
        "offset": item.last_offset,
        "time": rfc3339(item.last_time_ms),
        "preview": "" if item.last is None else item.last.content[:PREVIEW_CHARACTERS],
        "read_offset": _asked_after(item.read_offset),
        "unread": item.unread,
    }
    return listed


def page(
    request: str | None,
    conversation: str,
    messages: Sequence[Message],
    *,
    first: int,
    last: int,
    complete: bool,
) -> bytes:
    """Return a page of a conversation. Everything visible from `first` to `last` is in it."""
    frame = _answer("page", request)
    frame |= {
        "conversation": conversation,
        "messages": [_event(each) for each in messages],
        "from": first,
        "to": last,
        "complete": complete,
    }
    return orjson.dumps(frame)


def member_list(request: str | None, conversation: str, items: Sequence[ListedMember]) -> bytes:
    """Return who is in a conversation."""
    frame = _answer("member_list", request)
    frame["conversation"] = conversation
    frame["items"] = [
        {
            "user": each.user,
            "role": each.role or Role.MEMBER,
            "read_offset": _asked_after(each.read_offset),
        }
        for each in items
    ]
    return orjson.dumps(frame)


def _asked_after(read_offset: int) -> int:
    """Return an offset that `history` takes. Whoever is in a room from the first record of a log on
    has read up to one before it.
    """
    return max(read_offset, 0)


def deliveries(request: str | None, items: Sequence[DeliveryStatus]) -> bytes:
    """Return who has received messages."""
    frame = _answer("deliveries", request)
    frame["items"] = [
        {
            "id": each.message_id,
            "user": each.user,
            "status": "DELIVERED" if each.is_delivered else "UNDELIVERED",
        }
        for each in items
    ]
    return orjson.dumps(frame)


def _answer(kind: str, request: str | None) -> dict[str, Any]:
    return {"type": kind} if request is None else {"type": kind, "request": request}


def error(
    code: ErrorCode,
    message: str,
    *,
    outcome: Outcome | None = None,
    ref: str | None = None,
    request: str | None = None,
    retry_after_ms: int | None = None,
) -> bytes:
    """Return an error frame."""
    frame: dict[str, Any] = {"type": "error", "code": code, "message": message}
    if outcome is not None:
        frame["outcome"] = outcome
    if ref is not None:
        frame["ref"] = ref
    if request is not None:
        frame["request"] = request
    if retry_after_ms is not None:
        frame["retry_after_ms"] = retry_after_ms
    return orjson.dumps(frame)
