"""The message store in SQLite."""

import asyncio
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from landline.adapters.sqlite.database import Database, WriteFailed
from landline.errors import StoreRefused, StoreUnavailable
from landline.model import (
    NOWHERE,
    Appended,
    Batch,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    covers,
    join,
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
    INSERT INTO deliveries (message_id, recipient, mailbox, status, log_offset)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[1]'),
           'UNDELIVERED', json_extract(value, '$[2]')
    FROM json_each(?) WHERE true
    ON CONFLICT (message_id, recipient) DO UPDATE
        SET log_offset = excluded.log_offset
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

# Answers all queries [mailbox, offset] from one snapshot: [[partition, next offset], ...] and,
# for each query, the first rows at or beyond the offset.
_PENDING = """
    SELECT
        (SELECT json_group_array(json_array(log_partition, next_offset)) FROM applied),
        (SELECT json_group_array(json((
            SELECT json_group_array(json_array(
                message_id, conversation, sender, content, log_partition, log_offset, created_at))
            FROM (
                SELECT m.message_id, m.conversation, m.sender, m.content, m.log_partition,
                       m.log_offset, m.created_at
                FROM deliveries AS d JOIN messages AS m ON m.message_id = d.message_id
                WHERE d.status = 'UNDELIVERED' AND d.mailbox = json_extract(q.value, '$[0]')
                    AND d.log_offset >= json_extract(q.value, '$[1]')
                ORDER BY d.log_offset LIMIT ?
            )
        ))) FROM json_each(?) AS q)
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
                raise StoreRefused(error.reason) from error
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
        """Read everything in one statement."""
        if not queries:
            return []
        limit = max(query.limit for query in queries)
        asked = orjson.dumps([(query.mailbox, query.after.get(0, 0)) for query in queries]).decode()
        row = await self._read(
            lambda connection: connection.execute(_PENDING, (limit + 1, asked)).fetchone()
        )
        applied: Positions = dict(orjson.loads(row[0]))
        answers = orjson.loads(row[1])
        return [
            Pending(
                tuple(_message(fields, query.mailbox) for fields in rows[: query.limit]),
                len(rows) <= query.limit,
                applied,
            )
            for query, rows in zip(queries, answers, strict=True)
        ]

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
        owed = [(m.id, user, m.position.offset) for m in batch.messages for user in m.recipients]
        connection.execute(_MESSAGES, (batch.partition, orjson.dumps(facts).decode()))
        connection.execute(_OWED, (orjson.dumps(owed).decode(),))
    if batch.receipts:
        receipts = list(map(tuple, batch.receipts))
        connection.execute(_RECEIPTS, (orjson.dumps(receipts).decode(),))
    for quarantined in batch.quarantined:
        partition, offset = quarantined.position
        connection.execute(_QUARANTINE, (partition, offset, quarantined.value, quarantined.reason))
    return True


def _message(fields: list[Any], mailbox: str) -> Message:
    id, conversation, sender, content, partition, offset, time_ms = fields
    return Message(
        id, conversation, sender, (mailbox,), content, Position(partition, offset), time_ms
    )
