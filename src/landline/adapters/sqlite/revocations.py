"""Revocations in SQLite."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from landline.adapters.sqlite.database import Database, WriteFailed
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable
from landline.model import Revocation

_REVOKE: Final = statement("sqlite", "revoke")
_STANDING: Final = statement("sqlite", "revocations_standing")
_SINCE: Final = statement("sqlite", "revocations_since")


class SqliteRevocations:
    """See `landline.ports.RevocationStore`. One thread writes, so each is behind all others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def revoke(self, user: str, until_ms: int | None) -> Revocation:
        """Write the user's row in the next commit."""
        asked = {"user": user, "until": until_ms}
        try:
            [row] = await self._database.write(
                lambda connection: connection.execute(_REVOKE, asked).fetchall()
            )
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
