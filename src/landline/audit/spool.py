"""The log, folded, in the order of the messages' ids: in a temporary file, not in memory.

SQLite makes the file when its cache is full and deletes it when it is closed. Contents are kept
as digests.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import NamedTuple

import orjson

from landline.audit.comparison import LoggedMessage, digest
from landline.audit.sources import StoredQuarantine
from landline.model import Entry, Position
from landline.protocol.records import BadRecord, MessageRecord, decode_entry

_CACHE_KIB = 64 * 1024
_PAGE_ROWS = 1_000

_SCHEMA = """
    CREATE TABLE message (
        id TEXT PRIMARY KEY, conversation TEXT, sender TEXT, digest BLOB, recipients BLOB,
        partition INTEGER, offset INTEGER, time_ms INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE receipt (id TEXT, recipient TEXT, PRIMARY KEY (id, recipient)) WITHOUT ROWID;
    CREATE TABLE quarantine (
        partition INTEGER, offset INTEGER, PRIMARY KEY (partition, offset)
    ) WITHOUT ROWID;
"""
_ADD_MESSAGE = """
    INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
    SET conversation = excluded.conversation, sender = excluded.sender, digest = excluded.digest,
        recipients = excluded.recipients, partition = excluded.partition,
        offset = excluded.offset, time_ms = excluded.time_ms
    WHERE (excluded.offset, excluded.partition) < (message.offset, message.partition)
"""


class LoggedReceipt(NamedTuple):
    """A receipt that the log has."""

    id: str
    recipient: str


class Spool:
    """Takes the entries of the log in any order of the partitions."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.executescript(f"BEGIN; {_SCHEMA}")

    def quarantine(self, rows: Iterable[StoredQuarantine]) -> None:
        """Take note of records that count for nothing."""
        self._file.executemany(
            "INSERT INTO quarantine VALUES (?, ?)", [row.position for row in rows]
        )

    def add(self, entries: Sequence[Entry]) -> Iterator[tuple[Position, str]]:
        """Fold entries. Yields position and reason of those that nobody can read and that are
        not in quarantine.
        """
        for entry in entries:
            if self._is_quarantined(entry.position):
                continue
            try:
                record = decode_entry(entry)
            except BadRecord as error:
                yield entry.position, str(error)
                continue
            if isinstance(record, MessageRecord):
                row = (
                    record.message_id, record.conversation, record.sender, digest(record.content),
                    orjson.dumps(record.recipients), *entry.position, entry.time_ms,
                )  # fmt: skip
                self._file.execute(_ADD_MESSAGE, row)
            else:
                self._file.executemany(
                    "INSERT OR IGNORE INTO receipt VALUES (?, ?)",
                    [(id, record.recipient) for id in record.message_ids],
                )

    async def messages(self) -> AsyncIterator[Sequence[LoggedMessage]]:
        """Yield the first record of every message, in the order of the ids."""
        rows = self._file.execute("SELECT * FROM message ORDER BY id")
        while page := rows.fetchmany(_PAGE_ROWS):
            yield [
                LoggedMessage(
                    id, conversation, sender, known_by, frozenset(orjson.loads(recipients)),
                    Position(partition, offset), time_ms,
                )
                for id, conversation, sender, known_by, recipients, partition, offset, time_ms
                in page
            ]  # fmt: skip

    async def receipts(self) -> AsyncIterator[Sequence[LoggedReceipt]]:
        """Yield every receipt, in the order of the messages' ids."""
        rows = self._file.execute("SELECT id, recipient FROM receipt ORDER BY id, recipient")
        while page := rows.fetchmany(_PAGE_ROWS):
            yield [LoggedReceipt(*row) for row in page]

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _is_quarantined(self, position: Position) -> bool:
        row = self._file.execute(
            "SELECT 1 FROM quarantine WHERE partition = ? AND offset = ?", position
        ).fetchone()
        return row is not None
