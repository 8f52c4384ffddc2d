"""The answers to questions about conversations, as a server says them."""

from collections.abc import Callable, Mapping
from typing import Any

from landline.client.conversations import (
    Answer,
    Conversation,
    Conversations,
    Delivery,
    History,
    Member,
)
from landline.client.timeline import of_timeline, read_time, unreadable


def read_answer(frame: Mapping[str, Any], user: str | None) -> Answer:
    """Return the answer for `user` that a frame of one of ANSWERS is. Raises: NotLandline."""
    kind: str = frame["type"]
    answer = ANSWERS[kind](frame, user)
    if answer is None:
        raise unreadable(kind)
    return answer


def _conversations(frame: Mapping[str, Any], _user: str | None) -> Conversations | None:
    match frame:
        case {"items": [*items]}:
            following = frame.get("next")
            is_more = isinstance(following, str)
            return Conversations(tuple(map(_listed, items)), str(following) if is_more else None)
    return None


def _listed(item: Any) -> Conversation:
    match item:
        case {
            "conversation": str(name),
            "kind": str(kind),
            "offset": int(offset),
            "preview": str(preview),
            "read_offset": int(read_offset),
            "unread": int(unread),
        }:
            title, role = item.get("title"), item.get("role")
            return Conversation(
                name,
                kind,
                title if isinstance(title, str) else None,
                role if isinstance(role, str) else None,
                offset,
                read_time({**item, "type": "conversations"}),
                preview,
                read_offset,
                unread,
            )
    raise unreadable("conversations")


def _page(frame: Mapping[str, Any], user: str | None) -> History | None:
    match frame:
        case {
            "conversation": str(conversation),
            "messages": [*messages],
            "from": int(first),
            "to": int(last),
            "complete": bool(complete),
        }:
            read = [of_timeline(each, user) for each in messages]
            known = tuple(each for each in read if each is not None)
            return History(conversation, known, first, last, complete)
    return None


def _member_list(frame: Mapping[str, Any], _user: str | None) -> tuple[Member, ...] | None:
    match frame:
        case {"items": [*items]}:
            return tuple(map(_listed_member, items))
    return None


def _listed_member(item: object) -> Member:
    match item:
        case {"user": str(user), "role": str(role), "read_offset": int(read_offset)}:
            return Member(user, role, read_offset)
    raise unreadable("member_list")


def _deliveries(frame: Mapping[str, Any], _user: str | None) -> tuple[Delivery, ...] | None:
    match frame:
        case {"items": [*items]}:
            return tuple(map(_delivery, items))
    return None


def _delivery(item: object) -> Delivery:
    match item:
        case {"id": str(id), "user": str(user), "status": str(status)}:
            return Delivery(id, user, status == "DELIVERED")
    raise unreadable("deliveries")


ANSWERS: Mapping[str, Callable[[Mapping[str, Any], str | None], Answer | None]] = {
    "conversations": _conversations,
    "page": _page,
    "member_list": _member_list,
    "deliveries": _deliveries,
}
