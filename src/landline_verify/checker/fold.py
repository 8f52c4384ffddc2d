"""The fold of a log, written from the contract alone: the store must hold this, nothing else.

A message is owed to every mailbox that is open in its partition of each recipient and of its
sender, except the one that it was sent from. In a room the recipients are its members: whoever was
added before, or by this very event, and not removed since. The default mailbox is open where no
device is. What a mailbox acknowledges is owed to it no more, nor to its user's default mailbox, and
to the user's other mailboxes as something that was received. When a device ends, the default
mailbox gets what nobody has received and no other device is owed. Whoever is removed from a room is
owed nothing of it any more.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from landline_verify.history.events import (
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptsRecord,
    Record,
    RoomRecord,
    Said,
)


class Mailbox(NamedTuple):
    """Where a user's messages wait: `device` None is the default one."""

    user: str
    device: str | None


@dataclass(slots=True)
class Membership:
    """A user is in a conversation from one offset on, until another one."""

    user: str
    role: str
    joined: int
    read: int
    left: float = inf

    def has(self, offset: int) -> bool:
        """Say whether it lasts at an offset: its own beginning does, its own end does not."""
        return self.joined <= offset < self.left


@dataclass(slots=True)
class Conversation:
    """Who is and was in a conversation, in the order of joining, and every event of it."""

    members: dict[str, Membership] = field(default_factory=dict)
    former: list[Membership] = field(default_factory=list)
    history: str | None = None
    events: list[Said] = field(default_factory=list)

    def memberships(self, user: str) -> list[Membership]:
        """Return every membership of a user, the current one last."""
        ended = [each for each in self.former if each.user == user]
        return [*ended, self.members[user]] if user in self.members else ended

    def members_at(self, offset: int) -> set[str]:
        """Return who is in it at an offset."""
        return {each.user for each in (*self.former, *self.members.values()) if each.has(offset)}

    def visible_to(self, user: str) -> list[Said]:
        """Return the events that a current member may read."""
        if user not in self.members:
            return []
        if self.history != "joined":
            return self.events
        spans = self.memberships(user)
        return [each for each in self.events if any(span.has(each.offset) for span in spans)]


@dataclass(slots=True)
class Fold:
    """Every message with its first record, what is owed of it and whether that was received, every
    receipt that counts as (id, user), and the conversations.
    """

    messages: dict[str, Said] = field(default_factory=dict)
    owed: defaultdict[str, dict[Mailbox, bool]] = field(default_factory=lambda: defaultdict(dict))
    receipts: set[tuple[str, str]] = field(default_factory=set)
    conversations: dict[str, Conversation] = field(default_factory=dict)

    def is_delivered(self, id: str, user: str) -> bool:
        """Say whether no mailbox of a user waits for a message that the user does not have."""
        return all(
            is_received for mailbox, is_received in self.owed[id].items() if mailbox.user == user
        )

    def recipients(self, message: Said) -> set[str]:
        """Return whose status the store has of a message: in a room of its members of today."""
        if isinstance(message, MessageRecord) and not is_room(message.conversation):
            return set(message.recipients)
        if not isinstance(message, MessageRecord):
            return set()
        members = self.conversations[message.conversation].members.values()
        return {each.user for each in members if each.joined <= message.offset} - {message.sender}


# Open devices by user and partition.
_Devices = defaultdict[tuple[str, int], dict[str, None]]


def fold(records: Iterable[Record]) -> Fold:
    """Return what the records come to, in whatever order they are given."""
    result = Fold()
    devices: _Devices = defaultdict(dict)
    for record in sorted(records, key=lambda each: (each.partition, each.offset)):
        if isinstance(record, Said):
            if result.messages.setdefault(record.id, record) is record:
                _change_members(result, record)
                _owe(result, record, devices)
        elif isinstance(record, ReceiptsRecord):
            _receive(result, record)
        elif isinstance(record, ReadRecord):
            _see(result, record)
        elif isinstance(record, DeviceRecord):
            opened = devices[record.user, record.partition]
            if record.change == "add":
                opened[record.device] = None
            elif record.device in opened:
                del opened[record.device]
                _close(result, record)
    return result


def _change_members(result: Fold, record: Said) -> None:
    room = result.conversations.get(record.conversation)
    if room is None:
        room = result.conversations[record.conversation] = Conversation()
        if not is_room(record.conversation) and isinstance(record, MessageRecord):
            names = dict.fromkeys((record.sender, *record.recipients))
            room.members = {each: Membership(each, "member", 0, -1) for each in names}
    room.events.append(record)
    members, offset = room.members, record.offset
    if isinstance(record, RoomRecord) and record.members and not (members or room.former):
        room.history = record.history
        for user in record.members:
            members[user] = Membership(user, "member", offset, offset - 1)
    elif isinstance(record, MemberRecord) and record.user in members:
        if record.change == "role":
            members[record.user].role = record.role
        elif record.change == "remove":
            room.former.append(members.pop(record.user))
            room.former[-1].left = offset
            _forget(result, record)
    elif isinstance(record, MemberRecord) and record.change == "add":
        members[record.user] = Membership(record.user, record.role, offset, offset - 1)
    if is_room(record.conversation) and not isinstance(record, MessageRecord):
        _name_an_admin(members)


def _name_an_admin(members: dict[str, Membership]) -> None:
    """The oldest member is one, where there is no other: whoever made the room, at first."""
    if members and not any(each.role == "admin" for each in members.values()):
        next(iter(members.values())).role = "admin"


def _forget(result: Fold, record: MemberRecord) -> None:
    for event in result.conversations[record.conversation].events:
        owed = result.owed[event.id]
        for mailbox in [each for each in owed if each.user == record.user]:
            del owed[mailbox]


def _owe(result: Fold, message: Said, devices: _Devices) -> None:
    sent_from = Mailbox(message.sender, message.device)
    users: Collection[str]
    if is_room(message.conversation):
        users, is_to_oneself = result.conversations[message.conversation].members, False
    else:
        assert isinstance(message, MessageRecord), "the others are of rooms"
        users = {*message.recipients, message.sender}
        is_to_oneself = message.sender in message.recipients
    for user in users:
        opened: Collection[str | None] = devices[user, message.partition] or (None,)
        for device in opened:
            mailbox = Mailbox(user, device)
            if is_to_oneself or mailbox != sent_from:
                result.owed[message.id][mailbox] = user == message.sender and not is_to_oneself


def _receive(result: Fold, record: ReceiptsRecord) -> None:
    for user, device, ids in record.entries:
        for id in ids:
            message = result.messages.get(id)
            # What stands behind it, or in another partition, was not acknowledged by it.
            if message is None or message.partition != record.partition:
                continue
            result.receipts.add((id, user))
            owed = result.owed[id]
            for mailbox in list(owed):
                if mailbox.user == user:
                    owed[mailbox] = True
            owed.pop(Mailbox(user, device), None)
            owed.pop(Mailbox(user, None), None)


def _see(result: Fold, record: ReadRecord) -> None:
    """The furthest mark of a member counts. Nobody has seen what comes after its record."""
    conversation = result.conversations.get(record.conversation, Conversation())
    for user, offset in record.entries:
        if (member := conversation.members.get(user)) is not None:
            member.read = max(member.read, min(offset, record.offset))


def _close(result: Fold, record: DeviceRecord) -> None:
    ended = Mailbox(record.user, record.device)
    for id, owed in result.owed.items():
        if ended in owed and result.messages[id].partition == record.partition:
            is_received = owed.pop(ended)
            if not is_received and not any(each.user == record.user for each in owed):
                owed[Mailbox(record.user, None)] = False


def is_room(conversation: str) -> bool:
    """Say whether a conversation is a room: no user's name has a colon."""
    return conversation.startswith("room:")


def conversation_of(one: str, other: str) -> str:
    """Return the conversation of a user and what they write to: another user, or a room.

    Python compares texts by code point, as it must be.
    """
    return other if is_room(other) else f"dm:{min(one, other)}:{max(one, other)}"
