"""The message store in SQLite."""

import asyncio
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from landline.adapters.sqlite.database import Database, WriteFailed
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable, Unstorable
from landline.model import (
    FIRST_TURN,
    MESSAGES_A_TURN,
    NOWHERE,
    Appended,
    Batch,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Turn,
    ahead_of,
    covers,
    join,
    turns_of,
)

# Rows go in and come out as one JSON value each way: a statement that steps once releases the
# interpreter's lock once (see event_log.py).

_MOVE_APPLIED = statement("sqlite", "move_applied")

_ADD_MESSAGES = statement("sqlite", "add_messages")

_ADD_DELIVERIES = statement("sqlite", "add_deliveries")

_ADD_RECEIPTS = statement("sqlite", "add_receipts")

_QUARANTINE = statement("sqlite", "quarantine")

_APPLIED = statement("sqlite", "applied")

_PENDING = statement("sqlite", "pending")

_TURNS = statement("sqlite", "turns")

_FIND = statement("sqlite", "find")


class SqliteMessageStore:
    """See `landline.ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # What `applied` was known to be last; it only grows while the file is ours.
        self._applied: Positions = NOWHERE
        self._moved = asyncio.Event()

    async def apply(self, batches: Sequence[Batch]) -> bool:
        """Apply the batches in one savepoint of the next commit."""
        try:
            moved = await self._database.write(
                lambda connection: [_apply(connection, batch) for batch in batches]
            )
        except WriteFailed as error:
            if error.is_refusal:
                raise Unstorable(error.reason) from error
            raise StoreUnavailable(error.reason) from error
        for batch, is_moved in zip(batches, moved, strict=True):
            if is_moved:
                self._note({batch.partition: batch.end})
        return all(moved)

    async def applied(self) -> Positions:
        """Return the position of every partition that was ever applied."""
        rows = await self._read(lambda connection: connection.execute(_APPLIED).fetchall())
        self._note(dict(rows))
        return dict(rows)

    async def wait_applied(self, target: Positions) -> Positions:
        """Wait for `apply` to come so far: nobody else writes to this file."""
        if not covers(self._applied, target):
            await self.applied()
        while not covers(self._applied, target):
            self._moved.clear()
            await self._moved.wait()
        return self._applied

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        """Read everything in one transaction."""
        if not queries:
            return []
        answers: Sequence[Pending] = await self._read(
            lambda connection: _read_pending(connection, queries)
        )
        return answers

    async def find(self, message_ids: Collection[str]) -> Mapping[str, Appended]:
        """Look messages up by id."""
        asked = orjson.dumps(list(message_ids)).decode()
        rows = await self._read(lambda connection: connection.execute(_FIND, (asked,)).fetchall())
        return {
            id: Appended(Position(partition, offset), time_ms)
            for id, partition, offset, time_ms in rows
        }

    def health(self) -> str | None:
        """Return why the file cannot be written, if so."""
        return self._database.health()

    async def close(self) -> None:
        """Nothing to close: the database is closed where it was opened."""

    # Inside ----------------------------------------------------------------------------------

    async def _read(self, work: Any) -> Any:
        try:
            return await self._database.read(work)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot read the store: {error}") from error

    def _note(self, applied: Positions) -> None:
        self._applied = join(self._applied, applied)
        self._moved.set()


def _apply(connection: sqlite3.Connection, batch: Batch) -> bool:
    moved = connection.execute(
        _MOVE_APPLIED, (batch.partition, batch.end, batch.start, batch.partition)
    )
    if moved.rowcount != 1:
        return False
    if batch.messages:
        facts = [
            (m.id, m.conversation, m.sender, m.content, m.time_ms, m.position.offset)
            for m in batch.messages
        ]
        owed = [
            (m.id, user, m.position.offset, m.conversation)
            for m in batch.messages
            for user in m.recipients
        ]
        connection.execute(_ADD_MESSAGES, (batch.partition, orjson.dumps(facts).decode()))
        connection.execute(_ADD_DELIVERIES, (orjson.dumps(owed).decode(),))
    if batch.receipts:
        receipts = list(map(tuple, batch.receipts))
        connection.execute(_ADD_RECEIPTS, (orjson.dumps(receipts).decode(),))
    for quarantined in batch.quarantined:
        partition, offset = quarantined.position
        connection.execute(_QUARANTINE, (partition, offset, quarantined.value, quarantined.reason))
    return True


def _read_pending(
    connection: sqlite3.Connection, queries: Sequence[PendingQuery]
) -> Sequence[Pending]:
    limit = max(query.limit for query in queries)
    asked = [(query.mailbox, query.after.get(0, 0), query.limit_bytes) for query in queries]
    connection.execute("BEGIN")
    try:
        found = connection.execute(
            _PENDING, {"asked": orjson.dumps(asked).decode(), "limit": limit + 1}
        ).fetchone()
        applied: Positions = dict(orjson.loads(found[0]))
        return [
            _answer(connection, query, rows, applied)
            for query, rows in zip(queries, orjson.loads(found[1]), strict=True)
        ]
    finally:
        connection.execute("COMMIT")


def _answer(
    connection: sqlite3.Connection, query: PendingQuery, rows: list[Any], applied: Positions
) -> Pending:
    taken = [fields for fields in rows[: query.limit] if fields[3] is not None]
    messages = tuple(_message(fields, query.mailbox) for fields in taken)
    if len(taken) == len(rows):
        return Pending(messages, True, applied)
    *_others, partition, offset, _time_ms = rows[len(taken)]
    until = {**applied, partition: offset}
    if query.turn is None:
        return Pending(messages, False, applied, until)
    return Pending(messages, False, applied, until, *_read_turns(connection, query, query.turn))


def _read_turns(
    connection: sqlite3.Connection, query: PendingQuery, turn: Turn
) -> tuple[tuple[Message, ...], Turn, frozenset[Turn]]:
    cursors = [(each.conversation, offset) for each, offset in query.cursors.items()]
    arguments = {
        "mailbox": query.mailbox,
        "offset": query.after.get(0, 0),
        "behind": turn.conversation,
        "count": turns_of(query.limit),
        "rows": MESSAGES_A_TURN,
        "cursors": orjson.dumps(cursors).decode(),
    }
    [turns] = connection.execute(_TURNS, arguments).fetchone()
    messages: list[Message] = []
    below: list[Turn] = []
    size_bytes = 0
    for conversation, is_below, rows in orjson.loads(turns):
        if conversation is None:
            return tuple(messages), FIRST_TURN, frozenset(below)
        turn = Turn(conversation, 0)
        if is_below:
            below.append(turn)
        for fields in rows:
            if size_bytes >= query.limit_bytes or len(messages) == ahead_of(query.limit):
                last = Turn(messages[-1].conversation, 0)
                return tuple(messages), last, frozenset(each for each in below if each <= last)
            messages.append(_message(fields, query.mailbox))
            size_bytes += len(messages[-1].content.encode())
    return tuple(messages), turn, frozenset(below)


def _message(fields: list[Any], mailbox: str) -> Message:
    id, conversation, sender, content, partition, offset, time_ms = fields
    return Message(
        id, conversation, sender, (mailbox,), content, Position(partition, offset), time_ms
    )
