"""What a chat brings: messages, acceptances, and events for programs that show them to people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """A message for this user, or one that this user has sent from another device.

    `to` is empty in a room, which `conversation` names. `offset` orders the messages of a
    conversation; `time` is the log's, UTC. `replay`: it was read from the store because this client
    was not connected, or was behind. `is_own`: its sender is this user. `data`: the JSON object
    that its sender has added, None without one.
    """

    id: str
    conversation: str
    sender: str
    to: str
    content: str
    time: datetime
    offset: int
    replay: bool
    is_own: bool = False
    data: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """In a room `sender` has added `user`, removed them, or given them another role: `change` is
    `add`, `remove` or `role`, and `role` `admin` or `member`.
    """

    id: str
    conversation: str
    sender: str
    user: str
    change: str
    role: str
    time: datetime
    offset: int
    replay: bool


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """`sender` has made a room, or given it another title; None: it has none."""

    id: str
    conversation: str
    sender: str
    title: str | None
    time: datetime
    offset: int
    replay: bool


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A sent message is durably in the log."""

    id: str
    conversation: str
    offset: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a session with the server."""

    server: str
    session: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """There is no session. The next try comes in `retry_seconds`, or sooner if the program sends;
    None: the chat has ended for good. `reason` is a sentence for people.
    """

    reason: str
    retry_seconds: float | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A draft is durable. It may be one of an earlier process. `kind` is the type of its frame: for
    what is no `send` there is no content, and for a `create` no `to`.
    """

    to: str
    content: str
    acceptance: Acceptance
    kind: str = "send"


@dataclass(frozen=True, slots=True)
class Delivered:
    """`user` has acknowledged these messages of ours."""

    ids: tuple[str, ...]
    user: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A draft is certainly not in the log and never will be, and no `send` waits for its answer.

    It is of an earlier process, or its `send` gave up; every other `send` raises MessageRejected.
    Where `is_certain` is False, an earlier try may be in the log: see MessageUncertain.
    `code` is one of the protocol's, or `not_kept` if the outbox could not take it, and no server
    has seen it.
    """

    to: str
    content: str
    code: str
    reason: str
    is_certain: bool = True
    kind: str = "send"


@dataclass(frozen=True, slots=True)
class Read:
    """How far users have seen a conversation: users and offsets. Best effort."""

    conversation: str
    entries: tuple[tuple[str, int], ...]


Event = (
    Connected | Disconnected | Accepted | Rejected | Delivered | MemberChanged | RoomChanged | Read
)
