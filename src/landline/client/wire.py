"""What the client writes and reads: frames of the protocol from and to its own words."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from landline.client.errors import ClientError, MessageRejected
from landline.client.events import Message, Receipt
from landline.client.outbox import Draft
from landline.protocol.codes import ErrorCode
from landline.protocol.frames import BadFrame, decode
from landline.protocol.limits import FRAME_BYTES, PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class Welcome:
    """Who the server takes this client for."""

    user: str
    server: str
    session: str


class NotLandline(ClientError):
    """Somebody answers who does not speak the protocol."""


def read_welcome(text: str | bytes) -> Welcome:
    """Return the first frame of a session. Raises: NotLandline."""
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError:
        frame = None
    if not isinstance(frame, dict) or frame.get("type") != "welcome":
        raise NotLandline("what answers there is no Landline server: is the address right?")
    if frame.get("protocol", PROTOCOL_VERSION) != PROTOCOL_VERSION:
        raise NotLandline(
            f"the server speaks version {frame['protocol']!r} of the protocol and this client "
            f"version {PROTOCOL_VERSION}: use a client of the server's version"
        )
    fields = (frame.get("user"), frame.get("server"), frame.get("session"))
    match fields:
        case (str(user), str(server), str(session)):
            return Welcome(user, server, session)
    raise NotLandline("the server does not say who it is and whom it talks to")


def read_message(frame: dict[str, Any]) -> Message:
    """Return the message of a frame."""
    return Message(
        frame["id"],
        frame["conversation"],
        frame["sender"],
        frame["to"],
        frame["content"],
        datetime.fromisoformat(frame["time"]),
        frame["offset"],
        frame.get("replay", False),
    )


def read_receipt(frame: dict[str, Any]) -> Receipt:
    """Return the receipt that an `accepted` is."""
    time = datetime.fromisoformat(frame["time"])
    return Receipt(frame["id"], frame["conversation"], frame["offset"], time)


def asked_seconds(frame: dict[str, Any]) -> float:
    """Return how long an error asks to wait; 0 when it does not."""
    asked = frame.get("retry_after_ms")
    return max(0, asked) / 1000 if isinstance(asked, int | float) else 0.0


def send_frame(draft: Draft, *, retry: bool) -> bytes:
    """Return the frame of a try."""
    frame: dict[str, Any] = {"type": "send", "to": draft.to, "content": draft.content}
    frame["ref"] = draft.ref
    if retry:
        frame["retry"] = True
    return orjson.dumps(frame)


def check_draft(draft: Draft) -> None:
    """Refuse what no server takes, before it is kept. A frame that is too large is not answered
    but ends the connection, and its repeat would end the next one. Raises: MessageRejected.
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
