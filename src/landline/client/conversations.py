"""What a chat answers about conversations: lists, pages of a timeline, members, deliveries."""

from dataclasses import dataclass
from datetime import datetime

from landline.client.events import MemberChanged, Message, RoomChanged


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation in the list of this user.

    `kind`: `direct` or `room`. `title`, `role`: of rooms; None without one. `offset`, `time`,
    `preview`: of its last event, the preview empty if that is no message. `read_offset`: up to
    where this user has seen it. `unread`: what comes after that and is not one's own; 100 means "or
    more".
    """

    conversation: str
    kind: str
    title: str | None
    role: str | None
    offset: int
    time: datetime
    preview: str
    read_offset: int
    unread: int


@dataclass(frozen=True, slots=True)
class Conversations:
    """A page of the list, the newest first. `next` is the `after` of the following page; None at
    the end.
    """

    items: tuple[Conversation, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class History:
    """A page of a conversation, in rising offset.

    Everything from `first` to `last` that this user may see is here. `complete`: there is no more
    in the direction that was asked for.
    """

    conversation: str
    messages: tuple[Message | MemberChanged | RoomChanged, ...]
    first: int
    last: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a conversation. `role`: `admin` or `member`. They have seen all up to
    `read_offset`.
    """

    user: str
    role: str
    read_offset: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """Whether `user` has received a message of ours."""

    id: str
    user: str
    is_delivered: bool


Answer = Conversations | History | tuple[Member, ...] | tuple[Delivery, ...]
