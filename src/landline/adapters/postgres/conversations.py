"""Conversations in PostgreSQL, as they are asked for: rooms, lists, pages of a timeline."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from landline.adapters.postgres.lane import PostgresConnection, reason
from landline.adapters.postgres.record_format import RecordFormat
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable, Unstorable
from landline.model import (
    UNREAD_EVENTS,
    UNREAD_LIMIT,
    DeliveryStatus,
    EventKind,
    History,
    HistoryPage,
    HistoryQuery,
    ListedConversation,
    ListedMember,
    ListQuery,
    Message,
    Position,
    Positions,
    Role,
    Room,
    RoomMember,
)

ROOMS: Final = statement("postgres", "rooms")
CONVERSATIONS_OF: Final = statement("postgres", "conversations_of")
HISTORY_BEFORE: Final = statement("postgres", "history_before")
HISTORY_AFTER: Final = statement("postgres", "history_after")
MEMBERS_OF: Final = statement("postgres", "members_of")
STATUSES_OF: Final = statement("postgres", "statuses_of")
END_USER: Final = statement("postgres", "end_user")
FORGET_PENDING: Final = statement("postgres", "forget_pending")

# Rows that are forgotten in one statement.
FORGOTTEN_ROWS: Final = 5_000
_BEYOND_ALL: Final = 2**63 - 1  # no record is there

T = TypeVar("T")
Row = Sequence[Any]


class Run(Protocol):
    """The message store's lanes for what people ask."""

    async def __call__(self, work: Callable[[PostgresConnection], Awaitable[T]]) -> T:
        """Return what `work` returns. Raises: StoreUnavailable, Unstorable."""


class PostgresConversations:
    """See `landline.ports.ConversationStore`. In format 1 nobody can read yet.

    Each question is one statement, so that membership and answer are of one snapshot. Rooms are
    looked up on a lane of their own: sends and pushes do not wait behind what people ask.
    """

    def __init__(
        self,
        run: Run,
        deadline_seconds: float,
        read_rooms: Callable[..., Awaitable[Sequence[Any]]],
        write: Callable[..., Awaitable[Sequence[Any]]],
        record_format: RecordFormat,
    ) -> None:
        """`read_rooms` and `write` return the rows of a statement. They raise: StoreUnavailable."""
        self._run = run
        self._deadline_seconds = deadline_seconds
        self._read_rooms = read_rooms
        self._write = write
        self._format = record_format

    async def rooms(self, names: Collection[str]) -> Mapping[str, Room]:
        """Look them up by name."""
        applied: dict[int, int] = {}
        found: dict[str, Room] = {}
        await self._check_format()
        rows = await self._read_rooms(ROOMS, sorted(names))
        for name, title, history, members, partition, end in rows:
            if name is None:
                applied[partition] = end
            else:
                by_user = {
                    user: RoomMember(Role(role), joined) for user, role, joined in members or ()
                }
                found[name] = Room(name, title, History(history), by_user, applied)
        return found

    async def list(self, query: ListQuery) -> Sequence[ListedConversation]:
        """Look at all of the user's, and into those that are in the answer."""
        time_ms, name = query.after or (None, None)
        rows = await self._read(
            CONVERSATIONS_OF,
            query.user,
            time_ms,
            name,
            query.limit,
            UNREAD_LIMIT,
            UNREAD_EVENTS,
        )
        return [_listed(query.user, *row) for row in rows]

    async def history(self, query: HistoryQuery) -> HistoryPage | None:
        """Walk the timeline from where the page begins."""
        if query.after is not None:
            sql, start = HISTORY_AFTER, query.after
        else:
            sql, start = HISTORY_BEFORE, _BEYOND_ALL if query.before is None else query.before
        rows = await self._read(
            sql, query.user, query.conversation, start, query.limit, query.limit_bytes
        )
        if not rows:
            return None
        applied: dict[int, int] = {}
        events: list[Row] = []
        for number, partition, offset, id, *event in rows:
            if id is not None:
                events.append((number, partition, offset, id, *event))
            elif partition is not None:
                applied[partition] = offset
        messages: list[Message] = []
        for number, *event in events:
            if event[4] is None or len(messages) == query.limit:
                break
            messages.append(_message(query.user, query.conversation, number, *event))
        is_complete = len(messages) == len(events)
        if query.after is None:
            messages.reverse()
        return HistoryPage(tuple(messages), is_complete, applied)

    async def members(self, user: str, conversation: str) -> Sequence[ListedMember] | None:
        """Look them up by conversation."""
        rows = await self._read(MEMBERS_OF, user, conversation)
        return [
            ListedMember(name, Role(role) if kind == "room" else None, read_offset)
            for kind, name, role, read_offset in rows
        ] or None

    async def statuses(self, sender: str, message_ids: Collection[str]) -> Sequence[DeliveryStatus]:
        """Look into the mailboxes of the recipients."""
        rows = await self._read(STATUSES_OF, sender, sorted(message_ids))
        return [
            DeliveryStatus(id, user, is_delivered)
            for id, users, delivered in rows
            for user, is_delivered in zip(users, delivered, strict=True)
        ]

    async def end_user(self, user: str, name: str, before: Positions) -> None:
        """Write the user's row, then forget what is owed to them in small steps."""
        await self._check_format()
        offsets = [before.get(each, 0) for each in range(max(before, default=-1) + 1)]
        await self._write(END_USER, user, name, offsets)
        while (await self._write(FORGET_PENDING, user, FORGOTTEN_ROWS))[0][0]:
            pass

    async def _check_format(self) -> None:
        if await self._format.look() == 1:
            raise StoreUnavailable(
                "conversations cannot be read before `landline migrate` was run, once every server"
                " has been replaced"
            )

    async def _read(self, sql: str, *arguments: Any) -> Sequence[Any]:
        await self._check_format()
        try:
            async with asyncio.timeout(self._deadline_seconds):  # with the wait for a lane
                rows = await self._run(lambda connection: connection.fetch(sql, *arguments))
        except Unstorable as error:
            raise StoreUnavailable(str(error)) from error
        except TimeoutError as error:
            raise StoreUnavailable(reason(error)) from error
        return rows


def _listed(user: str, *row: Any) -> ListedConversation:
    name, kind, title, role, offset, time_ms, read_offset, unread, number, *event = row
    return ListedConversation(
        name,
        title,
        Role(role) if kind == "room" else None,
        offset,
        time_ms,
        None if event[0] is None else _message(user, name, number, *event),
        read_offset,
        unread,
    )


def _message(user: str, conversation: str, number: int, *event: Any) -> Message:
    partition, offset, id, sender, content, time_ms, kind, data = event
    return Message(
        str(id),
        conversation,
        sender,
        (user,),
        content,
        Position(partition, offset),
        time_ms,
        EventKind(kind),
        data,
        conversation_id=number,
    )
