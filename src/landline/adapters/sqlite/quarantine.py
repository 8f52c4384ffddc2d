"""The embedded server's table `quarantine`, for those who apply again what stands in it."""

import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final

import orjson

from landline.adapters.sqlite.database import Database, WriteFailed
from landline.adapters.statements import statement
from landline.audit import QuarantinedRecord
from landline.errors import StartupError
from landline.model import Position

PAGE_RECORDS: Final = 64

_QUARANTINED: Final = statement("sqlite", "quarantined")
_REMOVE: Final = statement("sqlite", "remove_quarantined")


class SqliteQuarantine:
    """See `landline.audit.Quarantine`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def records(self) -> AsyncIterator[Sequence[QuarantinedRecord]]:
        """Walk the primary key."""
        after = Position(-1, -1)
        while page := await self._page(after):
            after = page[-1].position
            yield page

    async def _page(self, after: Position) -> Sequence[QuarantinedRecord]:
        try:
            rows = await self._database.read(
                lambda connection: connection.execute(
                    _QUARANTINED, (*after, PAGE_RECORDS)
                ).fetchall()
            )
        except sqlite3.Error as error:
            raise StartupError(f"--data-dir: the quarantine cannot be read: {error}") from error
        return [
            QuarantinedRecord(Position(partition, offset), value)
            for partition, offset, value in rows
        ]

    async def remove(self, positions: Collection[Position]) -> None:
        """Remove rows in one commit."""
        given = orjson.dumps([[*each] for each in positions]).decode()
        try:
            await self._database.write(lambda connection: connection.execute(_REMOVE, (given,)))
        except WriteFailed as error:
            raise StartupError(
                f"--data-dir: the quarantine cannot be changed: {error.reason}"
            ) from error
