"""The message store in SQLite."""

import asyncio
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from landline.adapters.sqlite.applying import apply_batch
from landline.adapters.sqlite.database import Database, WriteFailed
from landline.adapters.sqlite.pages import read_pending
from landline.adapters.sqlite.purging import purge_messages
from landline.adapters.sqlite.rows import given
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable, Unstorable
from landline.model import (
    NOWHERE,
    Appended,
    Batch,
    Pending,
    PendingQuery,
    Position,
    Positions,
    covers,
    join,
)

_APPLIED: Final = statement("sqlite", "applied")
_FIND: Final = statement("sqlite", "find")


class SqliteMessageStore:
    """See `landline.ports.MessageStore`."""

    # No other server writes to this file, so nobody has to be waited for.
    record_version = 2

    def __init__(self, database: Database) -> None:
        self._database = database
        # What `applied` was known to be last; it only grows while the file is ours.
        self._applied: Positions = NOWHERE
        self._moved = asyncio.Event()

    async def apply(self, batches: Sequence[Batch]) -> bool:
        """Apply the batches in one savepoint of the next commit."""
        try:
            moved = await self._database.write(
                lambda connection: [apply_batch(connection, batch) for batch in batches]
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
            lambda connection: read_pending(connection, queries)
        )
        return answers

    async def find(self, message_ids: Collection[str]) -> Mapping[str, Appended]:
        """Look messages up by id."""
        asked = given(message_ids)
        rows = await self._read(lambda connection: connection.execute(_FIND, (asked,)).fetchall())
        return {
            id: Appended(Position(partition, offset), time_ms)
            for id, partition, offset, time_ms in rows
        }

    async def purge(
        self, before_ms: int, after: Position, limit: int
    ) -> tuple[int, Position | None]:
        """Remove messages that are older than `before_ms` and owed to nobody.

        Looks at `limit` of them behind `after`. Returns how many went, and behind which place to go
        on; None: what comes next is newer, or there is nothing.
        Raises: StoreUnavailable.
        """
        first = after.offset + 1
        try:
            removed, following = await self._database.write(
                lambda connection: purge_messages(connection, before_ms, first, limit)
            )
        except WriteFailed as error:
            raise StoreUnavailable(error.reason) from error
        return removed, None if following is None else Position(0, following - 1)

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
