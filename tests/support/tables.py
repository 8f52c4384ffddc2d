"""What the tables of a store hold, in memory: plain, so that adapters can be compared with it."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from landline.model import (
    UNREAD_EVENTS,
    UNREAD_LIMIT,
    Appended,
    Batch,
    Change,
    DeliveryStatus,
    DeviceChange,
    EventKind,
    History,
    HistoryPage,
    HistoryQuery,
    ListedConversation,
    ListedMember,
    ListQuery,
    Mailbox,
    MemberChange,
    MemberStep,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Quarantined,
    Read,
    Receipt,
    Role,
    Room,
    RoomChange,
    RoomMember,
)
from landline.protocol.identity import is_room, participants
from support.owed import answer, fitting

# What a table is compared as: its rows in their order.
Rows = Mapping[str, Sequence[tuple[Any, ...]]]


@dataclass
class Member:
    """A current member. `number` counts up at joining, so that the oldest is known."""

    role: Role
    joined_offset: int
    read_offset: int
    number: int


@dataclass
class Conversation:
    """A conversation: its row, its members, and who was one."""

    name: str
    last_offset: int
    last_time_ms: int
    history: History | None = None
    title: str | None = None
    members: dict[str, Member] = field(default_factory=dict)
    former_members: list[tuple[str, int, int]] = field(default_factory=list)
    joined: int = 0  # how many ever were

    @property
    def kind(self) -> str:
        return "room" if is_room(self.name) else "direct"

    def join(self, user: str, role: Role, joined_offset: int, read_offset: int) -> None:
        self.joined += 1
        self.members[user] = Member(role, joined_offset, read_offset, self.joined)

    def in_order(self) -> list[tuple[str, Member]]:
        """Return the members in the order in which they joined."""
        return sorted(
            self.members.items(), key=lambda each: (each[1].joined_offset, each[1].number)
        )

    def sees(self, user: str, offset: int) -> bool:
        """Say whether what is there is visible to the user.

        The event that adds somebody is in their membership, the one that removes them is not.
        """
        member = self.members.get(user)
        if member is None:
            return False
        if self.history is not History.JOINED or offset >= member.joined_offset:
            return True
        return any(
            name == user and joined <= offset < left for name, joined, left in self.former_members
        )

    def name_an_admin(self) -> None:
        """The oldest member is one, where there is no other."""
        if self.members and all(each.role is not Role.ADMIN for each in self.members.values()):
            oldest = min(self.members.values(), key=lambda each: (each.joined_offset, each.number))
            oldest.role = Role.ADMIN


@dataclass
class Owed:
    """A row of `pending`: the message as the mailbox gets it."""

    message: Message
    is_received: bool

    def as_owed(self) -> Message:
        """Return the message as the mailbox gets it."""
        if self.message.is_received == self.is_received:
            return self.message
        return dataclasses.replace(self.message, is_received=self.is_received)


@dataclass
class Tables:
    """All of it. `partitions`: how many the log has."""

    partitions: int = 1
    messages: dict[str, Message] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    # The store's own numbers, in the order of first appearance.
    conversation_ids: dict[str, int] = field(default_factory=dict)
    # User -> device -> partition in which it is open -> offset of the record that began it.
    devices: dict[str, dict[str, dict[int, int]]] = field(default_factory=dict)
    owed: dict[Mailbox, dict[Position, Owed]] = field(default_factory=dict)
    quarantine: dict[Position, Quarantined] = field(default_factory=dict)
    # Users who are no more: how they are called, and below which offsets.
    ended: dict[str, tuple[str, dict[int, int]]] = field(default_factory=dict)
    applied: dict[int, int] = field(default_factory=dict)
    # Partition -> below which offset messages may be gone.
    purged: dict[int, int] = field(default_factory=dict)

    # Applying -----------------------------------------------------------------------------------

    def apply(self, batches: Iterable[Batch]) -> bool:
        """Apply batches in their order; say whether each was at its place."""
        return False not in [self.apply_one(batch) for batch in batches]

    def apply_one(self, batch: Batch) -> bool:
        """Move the partition on by compare-and-set, its rows with it."""
        if self.applied.get(batch.partition, 0) != batch.start:
            return False
        self.applied[batch.partition] = batch.end
        self.join(batch)
        return True

    def join(self, batch: Batch) -> None:
        """Join what a batch says to the rows."""
        for message in batch.messages:
            if message.id not in self.messages and not self._is_purged(message.position):
                self._add_event(message, batch.change)
        if isinstance(batch.change, DeviceChange):
            if batch.change.is_added:
                self._open(batch.change, batch.partition)
            else:
                self._close(batch.change, batch.partition)
        for receipt in batch.receipts:
            self._settle(receipt, batch.partition)
        for read in batch.reads:
            self._read(read)
        for bad in batch.quarantined:
            self.quarantine.setdefault(bad.position, bad)

    def _is_purged(self, position: Position) -> bool:
        """Say whether what stood there is gone on purpose: what is owed is not."""
        return position.offset < self.purged.get(position.partition, 0) and all(
            position not in rows for rows in self.owed.values()
        )

    def _add_event(self, event: Message, change: Change | None) -> None:
        self.messages[event.id] = event
        conversation = self.conversations.get(event.conversation)
        if conversation is None:
            conversation = self._begin(event)
        if event.position.offset > conversation.last_offset:
            conversation.last_offset = event.position.offset
            conversation.last_time_ms = event.time_ms
        if isinstance(change, RoomChange):
            _change_room(conversation, change, event.position.offset)
        elif isinstance(change, MemberChange):
            self._change_member(conversation, change, event.position.offset)
        self._owe(event, conversation)

    def _begin(self, event: Message) -> Conversation:
        """Make the row of a conversation that is seen for the first time."""
        name = event.conversation
        conversation = Conversation(name, event.position.offset, event.time_ms)
        self.conversations[name] = conversation
        self.conversation_ids[name] = len(self.conversation_ids) + 1
        if not is_room(name):
            for user in participants(name) or (event.sender, *event.recipients):
                if user not in conversation.members:
                    conversation.join(user, Role.MEMBER, 0, -1)
        return conversation

    def _change_member(self, conversation: Conversation, change: MemberChange, offset: int) -> None:
        members = conversation.members
        member = members.get(change.user)
        if change.step is MemberStep.ADD:
            if member is None:
                conversation.join(change.user, change.role, offset, offset - 1)
        elif member is None:
            return
        elif change.step is MemberStep.ROLE:
            member.role = change.role
        else:
            del members[change.user]
            conversation.former_members.append((change.user, member.joined_offset, offset))
            for mailbox in self.mailboxes(change.user):
                rows = self.owed.get(mailbox, {})
                for position, owed in list(rows.items()):
                    if owed.message.conversation == conversation.name:
                        del rows[position]
        conversation.name_an_admin()

    def _owe(self, event: Message, conversation: Conversation) -> None:
        """Enter it for every mailbox that is owed it."""
        is_direct = not is_room(event.conversation)
        is_to_oneself = is_direct and event.sender in event.recipients
        users = event.recipients or tuple(conversation.members)
        if is_direct:
            users += (event.sender,)
        for user in dict.fromkeys(users):
            for mailbox in self._open_mailboxes(user, event.position.partition):
                if mailbox == Mailbox(event.sender, event.device) and not is_to_oneself:
                    continue
                row = dataclasses.replace(
                    event,
                    recipients=(user,),
                    device=None,
                    conversation_id=self.conversation_ids[event.conversation],
                )
                is_received = user == event.sender and not is_to_oneself
                self.owed.setdefault(mailbox, {})[event.position] = Owed(row, is_received)

    def _open_mailboxes(self, user: str, partition: int) -> list[Mailbox]:
        """Return those that get what is new in this partition."""
        devices = self.devices.get(user, {})
        opened = [Mailbox(user, each) for each, since in devices.items() if partition in since]
        return opened or [Mailbox(user)]

    def mailboxes(self, user: str) -> list[Mailbox]:
        """Return all that can have rows."""
        return [Mailbox(user), *(Mailbox(user, each) for each in self.devices.get(user, {}))]

    def _settle(self, receipt: Receipt, partition: int) -> None:
        message = self.messages.get(receipt.message_id)
        if message is None:
            return
        position = message.position
        if position.partition != partition or position.offset >= receipt.offset:
            return
        user = receipt.mailbox.user
        for mailbox in self.mailboxes(user):
            rows = self.owed.get(mailbox, {})
            if mailbox in (receipt.mailbox, Mailbox(user)):
                rows.pop(position, None)
            elif position in rows:
                rows[position].is_received = True

    def _read(self, read: Read) -> None:
        conversation = self.conversations.get(read.conversation)
        member = conversation and conversation.members.get(read.user)
        if member:
            member.read_offset = max(member.read_offset, read.offset)

    def _open(self, change: DeviceChange, partition: int) -> None:
        since = self.devices.setdefault(change.user, {}).setdefault(change.device, {})
        since.setdefault(partition, change.offset)

    def _close(self, change: DeviceChange, partition: int) -> None:
        devices = self.devices.get(change.user, {})
        since = devices.get(change.device, {}).get(partition)
        if since is None or since >= change.offset:  # it is not open, or has begun again later
            return
        rows = self.owed.get(Mailbox(change.user, change.device), {})
        left = {each: owed for each, owed in rows.items() if each.partition == partition}
        for position, owed in left.items():
            del rows[position]
            is_elsewhere = any(
                position in self.owed.get(each, {}) for each in self.mailboxes(change.user)
            )
            if not owed.is_received and not is_elsewhere:
                self.owed.setdefault(Mailbox(change.user), {})[position] = owed
        del devices[change.device][partition]
        if not devices[change.device]:
            del devices[change.device]
            self.owed.pop(Mailbox(change.user, change.device), None)

    # Asking -------------------------------------------------------------------------------------

    def pending(self, query: PendingQuery, applied: Positions | None = None) -> Pending:
        """Answer one query. `applied`: how far we are, in the words of the store compared with."""
        owed = dict(self.owed.get(query.mailbox, {}))
        if query.mailbox.device is not None:
            owed |= self.owed.get(Mailbox(query.mailbox.user), {})
        return answer(
            (self._shown(each.as_owed()) for each in owed.values()),
            query,
            dict(self.applied) if applied is None else applied,
            self.closed(query.mailbox),
        )

    def closed(self, mailbox: Mailbox) -> frozenset[int]:
        """Return the partitions in which the mailbox gets nothing new."""
        devices = self.devices.get(mailbox.user, {})
        if mailbox.device is None:
            return frozenset(partition for since in devices.values() for partition in since)
        return frozenset(range(self.partitions)) - frozenset(devices.get(mailbox.device, {}))

    def find(self, message_ids: Collection[str]) -> Mapping[str, Appended]:
        """Return position and time of those messages that are stored."""
        found = (self.messages.get(id) for id in message_ids)
        return {each.id: Appended(each.position, each.time_ms) for each in found if each}

    def renumber(self, conversation_ids: Mapping[str, int]) -> None:
        """Take the numbers of the store that is compared: turns go by them."""
        self.conversation_ids = dict(conversation_ids)
        for rows in self.owed.values():
            for owed in rows.values():
                number = conversation_ids[owed.message.conversation]
                owed.message = dataclasses.replace(owed.message, conversation_id=number)

    # Reading ------------------------------------------------------------------------------------

    def rooms(self, names: Collection[str], applied: Positions | None = None) -> Mapping[str, Room]:
        """Return those of these rooms that were made. `applied` as for `pending`."""
        found = (self.conversations.get(name) for name in names)
        return {
            room.name: Room(
                room.name,
                room.title,
                room.history,
                {
                    user: RoomMember(member.role, member.joined_offset)
                    for user, member in room.in_order()
                },
                dict(self.applied) if applied is None else applied,
            )
            for room in found
            if room is not None and room.history is not None
        }

    def listed(self, query: ListQuery) -> Sequence[ListedConversation]:
        """Return a page of the user's conversations."""
        own = [each for each in self.conversations.values() if query.user in each.members]
        own.sort(key=_place_in_list)
        if query.after is not None:
            time_ms, name = query.after
            own = [each for each in own if _place_in_list(each) > (-time_ms, name.encode())]
        return [self._listed(each, query.user) for each in own[: query.limit]]

    def _listed(self, conversation: Conversation, user: str) -> ListedConversation:
        member = conversation.members[user]
        visible = self._visible(conversation, user)
        behind = [each for each in visible if each.position.offset > member.read_offset]
        unread = [each for each in behind[-UNREAD_EVENTS:] if each.sender != user]
        return ListedConversation(
            conversation.name,
            conversation.title,
            member.role if conversation.kind == "room" else None,
            conversation.last_offset,
            conversation.last_time_ms,
            visible[-1] if visible else None,
            member.read_offset,
            min(len(unread), UNREAD_LIMIT),
        )

    def history(self, query: HistoryQuery, applied: Positions | None = None) -> HistoryPage | None:
        """Return a page of a conversation. `applied` as for `pending`."""
        conversation = self.conversations.get(query.conversation)
        if conversation is None or query.user not in conversation.members:
            return None
        rows = [self._shown(each) for each in self._visible(conversation, query.user)]
        if query.after is not None:
            rows = [each for each in rows if each.position.offset > query.after]
        else:
            before = query.before
            rows = [each for each in rows if before is None or each.position.offset < before]
            rows.reverse()
        page = fitting(rows[: query.limit], query.limit_bytes)
        return HistoryPage(
            tuple(sorted(page, key=lambda each: each.position.offset)),
            len(page) == len(rows),
            dict(self.applied) if applied is None else applied,
        )

    def _visible(self, conversation: Conversation, user: str) -> list[Message]:
        """Return what the user sees of it, in rising offset."""
        visible = [
            dataclasses.replace(
                each,
                recipients=(user,),
                device=None,
                conversation_id=self.conversation_ids[conversation.name],
            )
            for each in self.messages.values()
            if each.conversation == conversation.name
            and conversation.sees(user, each.position.offset)
        ]
        return sorted(visible, key=lambda each: each.position.offset)

    def members(self, user: str, name: str) -> Sequence[ListedMember] | None:
        """Return the members of a conversation."""
        conversation = self.conversations.get(name)
        if conversation is None or user not in conversation.members:
            return None
        is_room = conversation.kind == "room"
        return [
            ListedMember(each, member.role if is_room else None, member.read_offset)
            for each, member in conversation.in_order()
        ]

    def delivery(self, sender: str, message_ids: Collection[str]) -> set[DeliveryStatus]:
        """Return who has received which of these messages."""
        found = (self.messages.get(id) for id in message_ids)
        return {
            DeliveryStatus(message.id, user, self._status(message, user) == "DELIVERED")
            for message in found
            if message is not None
            and message.kind is EventKind.MESSAGE
            and message.sender == sender
            and sender in self.conversations[message.conversation].members
            for user in self._recipients(message)
        }

    # Purging ------------------------------------------------------------------------------------

    def purgeable(self, before_ms: int) -> set[str]:
        """Return the messages that are old and that nobody is owed."""
        owed = {position for rows in self.owed.values() for position in rows}
        return {
            each.id
            for each in self.messages.values()
            if each.time_ms < before_ms and each.position not in owed
        }

    def forget(self, message_ids: Iterable[str]) -> None:
        """Take messages out. What says where a conversation stands stays."""
        for id in message_ids:
            partition, offset = self.messages.pop(id).position
            self.purged[partition] = max(self.purged.get(partition, 0), offset + 1)

    # Users who are no more ----------------------------------------------------------------------

    def end_user(self, user: str, name: str, before: Positions) -> None:
        """Call somebody by another name below these offsets, and owe them nothing there."""
        _, known = self.ended.get(user, ("", {}))
        places = known.keys() | before.keys()
        highest = {each: max(known.get(each, 0), before.get(each, 0)) for each in places}
        self.ended[user] = (name, highest)
        rows = self.owed.get(Mailbox(user), {})
        for position in [each for each in rows if self._has_ended(user, each)]:
            del rows[position]

    def _has_ended(self, user: str, position: Position) -> bool:
        _, before = self.ended.get(user, ("", {}))
        return position.offset < before.get(position.partition, 0)

    def _shown(self, message: Message) -> Message:
        is_event = message.kind is not EventKind.MESSAGE
        if is_event or not self._has_ended(message.sender, message.position):
            return message
        return dataclasses.replace(message, sender=self.ended[message.sender][0])

    # What operators see -------------------------------------------------------------------------

    def statuses(self) -> set[tuple[str, str, str]]:
        """Return what the view `message_status` shows."""
        return {
            (message.id, user, self._status(message, user))
            for message in self.messages.values()
            if message.kind is EventKind.MESSAGE
            for user in self._recipients(message)
        }

    def _recipients(self, message: Message) -> list[str]:
        conversation = self.conversations[message.conversation]
        is_to_oneself = conversation.kind == "direct" and len(conversation.members) == 1
        return [
            user
            for user, member in conversation.members.items()
            if (user != message.sender or is_to_oneself)
            and member.joined_offset <= message.position.offset
            and not self._has_ended(user, message.position)
        ]

    def _status(self, message: Message, user: str) -> str:
        rows = (self.owed.get(each, {}) for each in self.mailboxes(user))
        owed = (each[message.position] for each in rows if message.position in each)
        return "DELIVERED" if all(each.is_received for each in owed) else "UNDELIVERED"

    def rows(self) -> Rows:
        """Return every table by names, without the store's own numbers."""
        conversations = self.conversations.values()
        return in_order(
            {
                "conversations": [
                    (c.name, c.kind, c.history, c.title, c.last_offset, c.last_time_ms)
                    for c in conversations
                ],
                "members": [
                    (c.name, user, member.role, member.joined_offset, member.read_offset)
                    for c in conversations
                    for user, member in c.members.items()
                ],
                "former_members": [
                    (c.name, *each) for c in conversations for each in c.former_members
                ],
                "devices": [
                    (user, device, partition, offset)
                    for user, devices in self.devices.items()
                    for device, since in devices.items()
                    for partition, offset in since.items()
                ],
                "pending": [
                    (
                        mailbox.user,
                        "*" if mailbox.device is None else mailbox.device,
                        *position,
                        owed.message.conversation,
                        owed.is_received,
                    )
                    for mailbox, rows in self.owed.items()
                    for position, owed in rows.items()
                ],
                "messages": [
                    (
                        m.id,
                        m.conversation,
                        m.sender,
                        m.content,
                        m.kind,
                        m.data,
                        *m.position,
                        m.time_ms,
                    )
                    for m in self.messages.values()
                ],
                "quarantine": [
                    (*bad.position, bad.value, bad.reason) for bad in self.quarantine.values()
                ],
            }
        )


def in_order(tables: Mapping[str, Iterable[Sequence[Any]]]) -> Rows:
    """Return rows sorted, nothing before something; every kind of text is text."""
    return {
        name: sorted(
            (tuple(str(each) if isinstance(each, str) else each for each in row) for row in rows),
            key=lambda row: [(each is not None, each) for each in row],
        )
        for name, rows in tables.items()
    }


def _place_in_list(conversation: Conversation) -> tuple[int, bytes]:
    return -conversation.last_time_ms, conversation.name.encode()


def _change_room(conversation: Conversation, change: RoomChange, offset: int) -> None:
    if change.members is None:
        conversation.title = change.title
    elif not conversation.members and not conversation.former_members:
        conversation.history = change.history
        conversation.title = change.title
        for place, user in enumerate(change.members):
            conversation.join(user, Role.MEMBER if place else Role.ADMIN, offset, offset - 1)
