"""The message store in SQLite."""

import asyncio
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from landline.adapters.sqlite.database import Database, WriteFailed
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

_MOVE = """
    INSERT INTO applied (log_partition, next_offset) SELECT ?, ?
    WHERE ? = coalesce((SELECT next_offset FROM applied WHERE log_partition = ?), 0)
    ON CONFLICT (log_partition) DO UPDATE SET next_offset = excluded.next_offset
"""

_MESSAGES = """
    INSERT INTO messages
        (message_id, conversation, sender, content, created_at, log_partition, log_offset)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
           json_extract(value, '$[3]'), json_extract(value, '$[4]'), ?,
           json_extract(value, '$[5]')
    FROM json_each(?) WHERE true
    ON CONFLICT (message_id) DO UPDATE
        SET log_offset = excluded.log_offset, created_at = excluded.created_at
        WHERE excluded.log_offset < messages.log_offset
"""

_OWED = """
    INSERT INTO deliveries (message_id, recipient, mailbox, status, log_offset, conversation)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[1]'),
           'UNDELIVERED', json_extract(value, '$[2]'), json_extract(value, '$[3]')
    FROM json_each(?) WHERE true
    ON CONFLICT (message_id, recipient) DO UPDATE
        SET log_offset = excluded.log_offset, conversation = excluded.conversation
        WHERE deliveries.log_offset IS NULL OR excluded.log_offset < deliveries.log_offset
"""

_RECEIPTS = """
    INSERT INTO deliveries (message_id, recipient, mailbox, status, delivered_at)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[1]'),
           'DELIVERED', json_extract(value, '$[2]')
    FROM json_each(?) WHERE true
    ON CONFLICT (message_id, recipient) DO UPDATE
        SET status = 'DELIVERED', delivered_at = excluded.delivered_at
        WHERE deliveries.delivered_at IS NULL OR excluded.delivered_at < deliveries.delivered_at
"""

_QUARANTINE = """
    INSERT INTO quarantine (log_partition, log_offset, value, reason) VALUES (?, ?, ?, ?)
    ON CONFLICT (log_partition, log_offset) DO NOTHING
"""

_APPLIED = "SELECT log_partition, next_offset FROM applied"

# Answers all queries [mailbox, offset, bytes] at once: [[partition, next offset], ...] and, for
# each query, the first rows at or beyond the offset. A row before which there are as many bytes
# comes without its content.
_PENDING = """
    SELECT
        (SELECT json_group_array(json_array(log_partition, next_offset)) FROM applied),
        (SELECT json_group_array(json((
            SELECT json_group_array(json_array(
                message_id, conversation, sender,
                CASE WHEN bytes_before < json_extract(q.value, '$[2]') THEN content END,
                log_partition, log_offset, created_at))
            FROM (
                SELECT *, coalesce(sum(length(CAST(content AS BLOB))) OVER (
                    ORDER BY log_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ), 0) AS bytes_before
                FROM (
                    SELECT m.message_id, m.conversation, m.sender, m.content, m.log_partition,
                           m.log_offset, m.created_at
                    FROM deliveries AS d JOIN messages AS m ON m.message_id = d.message_id
                    WHERE d.status = 'UNDELIVERED' AND d.mailbox = json_extract(q.value, '$[0]')
                        AND d.log_offset >= json_extract(q.value, '$[1]')
                    ORDER BY d.log_offset LIMIT :limit
                )
            )
        ))) FROM json_each(:asked) AS q)
"""

# The next conversations of a mailbox, each found by one look into the index, with the first rows of
# each at or beyond the offset and its own cursor, and whether there is something between the two. A
# conversation that is null: there is no other.
_TURNS = """
    WITH RECURSIVE cursors (conversation, cursor) AS (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:cursors)
    ), turns (number, conversation) AS (
        VALUES (0, :behind)
        UNION ALL
        SELECT number + 1, (
            SELECT d.conversation FROM deliveries AS d
            WHERE d.status = 'UNDELIVERED' AND d.mailbox = :mailbox
                AND d.conversation > turns.conversation
            ORDER BY d.conversation LIMIT 1)
        FROM turns WHERE number < :count AND conversation IS NOT NULL
    ), chosen (conversation, start) AS (
        SELECT conversation, max(:offset, coalesce((
            SELECT cursor FROM cursors WHERE cursors.conversation = turns.conversation), 0))
        FROM turns WHERE number > 0 ORDER BY number
    )
    SELECT json_group_array(json_array(conversation, EXISTS (
        SELECT 1 FROM deliveries AS d
        WHERE d.status = 'UNDELIVERED' AND d.mailbox = :mailbox
            AND d.conversation = chosen.conversation
            AND d.log_offset >= :offset AND d.log_offset < chosen.start
    ), json((
        SELECT json_group_array(json_array(
            message_id, conversation, sender, content, log_partition, log_offset, created_at))
        FROM (
            SELECT m.message_id, m.conversation, m.sender, m.content, m.log_partition,
                   m.log_offset, m.created_at
            FROM deliveries AS d JOIN messages AS m ON m.message_id = d.message_id
            WHERE d.status = 'UNDELIVERED' AND d.mailbox = :mailbox
                AND d.conversation = chosen.conversation AND d.log_offset >= chosen.start
            ORDER BY d.log_offset LIMIT :rows
        )
    )))) FROM chosen
"""

_FIND = """
    SELECT message_id, log_partition, log_offset, created_at FROM messages
    WHERE message_id IN (SELECT value FROM json_each(?))
"""


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
        """Nothing of its own to let go: the database is closed by who opened it."""

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
    moved = connection.execute(_MOVE, (batch.partition, batch.end, batch.start, batch.partition))
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
        connection.execute(_MESSAGES, (batch.partition, orjson.dumps(facts).decode()))
        connection.execute(_OWED, (orjson.dumps(owed).decode(),))
    if batch.receipts:
        receipts = list(map(tuple, batch.receipts))
        connection.execute(_RECEIPTS, (orjson.dumps(receipts).decode(),))
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
