"""Conversations as the tests say they are, and what was asked about them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from landline.errors import StoreUnavailable
from landline.model import (
    DeliveryStatus,
    History,
    HistoryPage,
    HistoryQuery,
    ListedConversation,
    ListedMember,
    ListQuery,
    Positions,
    Role,
    Room,
    RoomMember,
)
from landline.protocol.identity import room_conversation

# The room of most tests, and how requests name it.
ROOM = room_conversation("alice", "the room")


def room(
    *members: str,
    admins: Collection[str] = ("alice",),
    applied: int = 0,
    joined: Mapping[str, int] | None = None,
) -> Room:
    """Return the room of the tests with these members. The store has applied so much. `joined`:
    where they did; at offset 0 where it says nothing.
    """
    by_user = {
        each: RoomMember(Role.ADMIN if each in admins else Role.MEMBER, (joined or {}).get(each, 0))
        for each in members
    }
    return Room(ROOM, "title", History.ALL, by_user, {0: applied})


class KnownConversations:
    """A store of conversations that answers what it was told to, when it may."""

    def __init__(self, *rooms: Room) -> None:
        self.known = {each.name: each for each in rooms}
        self.items: Sequence[ListedConversation] = ()
        self.listed_members: Sequence[ListedMember] | None = None
        self.page: HistoryPage | None = None
        self.delivered: Sequence[DeliveryStatus] = ()
        self.questions: list[object] = []
        self.is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def _ask(self, question: object) -> None:
        self.questions.append(question)
        await self.may_answer.wait()
        if self.is_away:
            raise StoreUnavailable("not now")

    async def rooms(self, names: Collection[str]) -> Mapping[str, Room]:
        """See `ConversationStore`."""
        await self._ask(("rooms", *names))
        return {name: self.known[name] for name in names if name in self.known}

    async def list(self, query: ListQuery) -> Sequence[ListedConversation]:
        """See `ConversationStore`."""
        await self._ask(query)
        return self.items[: query.limit]

    async def history(self, query: HistoryQuery) -> HistoryPage | None:
        """See `ConversationStore`."""
        await self._ask(query)
        return self.page

    async def members(self, user: str, conversation: str) -> Sequence[ListedMember] | None:
        """See `ConversationStore`."""
        await self._ask(("members", user, conversation))
        return self.listed_members

    async def statuses(self, sender: str, message_ids: Collection[str]) -> Sequence[DeliveryStatus]:
        """See `ConversationStore`."""
        await self._ask(("statuses", sender, *message_ids))
        return self.delivered

    async def end_user(self, user: str, name: str, before: Positions) -> None:
        """See `ConversationStore`."""
        await self._ask(("end_user", user, name, before))


class KnownLog:
    """As much of a log and of its store as whoever reads needs: one partition, its end, and how far
    that is applied.
    """

    def __init__(self) -> None:
        self.end = 0
        self.waited: list[Positions] = []
        self.record_version = 2
        self.is_away = False
        self.is_applied = asyncio.Event()
        self.is_applied.set()

    def partition_of(self, _key: str) -> int:
        """See `EventLog`."""
        return 0

    async def ends(self, _partitions: Collection[int] | None = None) -> Positions:
        """See `EventLog`."""
        return {0: self.end}

    async def wait_applied(self, target: Positions) -> Positions:
        """See `MessageStore`."""
        self.waited.append(target)
        if self.is_away:
            raise StoreUnavailable("not now")
        await self.is_applied.wait()
        return target


def known_log() -> Any:
    """Return one in the place of an `EventLog`, a `MessageStore`, or both."""
    return KnownLog()
