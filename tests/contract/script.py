"""Writes a log record by record, and applies each at once: for tests that read like a story."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contract.messages import TIME_MS, ask, mailbox, uuid
from landline.model import Entry, History, MemberStep, Position, Role, Stretch
from landline.ports import MessageStore
from landline.protocol.fold import fold
from landline.protocol.identity import direct_conversation, is_room
from landline.protocol.records import (
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptEntry,
    ReceiptRecord,
    Record,
    RoomRecord,
)

ROOM = "room:00000001-0000-8000-8000-0000000000aa"
OTHER_ROOM = "room:00000002-0000-8000-8000-0000000000aa"
TIME = "2026-01-02T03:04:05.678Z"


class Script:
    """Partitions of a log, and a store that has applied all of it.

    "bob/phone" is bob's device of that name, "bob" everything without a device. What makes an event
    returns its id; `offset` is that of the last record.
    """

    def __init__(self, store: MessageStore) -> None:
        self.store = store
        self.offset = -1
        self._ends: dict[int, int] = {}
        self._ids = 0
        self._waiting: list[Record] | None = None

    # What happens -------------------------------------------------------------------------------

    async def says(
        self,
        sender: str,
        to: str,
        content: str = "hello",
        *,
        again: str | None = None,
        partition: int = 0,
    ) -> str:
        """Send to a user or a room. `again`: the same message as a repeat."""
        user, device = mailbox(sender)
        conversation = to if is_room(to) else direct_conversation(user, to)
        recipients = () if is_room(to) else (to,)
        id = again or self._new_id()
        record = MessageRecord(id, None, conversation, user, recipients, content, TIME, device)
        await self.write(record, partition=partition)
        return id

    async def makes(
        self,
        sender: str,
        *others: str,
        room: str = ROOM,
        title: str | None = None,
        history: History = History.ALL,
    ) -> str:
        """Make a room."""
        user, device = mailbox(sender)
        members = (user, *others)
        id = self._new_id()
        await self.write(RoomRecord(id, None, room, user, device, title, history, members, TIME))
        return id

    async def titles(self, sender: str, title: str | None) -> str:
        """Give the room a title."""
        id = self._new_id()
        await self.write(RoomRecord(id, None, ROOM, sender, None, title, None, None, TIME))
        return id

    async def adds(
        self, sender: str, user: str, role: Role = Role.MEMBER, *, again: str | None = None
    ) -> str:
        """Add somebody to the room."""
        return await self._changes(sender, user, MemberStep.ADD, role, again)

    async def removes(self, sender: str, user: str) -> str:
        """Remove somebody from the room."""
        return await self._changes(sender, user, MemberStep.REMOVE, Role.MEMBER)

    async def names(self, sender: str, user: str, role: Role) -> str:
        """Give somebody a role."""
        return await self._changes(sender, user, MemberStep.ROLE, role)

    async def _changes(
        self, sender: str, user: str, step: MemberStep, role: Role, again: str | None = None
    ) -> str:
        by, device = mailbox(sender)
        id = again or self._new_id()
        await self.write(MemberRecord(id, None, ROOM, by, device, user, step, role, TIME))
        return id

    async def begins(self, device: str, *, partition: int = 0) -> None:
        """A device begins in a partition."""
        user, name = mailbox(device)
        await self.write(DeviceRecord(user, name or "", True), partition=partition)

    async def ends(self, device: str, *, partition: int = 0) -> None:
        """A device ends in a partition."""
        user, name = mailbox(device)
        await self.write(DeviceRecord(user, name or "", False), partition=partition)

    async def acknowledges(self, by: str, *ids: str, partition: int = 0) -> None:
        """A mailbox has received messages."""
        await self.write(
            ReceiptRecord("any", (ReceiptEntry(*mailbox(by), ids),), TIME), partition=partition
        )

    async def reads(self, user: str, conversation: str, offset: int) -> None:
        """A user has seen a conversation up to an offset."""
        await self.write(ReadRecord(conversation, ((user, offset),)))

    def _new_id(self) -> str:
        self._ids += 1
        return uuid(self._ids)

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """What is written meanwhile is one piece of the log."""
        self._waiting = []
        yield
        waiting, self._waiting = self._waiting, None
        await self._append(0, *waiting)

    async def write(self, record: Record, *, partition: int = 0) -> None:
        """Append a record and apply it, as a piece of the log of its own."""
        if self._waiting is None:
            await self._append(partition, record)
        else:
            self._waiting.append(record)

    async def _append(self, partition: int, *records: Record) -> None:
        start = self._ends.get(partition, 0)
        entries = [
            Entry(Position(partition, offset), TIME_MS + offset, "key", record.encode_2())
            for offset, record in enumerate(records, start)
        ]
        end = self._ends[partition] = start + len(entries)
        self.offset = end - 1
        assert await self.store.apply(fold(Stretch(partition, start, end, tuple(entries))))

    # What comes of it ---------------------------------------------------------------------------

    async def owed(self, of: str) -> list[str]:
        """Return the ids of what a mailbox is owed, in the order of the log."""
        return [each.id for each in (await ask(self.store, of)).messages]

    async def senders(self, of: str) -> list[str]:
        """Return who has sent what a mailbox is owed, in the order of the log."""
        return [each.sender for each in (await ask(self.store, of)).messages]
