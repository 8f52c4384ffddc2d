"""Conversations as they are asked for: rooms and their members, lists, pages of a timeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from landline.model.batches import History, Role
from landline.model.messages import Message
from landline.model.positions import Positions


class RoomMember(NamedTuple):
    """A current member. What came before `joined_offset` is not owed to them."""

    role: Role
    joined_offset: int


@dataclass(frozen=True, slots=True)
class Room:
    """A room with its current members, in the order in which they joined.

    `applied` was read in the same snapshot.
    """

    name: str
    title: str | None
    history: History
    members: Mapping[str, RoomMember]
    applied: Positions = field(default_factory=dict)


class ListQuery(NamedTuple):
    """Ask for conversations of a user, those with the newest last event first, at most `limit`.

    `after`: time of the last event in milliseconds, and name, of the last one of the page before.
    """

    user: str
    after: tuple[int, str] | None
    limit: int


UNREAD_LIMIT = 100  # more are not counted
# How many events are looked at for that, the newest ones. So a long run of one's own messages costs
# no more than that; what others have said before it is not counted.
UNREAD_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class ListedConversation:
    """A conversation as one of its members sees it in a list.

    `role`, `title`: of rooms. `last`: its last event that is visible to them; None where there is
    none (any more). `unread`: what is visible to them behind `read_offset` and was not sent by
    themselves, `UNREAD_LIMIT` at most.
    """

    name: str
    title: str | None
    role: Role | None
    last_offset: int
    last_time_ms: int
    last: Message | None
    read_offset: int
    unread: int


class HistoryQuery(NamedTuple):
    """Ask for visible events of a conversation: the newest below `before`, or the oldest above
    `after`; neither: the newest of all. At most `limit`, and none more is begun when the contents
    before it come to `limit_bytes`.
    """

    user: str
    conversation: str
    before: int | None
    after: int | None
    limit: int
    limit_bytes: int = 512 * 1024


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Events in rising offset. `complete`: there are no more in the direction that was asked for.

    `applied` was read in the same snapshot.
    """

    messages: tuple[Message, ...]
    complete: bool
    applied: Positions = field(default_factory=dict)


class ListedMember(NamedTuple):
    """A member as the others see them. `role` is None in direct conversations."""

    user: str
    role: Role | None
    read_offset: int


class DeliveryStatus(NamedTuple):
    """Whether a recipient has received a message."""

    message_id: str
    user: str
    is_delivered: bool
