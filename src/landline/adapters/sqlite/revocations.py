"""Revocations in SQLite."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from landline.adapters.sqlite.database import Database, WriteFailed
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable
from landline.model import Revocation

_REVOKE: Final = statement("sqlite", "revoke")
_REVOCATION: Final = statement("sqlite", "revocation")
_STANDING: Final = statement("sqlite", "revocations_standing")
_SINCE: Final = statement("sqlite", "revocations_since")
# As long as a disk may need that is busy, and below what a client waits for an answer.
WRITE_SECONDS: Final = 8.0


class SqliteRevocations:
    """See `landline.ports.RevocationStore`. One thread writes, so each is behind all others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def revoke(self, user: str, until_ms: int | None) -> Revocation:
        """Write the user's row in the next commit."""

        def work(connection: sqlite3.Connection) -> Sequence[Any]:
            connection.execute(_REVOKE, {"user": user, "until": until_ms})
            return connection.execute(_REVOCATION, {"user": user}).fetchall()

        try:
            async with asyncio.timeout(WRITE_SECONDS):
                [row] = await self._database.write(work)
        except TimeoutError:
            raise StoreUnavailable("the store does not answer in time") from None
        except WriteFailed as error:
            raise StoreUnavailable(error.reason) from error
        return Revocation(*row)

    async def standing(self, now_ms: int) -> Sequence[Revocation]:
        """Read them all at once."""
        return await self._read(_STANDING, {"now": now_ms})

    async def since(self, revoked_at: int, limit: int) -> Sequence[Revocation]:
        """Read the next ones."""
        return await self._read(_SINCE, {"revoked_at": revoked_at, "limit": limit})

    async def _read(self, sql: str, asked: Mapping[str, Any]) -> Sequence[Revocation]:
        try:
            rows = await self._database.read(
                lambda connection: connection.execute(sql, asked).fetchall()
            )
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot read the store: {error}") from error
        return [Revocation(*row) for row in rows]
