"""The events of a conversation's timeline, as a server says them."""

from datetime import datetime
from typing import Any

from landline.client.events import MemberChanged, Message, RoomChanged
from landline.protocol.identity import is_room


class NotLandline(Exception):
    """The answer is not Landline's protocol. It may be a proxy's, or another program may have the
    address while the server is being replaced. So it passes.
    """


def read_message(frame: dict[str, Any], user: str | None) -> Message:
    """Return a message for `user`. Raises: NotLandline."""
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
                read_time(frame),
                offset,
                replay=frame.get("replay", False) is True,
                is_own=sender == user,
                data=data if isinstance(data, dict) else None,
            )
    raise unreadable("message")


def read_member(frame: dict[str, Any]) -> MemberChanged:
    """Return a change of a member. Raises: NotLandline."""
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
            time = read_time(frame)
            return MemberChanged(id, conversation, sender, user, change, role, time, offset, replay)
    raise unreadable("member")


def read_room(frame: dict[str, Any]) -> RoomChanged:
    """Return a change of a room. Raises: NotLandline."""
    match frame:
        case {
            "id": str(id),
            "conversation": str(conversation),
            "sender": str(sender),
            "title": str() | None as title,
            "offset": int(offset),
        }:
            replay = frame.get("replay", False) is True
            return RoomChanged(id, conversation, sender, title, read_time(frame), offset, replay)
    raise unreadable("room")


def of_timeline(frame: Any, user: str | None) -> Message | MemberChanged | RoomChanged | None:
    """Return an event of a page for `user`; None for one of a later version.

    Raises: NotLandline.
    """
    match frame:
        case {"type": "message"}:
            return read_message(frame, user)
        case {"type": "member"}:
            return read_member(frame)
        case {"type": "room"}:
            return read_room(frame)
        case {"type": str()}:
            return None
    raise unreadable("page")


def read_time(frame: dict[str, Any]) -> datetime:
    """Return the time of a frame. Raises: NotLandline."""
    try:
        return datetime.fromisoformat(frame["time"])
    except (KeyError, TypeError, ValueError):
        raise unreadable(frame["type"]) from None


def unreadable(kind: str) -> NotLandline:
    """Return the error for a frame of this type."""
    # The frame itself is not shown: it may be a message.
    return NotLandline(f"a frame of type {kind!r} came without what belongs to it")
