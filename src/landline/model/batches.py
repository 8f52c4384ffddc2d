"""What the writer hands to the store: the log in pieces, each added up."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from landline.model.messages import Message, Receipt
from landline.model.positions import Position


class Role(StrEnum):
    """What a member of a room may do: an admin adds, removes, names admins, and sets the title."""

    ADMIN = "admin"
    MEMBER = "member"


class History(StrEnum):
    """What a member of a room sees of it: everything, or what fell into their own memberships."""

    ALL = "all"
    JOINED = "joined"


class MemberStep(StrEnum):
    """What a `member` record does."""

    ADD = "add"
    REMOVE = "remove"
    ROLE = "role"


class RoomChange(NamedTuple):
    """A room is made, or has another title.

    `members`, the creator first, and `history` are given where it is made; None, None: the title
    changes.
    """

    conversation: str
    title: str | None
    history: History | None
    members: tuple[str, ...] | None


class MemberChange(NamedTuple):
    """Somebody is added to a room, removed, or has another role from now on."""

    conversation: str
    user: str
    step: MemberStep
    role: Role


class DeviceChange(NamedTuple):
    """A device of a user begins, or ends, in this partition with the offset of its record."""

    user: str
    device: str
    is_added: bool
    offset: int


Change = RoomChange | MemberChange | DeviceChange


class Read(NamedTuple):
    """A user has seen everything of a conversation up to `offset`."""

    conversation: str
    user: str
    offset: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that can never be applied, with its bytes and the reason in words."""

    position: Position
    value: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What the entries of one piece of a partition add up to.

    Covers the offsets from `start` up to, not including, `end`. `messages`, `receipts` and `reads`
    hold each key once: the first message, the last receipt of a mailbox, the furthest read.

    `change` decides who is owed what comes after it. So it is alone in its batch: with its event,
    which is the only one of `messages`, or with nothing where it is a `DeviceChange`.
    """

    partition: int
    start: int
    end: int
    messages: tuple[Message, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    reads: tuple[Read, ...] = ()
    change: Change | None = None
