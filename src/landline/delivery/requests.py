"""Requests that end in the log: the record that each is, and what it counts for its user."""

from collections.abc import Callable

import orjson

from landline.delivery.sender import Sender
from landline.protocol.client_frames import ChangeMember, ChangeRoom, Create, LogRequest, Send
from landline.protocol.events import EventRecord
from landline.protocol.identity import (
    direct_conversation,
    event_id,
    message_id,
    room_conversation,
    utf8_length,
)
from landline.protocol.records import MemberRecord, MessageRecord, RoomRecord


def record_of(
    sender: Sender, request: LogRequest, new_id: Callable[[], str], created_at: str
) -> EventRecord:
    """Return the record that a request stands for. Its id follows from its ref, if it has one."""
    if isinstance(request, Send):
        return _message(sender, request, new_id, created_at)
    user, ref, device = sender.user, request.ref, sender.mailbox.device
    if isinstance(request, Create):
        room = f"room:{new_id()}" if ref is None else room_conversation(user, ref)
        members = (user, *(each for each in request.members if each != user))
        details = [orjson.dumps([request.title, request.history, members]).decode()]
        id = new_id() if ref is None else event_id("room", user, ref, room, details)
        return RoomRecord(
            id, ref, room, user, device, request.title, request.history, members, created_at
        )
    room = request.conversation
    if isinstance(request, ChangeRoom):
        details = [orjson.dumps([request.title]).decode()]
        id = new_id() if ref is None else event_id("title", user, ref, room, details)
        return RoomRecord(id, ref, room, user, device, request.title, None, None, created_at)
    details = [request.user, request.change, request.role]
    id = new_id() if ref is None else event_id("member", user, ref, room, details)
    return MemberRecord(
        id, ref, room, user, device, request.user, request.change, request.role, created_at
    )


def _message(
    sender: Sender, send: Send, new_id: Callable[[], str], created_at: str
) -> MessageRecord:
    user, ref, content = sender.user, send.ref, send.content
    conversation = send.conversation or direct_conversation(user, send.to)
    id = new_id() if ref is None else message_id(user, ref, conversation, content, send.data)
    recipients = (send.to,) if send.to else ()
    return MessageRecord(
        id,
        ref,
        conversation,
        user,
        recipients,
        content,
        created_at,
        sender.mailbox.device,
        send.data,
    )


def cost_of(request: LogRequest) -> int:
    """Return as how many messages a request counts for its user: who makes a room puts each of its
    members into it.
    """
    return max(1, len(request.members)) if isinstance(request, Create) else 1


def size_of(request: LogRequest) -> int:
    """Return how many bytes a request counts for its user."""
    if isinstance(request, Send):
        return utf8_length(request.content) + utf8_length(request.data or "")
    if isinstance(request, Create):
        return sum(map(utf8_length, request.members)) + utf8_length(request.title or "")
    if isinstance(request, ChangeRoom):
        return utf8_length(request.title or "")
    return utf8_length(request.user)


def is_for_version_2(request: LogRequest) -> bool:
    """Say whether only records of version 2 can say it."""
    if isinstance(request, ChangeMember | ChangeRoom | Create):
        return True
    return request.data is not None or not request.to
