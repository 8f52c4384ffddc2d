"""Frames of the protocol, from and to the client's own types."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from landline.client.errors import ClientError, MessageRejected
from landline.client.events import Acceptance, Delivered, MemberChanged, Message, RoomChanged
from landline.client.outbox import Draft
from landline.protocol.client_frames import BadFrame, decode
from landline.protocol.codes import ErrorCode
from landline.protocol.identity import is_room
from landline.protocol.limits import FRAME_BYTES, PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class Welcome:
    """The beginning of a session: which user and which device the server takes this client for.

    `is_new`: the device begins with this session; None if the server does not say.
    """

    user: str
    server: str
    session: str
    device: str | None = None
    is_new: bool | None = None


@dataclass(frozen=True, slots=True)
class AcceptedFrame:
    """The server has accepted a send."""

    ref: str | None
    acceptance: Acceptance


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """The server has not accepted a send. `asked_seconds`: how long it asks to wait."""

    ref: str | None
    code: str
    reason: str
    outcome: str | None
    asked_seconds: float


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The server has taken a fresh token for this session."""


class NotLandline(Exception):
    """The answer is not Landline's protocol. It may be a proxy's, or another program may have the
    address while the server is being replaced. So it passes.
    """


class OtherProtocol(ClientError):
    """The server speaks a version of the protocol that this client does not know."""


def read_welcome(text: str | bytes) -> Welcome:
    """Return the first frame of a session. Raises: NotLandline, OtherProtocol."""
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError:
        frame = None
    if not isinstance(frame, dict) or frame.get("type") != "welcome":
        raise NotLandline("what answers there is no Landline server: is the address right?")
    match frame:
        case {"user": str(user), "server": str(server), "session": str(session)}:
            pass
        case _:
            raise NotLandline("the server does not say who it is and whom it talks to")
    version = frame.get("protocol", PROTOCOL_VERSION)
    if not isinstance(version, int) or isinstance(version, bool):
        raise NotLandline("the server does not say which version of the protocol it speaks")
    if version != PROTOCOL_VERSION:
        raise OtherProtocol(
            f"the server speaks version {version} of the protocol and this client "
            f"version {PROTOCOL_VERSION}: use a client of the server's version"
        )
    device, is_new = frame.get("device"), frame.get("is_new")
    return Welcome(
        user,
        server,
        session,
        device if isinstance(device, str) else None,
        is_new if isinstance(is_new, bool) else None,
    )


ServerFrame = (
    Message | MemberChanged | RoomChanged | AcceptedFrame | ErrorFrame | Delivered | Authenticated
)


def read_frame(text: str | bytes, user: str | None) -> ServerFrame | None:
    """Return what a frame of a session of `user` says; None if this client has no use for it.

    Raises: NotLandline.
    """
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotLandline(f"a frame that came is no JSON: {error}") from None
    match frame:
        case {"type": "message"}:
            return _message(frame, user)
        case {"type": "member"}:
            return _member(frame)
        case {"type": "room"}:
            return _room(frame)
        case {"type": "accepted"}:
            return AcceptedFrame(_ref(frame), _acceptance(frame))
        case {"type": "error"}:
            return _refusal(frame)
        case {"type": "authenticated"}:
            return Authenticated()
        case {"type": "status", "ids": [*ids], "user": str(user)} if _are_texts(*ids):
            return Delivered(tuple(ids), user)
        case {"type": str(kind)} if kind != "status":
            return None  # of a later version
    raise NotLandline("a frame that came is none of the protocol")


def _message(frame: dict[str, Any], user: str | None) -> Message:
    match frame:
        case {
            "id": str(id),
            "conversation": str(conversation),
            "sender": str(sender),
            "content": str(content),
            "offset": int(offset),
        } if isinstance(to := frame.get("to", "" if is_room(conversation) else None), str):
            data = frame.get("data")
            return Message(
                id,
                conversation,
                sender,
                to,
                content,
                _time(frame),
                offset,
                replay=frame.get("replay", False) is True,
                is_own=sender == user,
                data=data if isinstance(data, dict) else None,
            )
    raise _unreadable("message")


def _member(frame: dict[str, Any]) -> MemberChanged:
    match frame:
        case {
            "id": str(id),
            "conversation": str(conversation),
            "sender": str(sender),
            "user": str(user),
            "change": str(change),
            "role": str(role),
            "offset": int(offset),
        }:
            replay = frame.get("replay", False) is True
            time = _time(frame)
            return MemberChanged(id, conversation, sender, user, change, role, time, offset, replay)
    raise _unreadable("member")


def _room(frame: dict[str, Any]) -> RoomChanged:
    match frame:
        case {
            "id": str(id),
            "conversation": str(conversation),
            "sender": str(sender),
            "title": str() | None as title,
            "offset": int(offset),
        }:
            replay = frame.get("replay", False) is True
            return RoomChanged(id, conversation, sender, title, _time(frame), offset, replay)
    raise _unreadable("room")


def _acceptance(frame: dict[str, Any]) -> Acceptance:
    match frame:
        case {"id": str(id), "conversation": str(conversation), "offset": int(offset)}:
            return Acceptance(id, conversation, offset, _time(frame))
    raise _unreadable("accepted")


def _refusal(frame: dict[str, Any]) -> ErrorFrame:
    code, reason, outcome = frame.get("code"), frame.get("message", ""), frame.get("outcome")
    if not _are_texts(code, reason, "" if outcome is None else outcome):
        raise _unreadable("error")
    asked = frame.get("retry_after_ms")
    seconds = max(0, asked) / 1000 if isinstance(asked, int | float) else 0.0
    return ErrorFrame(_ref(frame), str(code), reason, outcome, seconds)


def _ref(frame: dict[str, Any]) -> str | None:
    ref = frame.get("ref")
    if ref is None or isinstance(ref, str):
        return ref
    raise _unreadable(frame["type"])


def _time(frame: dict[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(frame["time"])
    except (KeyError, TypeError, ValueError):
        raise _unreadable(frame["type"]) from None


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _unreadable(kind: str) -> NotLandline:
    # The frame itself is not shown: it may be a message.
    return NotLandline(f"a frame of type {kind!r} came without what belongs to it")


def send_frame(draft: Draft, *, retry: bool) -> bytes:
    """Return the frame of a try."""
    frame: dict[str, Any] = {"type": "send", "to": draft.to, "content": draft.content}
    frame["ref"] = draft.ref
    if retry:
        frame["retry"] = True
    return orjson.dumps(frame)


def check_draft(draft: Draft) -> None:
    """Refuse what no server takes, before it is kept.

    A frame that is too large gets no answer but ends the connection, and its repeat would end the
    next one. Raises: MessageRejected.
    """
    try:
        frame = send_frame(draft, retry=True)
        decode(frame.decode())
    except orjson.JSONEncodeError as error:
        raise MessageRejected(ErrorCode.BAD_FRAME, str(error)) from None
    except BadFrame as bad:
        raise MessageRejected(bad.code, bad.message) from None
    if len(frame) > FRAME_BYTES:
        why = f"written as JSON it exceeds a frame of {FRAME_BYTES} bytes"
        raise MessageRejected(ErrorCode.CONTENT_TOO_LARGE, why)
