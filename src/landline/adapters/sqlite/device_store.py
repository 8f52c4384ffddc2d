"""Devices in SQLite: which there are, and when each was there last."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from landline.adapters.sqlite.database import Database, WriteFailed
from landline.adapters.sqlite.rows import given, stored_device
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable
from landline.model import Device, Mailbox

_DEVICES_OF: Final = statement("sqlite", "devices_of")
_NOTE_SEEN: Final = statement("sqlite", "note_seen")
_OUTLIVED: Final = statement("sqlite", "outlived")

# Of a device there is a row for as long as it is open in the one partition.
_HERE: Final = frozenset({0})


class SqliteDevices:
    """See `landline.ports.DeviceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def devices(self, users: Collection[str]) -> Mapping[str, Sequence[Device]]:
        """Look them up by user."""
        found: dict[str, list[Device]] = {}
        for user, name, seen_ms in await self._read(_DEVICES_OF, {"users": given(users)}):
            found.setdefault(user, []).append(Device(user, name, _HERE, seen_ms))
        return found

    async def seen(self, mailboxes: Collection[Mailbox]) -> None:
        """Write the time of the next commit."""
        devices = [(user, device) for user, device in mailboxes if device is not None]
        arguments = {"mailboxes": given(devices)}
        try:
            await self._database.write(
                lambda connection: connection.execute(_NOTE_SEEN, arguments).rowcount
            )
        except WriteFailed as error:
            raise StoreUnavailable(error.reason) from error

    async def outlived(
        self, unseen_seconds: float, owed: int, after: Mailbox | None, limit: int
    ) -> tuple[Sequence[tuple[Device, str]], Mailbox | None]:
        """Walk the unique index."""
        # Before every name there is: a user's has at least one byte.
        user, device = ("", "") if after is None else (after.user, stored_device(after.device))
        asked = {"user": user, "device": device, "owed": owed, "limit": limit}
        rows = await self._read(_OUTLIVED, asked)
        outlived = [
            (Device(user, name, _HERE, seen_ms), reason)
            for user, name, seen_ms, unseen_ms, is_owed_more in rows
            if (reason := _reason(unseen_ms, unseen_seconds, owed if is_owed_more else None))
        ]
        last = Mailbox(rows[-1][0], rows[-1][1]) if len(rows) == limit else None
        return outlived, last

    async def _read(self, sql: str, asked: Mapping[str, Any]) -> Sequence[Any]:
        try:
            return await self._database.read(
                lambda connection: connection.execute(sql, asked).fetchall()
            )
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot read the store: {error}") from error


def _reason(unseen_ms: int, unseen_seconds: float, owed: int | None) -> str:
    if owed is not None:
        return f"it is owed more than {owed} messages"
    if unseen_ms >= unseen_seconds * 1_000:
        return f"it was not there for {unseen_ms / 1_000:.0f} s"
    return ""
