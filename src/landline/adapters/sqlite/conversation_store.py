"""What people read of their conversations in SQLite: lists, pages of a timeline, members."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from landline.adapters.sqlite.database import Database, WriteFailed
from landline.adapters.sqlite.rows import given, taken
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable
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

T = TypeVar("T")

_ROOMS: Final = statement("sqlite", "rooms")
_LIST_CONVERSATIONS: Final = statement("sqlite", "list_conversations")
_MEMBERSHIP: Final = statement("sqlite", "membership")
_HISTORY_BEFORE: Final = statement("sqlite", "history_before")
_HISTORY_AFTER: Final = statement("sqlite", "history_after")
_LIST_MEMBERS: Final = statement("sqlite", "list_members")
_STATUSES: Final = statement("sqlite", "statuses")
_END_USER: Final = statement("sqlite", "end_user")
_FORGET_PENDING: Final = statement("sqlite", "forget_pending")

# As long as a disk may need that is busy.
WRITE_SECONDS: Final = 8.0
# Rows that are forgotten in one commit, which all others wait for.
FORGOTTEN_ROWS: Final = 1_000
# Behind all offsets and times that there are.
_NEVER: Final = 2**63 - 1


class SqliteConversations:
    """See `landline.ports.ConversationStore`.

    Sends and pushes wait for rooms, so these are not looked up behind what people ask.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rooms(self, names: Collection[str]) -> Mapping[str, Room]:
        """Look them up by name."""
        asked = {"names": given(names)}
        with _unavailable():
            applied, rooms = await self._database.read(
                lambda connection: connection.execute(_ROOMS, asked).fetchone()
            )
        positions = dict(taken(applied))
        return {
            name: Room(
                name,
                title,
                History(history),
                {user: RoomMember(Role(role), joined) for user, role, joined in members},
                positions,
            )
            for name, title, history, members in taken(rooms)
        }

    async def list(self, query: ListQuery) -> Sequence[ListedConversation]:
        """Sort what the user is a member of."""
        return await self._answer(lambda connection: read_list(connection, query))

    async def history(self, query: HistoryQuery) -> HistoryPage | None:
        """Look the membership up, and walk the index of the timeline."""
        return await self._answer(lambda connection: read_page(connection, query))

    async def members(self, user: str, conversation: str) -> Sequence[ListedMember] | None:
        """Read the rows of the conversation."""
        asked = {"user": user, "conversation": conversation}
        row = await self._answer(
            lambda connection: connection.execute(_LIST_MEMBERS, asked).fetchone()
        )
        if row is None:
            return None
        return [
            ListedMember(name, None if role is None else Role(role), read_offset)
            for name, role, read_offset in taken(row[0])
        ]

    async def statuses(self, sender: str, message_ids: Collection[str]) -> Sequence[DeliveryStatus]:
        """Look messages up by id, and who is still owed them by their places."""
        asked = {"sender": sender, "ids": given(message_ids)}
        [found] = await self._answer(
            lambda connection: connection.execute(_STATUSES, asked).fetchone()
        )
        return [
            DeliveryStatus(id, user, bool(is_delivered)) for id, user, is_delivered in taken(found)
        ]

    async def end_user(self, user: str, name: str, before: Positions) -> None:
        """Write the user's row, then forget what is owed to them in small steps."""
        [offset] = before.values()  # the log has one partition
        row = {"user": user, "name": name, "before": offset}
        await self._write(lambda connection: connection.execute(_END_USER, row).rowcount)
        some = {"user": user, "limit": FORGOTTEN_ROWS}
        while await self._write(
            lambda connection: connection.execute(_FORGET_PENDING, some).rowcount
        ):
            pass

    async def _write(self, work: Callable[[sqlite3.Connection], int]) -> int:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                return await self._database.write(work)
        except TimeoutError:
            raise StoreUnavailable("the store does not answer in time") from None
        except WriteFailed as error:
            raise StoreUnavailable(error.reason) from error

    async def _answer(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _unavailable():
            return await self._database.answer(work)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"cannot read the store: {error}") from error


def read_list(connection: sqlite3.Connection, query: ListQuery) -> Sequence[ListedConversation]:
    """Read a page of a user's conversations in one statement. Raises: sqlite3.Error."""
    time_ms, name = (_NEVER, "") if query.after is None else query.after
    asked = {
        "user": query.user,
        "time_ms": time_ms,
        "name": name,
        "limit": query.limit,
        "events": UNREAD_EVENTS,
        "unread": UNREAD_LIMIT,
    }
    [found] = connection.execute(_LIST_CONVERSATIONS, asked).fetchone()
    return [_listed(fields, query.user) for fields in taken(found)]


def read_page(connection: sqlite3.Connection, query: HistoryQuery) -> HistoryPage | None:
    """Read the membership of the user, and what is visible to them, in one snapshot.

    Raises: sqlite3.Error.
    """
    connection.execute("BEGIN")
    try:
        asked = {"user": query.user, "conversation": query.conversation}
        applied, membership = connection.execute(_MEMBERSHIP, asked).fetchone()
        if membership is None:
            return None
        conversation_id, history, joined_offset = taken(membership)
        is_joined = history == History.JOINED
        arguments = asked | {
            "since": joined_offset if is_joined else 0,
            "former_of": conversation_id if is_joined else None,
            "limit": query.limit + 1,
            "size_bytes": query.limit_bytes,
        }
        if query.after is not None:
            arguments["after"] = query.after
            found = connection.execute(_HISTORY_AFTER, arguments).fetchone()
        else:
            arguments["before"] = _NEVER if query.before is None else query.before
            found = connection.execute(_HISTORY_BEFORE, arguments).fetchone()
    finally:
        connection.execute("COMMIT")
    rows = taken(found[0])
    fitting = [fields for fields in rows[: query.limit] if fields[2] is not None]
    messages = [
        _message(fields, query.user, query.conversation, conversation_id) for fields in fitting
    ]
    if query.after is None:
        messages.reverse()
    return HistoryPage(tuple(messages), len(fitting) == len(rows), dict(taken(applied)))


def _listed(fields: Sequence[Any], user: str) -> ListedConversation:
    name, title, role, last_offset, last_time_ms, read_offset, unread, number, last = fields
    return ListedConversation(
        name,
        title,
        None if role is None else Role(role),
        last_offset,
        last_time_ms,
        None if last is None else _message(last, user, name, number),
        read_offset,
        unread,
    )


def _message(fields: Sequence[Any], user: str, conversation: str, conversation_id: int) -> Message:
    id, sender, content, partition, offset, time_ms, kind, data = fields
    return Message(
        id,
        conversation,
        sender,
        (user,),
        content,
        Position(partition, offset),
        time_ms,
        EventKind(kind),
        data,
        conversation_id=conversation_id,
    )
