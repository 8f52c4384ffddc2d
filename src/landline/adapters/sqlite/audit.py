"""The embedded server's file for an audit: log and store in one snapshot, read-only.

A server may run on it meanwhile. Its write-ahead log is not cut back before the snapshot ends.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from landline.adapters.sqlite.event_log import PARTITION
from landline.adapters.sqlite.opening import (
    FILE_NAME,
    FILE_SCHEMA_VERSION,
    check_file,
    connect,
    refused,
)
from landline.adapters.statements import statement
from landline.audit import (
    OffsetRange,
    StoredConversation,
    StoredDevice,
    StoredEndedUser,
    StoredFormerMember,
    StoredMember,
    StoredMessage,
    StoredPending,
    StoredQuarantine,
    StoredRow,
)
from landline.model import Entry, Position, Positions

AUDIT_ROWS = 1_000
_WINDOW_ENTRIES = 64  # each may have 16 KiB and more
_LOWEST: Final = -(2**63)

_APPLIED = statement("sqlite", "applied")
_AUDIT_SPAN = statement("sqlite", "audit_span")
_AUDIT_ENTRIES = statement("sqlite", "audit_entries")
_AUDIT_PURGED = statement("sqlite", "audit_purged")

# Of each table: how a page is read behind a key, which is the start of a row; the key before all;
# and what a row is to the audit.
_TABLES: Final[Sequence[tuple[str, Sequence[Any], Callable[..., StoredRow]]]] = (
    (
        statement("sqlite", "audit_messages"),
        ("",),
        lambda id, conversation, sender, content, partition, offset, *rest: StoredMessage(
            id, conversation, sender, content, Position(partition, offset), *rest
        ),
    ),
    (statement("sqlite", "audit_conversations"), (_LOWEST,), StoredConversation),
    (statement("sqlite", "audit_members"), (_LOWEST, ""), StoredMember),
    (statement("sqlite", "audit_former_members"), (_LOWEST, "", _LOWEST), StoredFormerMember),
    (
        statement("sqlite", "audit_devices"),
        (_LOWEST,),
        lambda id, user, device, since: StoredDevice(
            id, user, device, {} if since is None else {PARTITION: since}
        ),
    ),
    (
        statement("sqlite", "audit_pending"),
        (_LOWEST, _LOWEST),
        lambda id, offset, conversation_id, is_received: StoredPending(
            id, Position(PARTITION, offset), conversation_id, bool(is_received)
        ),
    ),
    (
        statement("sqlite", "audit_ended_users"),
        ("",),
        lambda user, offset: StoredEndedUser(user, Position(PARTITION, offset)),
    ),
    (
        statement("sqlite", "audit_quarantine"),
        (_LOWEST, _LOWEST),
        lambda partition, offset, reason: StoredQuarantine(Position(partition, offset), reason),
    ),
)


@contextmanager
def open_audit_file(directory: Path) -> Iterator["SqliteAuditFile"]:
    """Open the file for the length of a `with` block. Raises: UnusableDataDirectory."""
    path = check_is_there(directory)
    try:
        with closing(connect(path, "ro")) as connection:
            connection.execute("BEGIN")
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version < FILE_SCHEMA_VERSION:
                raise refused(
                    path,
                    f"was written by an older Landline (schema {version}, this one:"
                    f" {FILE_SCHEMA_VERSION})",
                    "start a server of this version on it, which brings it up to date",
                )
            yield SqliteAuditFile(connection)
    except sqlite3.Error as error:
        raise refused(path, f"cannot be read: {error}") from error


def check_is_there(directory: Path) -> Path:
    """Return the path of a server's file. Raises: UnusableDataDirectory."""
    path = directory / FILE_NAME
    check_file(path)
    if not path.exists() or not path.stat().st_size:
        raise refused(
            path, "is not there", "give the directory of a server that has run: its --data-dir"
        )
    return path


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

    async def purged(self) -> Positions:
        """Read how far messages may be gone."""
        return dict(self._fetch(_AUDIT_PURGED))

    async def rows(self) -> AsyncIterator[Sequence[StoredRow]]:
        """Walk a key of each table."""
        for sql, after, row_of in _TABLES:
            key = after
            while rows := self._fetch(sql, *key, AUDIT_ROWS):
                key = rows[-1][: len(key)]
                yield [row_of(*row) for row in rows]

    def _fetch(self, sql: str, *arguments: Any) -> list[Any]:
        return self._connection.execute(sql, arguments).fetchall()
