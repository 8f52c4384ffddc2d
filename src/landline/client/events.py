"""What a chat brings: messages, acceptances, and news for whoever shows them to a person."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Message:
    """A message for this user.

    `offset` orders the messages of a conversation; `time` is the log's, UTC. `replay`: it was
    read from the store because this client was away or behind.
    """

    id: str
    conversation: str
    sender: str
    to: str
    content: str
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
    """The session is gone; the next try comes in `retry_seconds`, or sooner where somebody sends.
    `reason` is a sentence for people.
    """

    reason: str
    retry_seconds: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """A draft, of this process or an earlier one, is durable."""

    to: str
    content: str
    acceptance: Acceptance


@dataclass(frozen=True, slots=True)
class Delivered:
    """`user` has acknowledged these messages of ours."""

    ids: tuple[str, ...]
    user: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A draft that no `send` waits for any more, of an earlier process or of one that gave up, is
    certainly not in the log and never will be. Others hear of it by MessageRejected. `code` is one
    of the protocol's, or `not_kept` where the outbox could not take it, so that it was not sent.
    """

    to: str
    content: str
    code: str
    reason: str


Event = Connected | Disconnected | Accepted | Rejected | Delivered
