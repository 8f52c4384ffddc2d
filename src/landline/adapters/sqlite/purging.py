"""What is old is removed little by little: entries of the log, and messages that nobody is owed."""

import sqlite3
from typing import Final

from landline.adapters.sqlite.rows import NO_ROWS, taken
from landline.adapters.statements import statement

_PURGE_LOG: Final = statement("sqlite", "purge_log")
_OLD_MESSAGES: Final = statement("sqlite", "old_messages")
_PURGE_MESSAGES: Final = statement("sqlite", "purge_messages")
_NOTE_PURGED: Final = statement("sqlite", "note_purged")


def purge_log(
    connection: sqlite3.Connection, before_ms: int, applied_offset: int, limit: int
) -> int:
    """Remove at most `limit` entries; return how many. Raises: sqlite3.Error."""
    asked = {"before": before_ms, "applied": applied_offset, "limit": limit}
    return connection.execute(_PURGE_LOG, asked).rowcount


def purge_messages(
    connection: sqlite3.Connection, before_ms: int, after_offset: int, limit: int
) -> tuple[int, int | None]:
    """Look at `limit` messages, and remove those that may go. Returns how many, and where to go on.

    Raises: sqlite3.Error.
    """
    asked = {"before": before_ms, "after": after_offset, "limit": limit}
    offsets, next_offset = connection.execute(_OLD_MESSAGES, asked).fetchone()
    if offsets == NO_ROWS:
        return 0, next_offset
    removed = connection.execute(_PURGE_MESSAGES, {"offsets": offsets}).rowcount
    before = max(taken(offsets)) + 1
    connection.execute(_NOTE_PURGED, {"partition": 0, "before_offset": before})
    return removed, next_offset
