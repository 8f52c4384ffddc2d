"""Server frames: what a server says to a client. One function a frame; each returns its JSON."""

from collections.abc import Sequence
from typing import Any

import orjson

from landline.model import Message
from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.identity import participants
from landline.protocol.limits import CONTENT_BYTES, FRAME_BYTES, PROTOCOL_VERSION, WINDOW
from landline.protocol.times import rfc3339

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
    """Return a message as it is pushed to a recipient."""
    frame: dict[str, Any] = {
        "type": "message",
        "id": message.id,
        "conversation": message.conversation,
        "sender": message.sender,
        "to": _to(message),
        "content": message.content,
        "time": rfc3339(message.time_ms),
        "offset": message.position.offset,
    }
    if message.data is not None:
        frame["data"] = orjson.Fragment(message.data)
    if replay:
        frame["replay"] = True
    return orjson.dumps(frame)


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


def error(
    code: ErrorCode,
    message: str,
    *,
    outcome: Outcome | None = None,
    ref: str | None = None,
    retry_after_ms: int | None = None,
) -> bytes:
    """Return an error frame."""
    frame: dict[str, Any] = {"type": "error", "code": code, "message": message}
    if outcome is not None:
        frame["outcome"] = outcome
    if ref is not None:
        frame["ref"] = ref
    if retry_after_ms is not None:
        frame["retry_after_ms"] = retry_after_ms
    return orjson.dumps(frame)
