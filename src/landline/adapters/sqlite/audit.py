"""The embedded server's file for an audit: log and store in one snapshot, read-only.

A server may run on it meanwhile. Its write-ahead log is not cut back before the snapshot ends.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from landline.adapters.sqlite.event_log import PARTITION
from landline.adapters.sqlite.opening import FILE_NAME, check_file, connect, refused
from landline.adapters.statements import statement
from landline.audit import OffsetRange, StoredDelivery, StoredMessage, StoredQuarantine
from landline.model import Entry, Position, Positions

AUDIT_ROWS = 1_000
_WINDOW_ENTRIES = 64  # each may have 16 KiB and more

_APPLIED = statement("sqlite", "applied")
_AUDIT_SPAN = statement("sqlite", "audit_span")
_AUDIT_ENTRIES = statement("sqlite", "audit_entries")
_AUDIT_MESSAGES = statement("sqlite", "audit_messages")
_AUDIT_DELIVERIES = statement("sqlite", "audit_deliveries")
_AUDIT_QUARANTINE = statement("sqlite", "audit_quarantine")


@contextmanager
def open_audit_file(directory: Path) -> Iterator["SqliteAuditFile"]:
    """Open the file for the length of a `with` block. Raises: UnusableDataDirectory."""
    path = directory / FILE_NAME
    check_file(path)
    if not path.exists() or not path.stat().st_size:
        raise refused(
            path, "is not there", "give the directory of a server that has run: its --data-dir"
        )
    try:
        with closing(connect(path, "ro")) as connection:
            connection.execute("BEGIN")
            yield SqliteAuditFile(connection)
    except sqlite3.Error as error:
        raise refused(path, f"cannot be read: {error}") from error


class SqliteAuditFile:
    """See `landline.audit.AuditLog` and `landline.audit.AuditStore`: both at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def applied(self) -> Positions:
        """Read the position of the one partition."""
        return dict(self._fetch(_APPLIED))

    async def spans(self) -> Mapping[int, OffsetRange]:
        """Look at the first and the last row."""
        return {PARTITION: OffsetRange(*self._fetch(_AUDIT_SPAN)[0])}

    async def entries(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Entry]]:
        """Walk the primary key."""
        at = start[PARTITION]
        while rows := self._fetch(_AUDIT_ENTRIES, at, end[PARTITION], _WINDOW_ENTRIES):
            at = rows[-1][0] + 1
            yield [
                Entry(Position(PARTITION, offset), time_ms, key, value)
                for offset, time_ms, key, value in rows
            ]

    async def quarantined(self) -> AsyncIterator[Sequence[StoredQuarantine]]:
        """Walk the primary key."""
        after = (-1, -1)
        while rows := self._fetch(_AUDIT_QUARANTINE, *after, AUDIT_ROWS):
            after = (rows[-1][0], rows[-1][1])
            yield [
                StoredQuarantine(Position(partition, offset), reason)
                for partition, offset, reason in rows
            ]

    async def messages(self) -> AsyncIterator[Sequence[StoredMessage]]:
        """Walk the unique index."""
        after = ""
        while rows := self._fetch(_AUDIT_MESSAGES, after, AUDIT_ROWS):
            after = rows[-1][0]
            yield [
                StoredMessage(
                    id, conversation, sender, content, Position(partition, offset), time_ms
                )
                for id, conversation, sender, content, partition, offset, time_ms in rows
            ]

    async def deliveries(self) -> AsyncIterator[Sequence[StoredDelivery]]:
        """Walk the primary key."""
        after = ("", "")
        while rows := self._fetch(_AUDIT_DELIVERIES, *after, AUDIT_ROWS):
            after = (rows[-1][0], rows[-1][1])
            yield [
                StoredDelivery(
                    id,
                    recipient,
                    mailbox,
                    bool(is_delivered),
                    None if offset is None else Position(PARTITION, offset),
                )
                for id, recipient, mailbox, is_delivered, offset in rows
            ]

    def _fetch(self, sql: str, *arguments: Any) -> list[Any]:
        return self._connection.execute(sql, arguments).fetchall()
