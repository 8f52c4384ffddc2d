"""Frames of the protocol, from and to the client's own types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from landline.client.answers import ANSWERS, read_answer
from landline.client.conversations import Answer
from landline.client.errors import ClientError, MessageRejected, rejection
from landline.client.events import Acceptance, Delivered, MemberChanged, Message, Read, RoomChanged
from landline.client.outbox import Draft
from landline.client.timeline import (
    NotLandline,
    read_member,
    read_message,
    read_room,
    read_time,
    unreadable,
)
from landline.protocol.client_frames import BadFrame, decode
from landline.protocol.codes import ErrorCode
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
    """The server has not accepted a send, does not answer the question `request`, or does not take
    a mark in `conversation`. `asked_seconds`: how long it asks to wait.
    """

    ref: str | None
    code: str
    reason: str
    outcome: str | None
    asked_seconds: float
    request: str | None = None
    conversation: str | None = None


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The server has taken a fresh token for this session."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The server answers the question `request`."""

    request: str | None
    answer: Answer


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
    Message
    | MemberChanged
    | RoomChanged
    | AcceptedFrame
    | ErrorFrame
    | Delivered
    | Authenticated
    | Read
    | Answered
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
            return read_message(frame, user)
        case {"type": "member"}:
            return read_member(frame)
        case {"type": "room"}:
            return read_room(frame)
        case {"type": "read"}:
            return _read(frame)
        case {"type": str(kind)} if kind in ANSWERS:
            return Answered(_text(frame, "request"), read_answer(frame, user))
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


def _read(frame: dict[str, Any]) -> Read:
    match frame:
        case {"conversation": str(conversation), "entries": [*entries]}:
            return Read(conversation, tuple(map(_entry, entries)))
    raise unreadable("read")


def _entry(entry: object) -> tuple[str, int]:
    match entry:
        case [str(user), int(offset)]:
            return user, offset
    raise unreadable("read")


def _acceptance(frame: dict[str, Any]) -> Acceptance:
    match frame:
        case {"id": str(id), "conversation": str(conversation), "offset": int(offset)}:
            return Acceptance(id, conversation, offset, read_time(frame))
    raise unreadable("accepted")


def _refusal(frame: dict[str, Any]) -> ErrorFrame:
    code, reason, outcome = frame.get("code"), frame.get("message", ""), frame.get("outcome")
    if not _are_texts(code, reason, "" if outcome is None else outcome):
        raise unreadable("error")
    asked = frame.get("retry_after_ms")
    seconds = max(0, asked) / 1000 if isinstance(asked, int | float) else 0.0
    request, conversation = _text(frame, "request"), _text(frame, "conversation")
    return ErrorFrame(_ref(frame), str(code), reason, outcome, seconds, request, conversation)


def _ref(frame: dict[str, Any]) -> str | None:
    ref = frame.get("ref")
    if ref is None or isinstance(ref, str):
        return ref
    raise unreadable(frame["type"])


def _text(frame: dict[str, Any], name: str) -> str | None:
    text = frame.get(name)
    return text if isinstance(text, str) else None


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


# No user has a name with a colon.
_CONVERSATIONS = ("room:", "dm:")


def send_frame(draft: Draft, *, retry: bool) -> bytes:
    """Return the frame of a try."""
    if draft.change is not None:
        frame = dict(draft.change)
    else:
        where = "conversation" if draft.to.startswith(_CONVERSATIONS) else "to"
        frame = {"type": "send", where: draft.to, "content": draft.content}
        if draft.data is not None:
            frame["data"] = draft.data
    frame["ref"] = draft.ref
    if retry:
        frame["retry"] = True
    return orjson.dumps(frame)


def copied(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a JSON object: a repeat has to be the same, whatever became of the original.

    Raises: MessageRejected, TypeError.
    """
    if not isinstance(fields, Mapping):
        raise TypeError(f"`data` must be a JSON object or None, not {type(fields).__name__}")
    try:
        copy: dict[str, Any] = orjson.loads(orjson.dumps({**fields}))
    except orjson.JSONEncodeError as error:
        raise MessageRejected(ErrorCode.BAD_FRAME, str(error)) from None
    return copy


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
        raise rejection(bad.code, bad.message) from None
    if len(frame) > FRAME_BYTES:
        why = f"written as JSON it exceeds a frame of {FRAME_BYTES} bytes"
        raise MessageRejected(ErrorCode.CONTENT_TOO_LARGE, why)
