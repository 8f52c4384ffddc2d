"""Requests that end in the log, as a client keeps them, and what stands for their contents."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from landline.protocol.client_frames import (
    ChangeMember,
    ChangeRoom,
    Create,
    LogRequest,
    Send,
)
from landline.protocol.identity import room_conversation
from simulation.link import Link


def digest(content: str) -> str:
    """Return what stands for a content in a history."""
    return blake2b(content.encode()).hexdigest()[:16]


def digest_of(event: Mapping[str, Any]) -> str:
    """Return what stands for what an event of a conversation says, by the fields of its frame."""
    if event["type"] == "message":
        return digest(event["content"])
    if event["type"] == "room":
        return digest(f"title {event['title']}")
    return digest(f"member {event['user']} {event['change']} {event['role']}")


@dataclass
class Outgoing:
    """A request as the client keeps it until it is answered."""

    to: str  # a user, or a room
    request: LogRequest
    tries: int = 0
    link: Link | None = None
    not_before: float = 0.0  # when the server wants to hear of it again
    refusals: int = 0  # a repeat that nobody allows, and that may be in the log all the same

    @classmethod
    def text(cls, to: str, content: str, ref: str, *, tries: int = 0) -> "Outgoing":
        """Return a message to a user."""
        return cls(to, Send(to, content, ref), tries)

    @classmethod
    def of(cls, user: str, request: LogRequest) -> "Outgoing":
        """Return what a user asks of a room."""
        if isinstance(request, Create):
            assert request.ref is not None, "clients give each room one"
            return cls(room_conversation(user, request.ref), request)
        return cls(request.conversation, request)

    @property
    def ref(self) -> str:
        """Return the client's name for it."""
        assert self.request.ref is not None, "what has none is not kept"
        return self.request.ref

    @property
    def content(self) -> str:
        """Return the text of a message; nothing for other requests."""
        return self.request.content if isinstance(self.request, Send) else ""

    @property
    def is_direct(self) -> bool:
        """Say whether it is a message to a user."""
        return isinstance(self.request, Send) and not self.request.conversation

    @property
    def digest(self) -> str:
        """Return what stands for what it says."""
        return _digest(self.request)

    def frame(self) -> LogRequest:
        """Return what to send: from the second time on it is a repeat."""
        return replace(self.request, retry=self.tries > 0)


def _digest(request: LogRequest) -> str:
    if isinstance(request, Send):
        return digest_of({"type": "message", "content": request.content})
    if isinstance(request, Create | ChangeRoom):
        return digest_of({"type": "room", "title": request.title})
    assert isinstance(request, ChangeMember), "there are no others"
    said = {"user": request.user, "change": request.change, "role": request.role}
    return digest_of({"type": "member", **said})
