"""Mutants of rooms: who is in them, who may do what there, and what people are told of them."""

import dataclasses
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from landline.delivery import delivery, reads, rooms, session
from landline.delivery.memory import HeldMessage
from landline.gateway import checks, reading
from landline.gateway import rooms as known_rooms
from landline.model import (
    HistoryQuery,
    ListedConversation,
    MemberChange,
    MemberStep,
    Message,
    Read,
    Receipt,
    Role,
    Room,
)
from landline.protocol.identity import is_room
from simulation.mutants.mutant import mutant, patch
from simulation.store import Store
from support.tables import Conversation

# What the store makes of them ------------------------------------------------------------------


@mutant("who is owed an event are the members as it leaves them", "ports.py", "I2 I2c I15", 24)
def membership_before_the_event() -> AbstractContextManager[Any]:
    add = Store._add_event

    def owe_first(self: Store, event: Message, change: Any) -> None:
        if not isinstance(change, MemberChange):
            add(self, event, change)
            return
        add(self, event, None)
        conversation = self.conversations[event.conversation]
        self._change_member(conversation, change, event.position.offset)

    return patch(Store, "_add_event", owe_first)


@mutant("who was removed is owed nothing more", "ports.py", "I13", 342)
def removal_keeps_what_was_owed() -> AbstractContextManager[Any]:
    change_member = Store._change_member

    def keep(self: Store, conversation: Conversation, change: MemberChange, offset: int) -> None:
        before = {mailbox: dict(rows) for mailbox, rows in self.owed.items()}
        change_member(self, conversation, change, offset)
        if change.step is MemberStep.REMOVE:
            self.owed.update(before)

    return patch(Store, "_change_member", keep)


@mutant("what one member acknowledges is still owed to the others", "ports.py", "I2 I2c I9", 14)
def receipt_counts_for_all_members() -> AbstractContextManager[Any]:
    settle = Store._settle

    def settle_all(self: Store, receipt: Receipt, partition: int) -> None:
        settle(self, receipt, partition)
        message = self.messages.get(receipt.message_id)
        if message is not None and is_room(message.conversation):
            for mailbox in list(self.owed):
                settle(self, receipt._replace(mailbox=mailbox), partition)

    return patch(Store, "_settle", settle_all)


@mutant("when the last admin leaves the oldest member is one", "ports.py", "I9", 11)
def a_room_without_admins() -> AbstractContextManager[Any]:
    return patch(Conversation, "name_an_admin", lambda _self: None)


@mutant("a mark never goes back", "ports.py", "I9", 2)
def read_takes_the_smaller() -> AbstractContextManager[Any]:
    def smaller(self: Store, read: Read) -> None:
        conversation = self.conversations.get(read.conversation)
        member = conversation and conversation.members.get(read.user)
        if member:
            member.read_offset = min(member.read_offset or read.offset, read.offset)

    return patch(Store, "_read", smaller)


@mutant("one's own messages are not unread", "ports.py", "I9", 2)
def unread_counts_ones_own() -> AbstractContextManager[Any]:
    listed = Store._listed

    def count_all(self: Store, conversation: Conversation, user: str) -> ListedConversation:
        found = listed(self, conversation, user)
        visible = self._visible(conversation, user)
        behind = [each for each in visible if each.position.offset > found.read_offset]
        return dataclasses.replace(found, unread=min(len(behind), 100))

    return patch(Store, "_listed", count_all)


@mutant("others than its members read nothing of a room", "ports.py", "I13", 2)
def anybody_reads() -> AbstractContextManager[Any]:
    history = Store.history

    def as_a_member(self: Store, query: HistoryQuery, *more: Any) -> Any:
        conversation = self.conversations.get(query.conversation)
        if conversation is not None and conversation.members:
            query = query._replace(user=next(iter(conversation.members)))
        return history(self, query, *more)

    return patch(Store, "history", as_a_member)


@mutant("where members see what came while they were in it, they see no more", "ports.py", "I13", 2)
def members_see_everything() -> AbstractContextManager[Any]:
    return patch(Conversation, "sees", lambda self, user, _offset: user in self.members)


# Who may do what -------------------------------------------------------------------------------


@mutant("membership is looked at before the log", "gateway/checks.py", "I13", 13)
def anybody_writes() -> AbstractContextManager[Any]:
    return patch(checks, "bar_in_room", lambda *_: None)


@mutant("only admins change a room", "delivery/rooms.py", "I13", 99)
def members_are_admins() -> AbstractContextManager[Any]:
    bar = rooms._bar_change

    def as_admin(user: str, request: Any, room: Any, _role: Role) -> Any:
        return bar(user, request, room, Role.ADMIN)

    return patch(rooms, "_bar_change", as_admin)


@mutant("whoever is not found in a room is looked for again", "gateway/rooms.py", "I12", 183)
def not_looked_for_again() -> AbstractContextManager[Any]:
    async def once(self: known_rooms.Rooms, name: str, _user: str | None = None) -> Any:
        return self.recall(name) or await self._ask(name)

    return patch(known_rooms.Rooms, "find_out", once)


# Who hears of what -----------------------------------------------------------------------------


@mutant("what is known of a room is soon old", "gateway/rooms.py", "I13", 14)
def rooms_known_for_ever() -> AbstractContextManager[Any]:
    @contextmanager
    def switch() -> Iterator[None]:
        with (
            patch(known_rooms, "ROOM_SECONDS", float("inf")),
            patch(known_rooms.Rooms, "changed", lambda *_: None),
        ):
            yield

    return switch()


@mutant("what has waited is not pushed to who has come since", "gateway/rooms.py", "I13", 30)
def pushed_to_who_has_come_since() -> AbstractContextManager[Any]:
    push = known_rooms.Rooms._push

    def to_all(self: known_rooms.Rooms, decision: Any, room: Room | None) -> None:
        if room is not None:
            always = {name: each._replace(joined_offset=0) for name, each in room.members.items()}
            room = dataclasses.replace(room, members=always)
        push(self, decision, room)

    return patch(known_rooms.Rooms, "_push", to_all)


@mutant("whoever asks after a change is told of it", "gateway/rooms.py", "I2p", 50)
def changes_are_not_waited_for() -> AbstractContextManager[Any]:
    return patch(known_rooms.Rooms, "_changed_at", lambda *_: -1)


@mutant("who was removed is pushed nothing more", "gateway/rooms.py", "I13", 14)
def former_members_are_pushed() -> AbstractContextManager[Any]:
    push = delivery.Delivery.push_to_room
    ever: dict[tuple[int, str], set[str]] = {}

    def to_all(
        self: delivery.Delivery, message: Message, members: Collection[str], **how: Any
    ) -> None:
        known = ever.setdefault((id(self), message.conversation), set())
        known.update(members)
        push(self, message, sorted(known), **how)

    return patch(delivery.Delivery, "push_to_room", to_all)


@mutant(
    "whoever is in a conversation is told how far it was seen, nobody else",
    "delivery/delivery.py",
    "I13",
    13,
)
def marks_told_to_everybody() -> AbstractContextManager[Any]:
    push = delivery.Delivery._push_read

    def to_everybody(self: delivery.Delivery, conversation: str, entries: Any, _: Any) -> None:
        push(self, conversation, entries, tuple(self._users))

    return patch(delivery.Delivery, "_push_read", to_everybody)


@mutant("nobody is told of deliveries in rooms: they ask", "delivery/session.py", "I8", 8)
def statuses_in_rooms() -> AbstractContextManager[Any]:
    is_news = session.Session._is_news

    def always(self: session.Session, message: Message | HeldMessage) -> bool:
        if isinstance(message, HeldMessage) or not is_room(message.conversation):
            return is_news(self, message)
        return message.sender != self.user

    return patch(session.Session, "_is_news", always)


# What people are told --------------------------------------------------------------------------


@mutant("a mark comes back when it is in the log", "delivery/reads.py", "I11", 2)
def marks_come_back_at_once() -> AbstractContextManager[Any]:
    receive = delivery.Delivery.receive

    def tell_first(self: delivery.Delivery, session_id: str, frame: Any) -> None:
        if hasattr(frame, "offset") and session_id in self._sessions:
            user = self._sessions[session_id].user
            self._push_read(frame.conversation, [(user, frame.offset)], (user,))
        receive(self, session_id, frame)

    return patch(delivery.Delivery, "receive", tell_first)


@mutant("of several marks the furthest counts", "delivery/reads.py", "I2p", 160)
def the_last_mark_counts() -> AbstractContextManager[Any]:
    take = reads.Reads.take

    def forget_first(self: reads.Reads, user: str, conversation: str, offset: int) -> None:
        self._waiting.get(conversation, {}).pop(user, None)
        self._waiting_count = sum(map(len, self._waiting.values()))
        take(self, user, conversation, offset)

    return patch(reads.Reads, "take", forget_first)


@mutant("everything between the bounds of a page is in it", "gateway/reading.py", "I2", 2)
def a_page_claims_too_much() -> AbstractContextManager[Any]:
    bounds = reading.bounds

    def from_the_beginning(query: Any, page: Any, partition: int) -> tuple[int, int]:
        first, last = bounds(query, page, partition)
        return (first if query.after is not None else 0), last

    return patch(reading, "bounds", from_the_beginning)
