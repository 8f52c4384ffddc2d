"""Log and store side by side in a temporary file, not in memory.

SQLite makes the file when its cache is full and deletes it when it is closed. Contents are kept as
digests. `record` is the log without its contents; the tables whose names begin with `stored` are
the store, by names instead of the store's own numbers. What the log comes to is added by `fold.py`.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

from landline.audit.comparison import Horizon
from landline.audit.sources import (
    DEFAULT_MAILBOX,
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
from landline.model import Entry, EventKind, Position
from landline.protocol.records import (
    BadRecord,
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptRecord,
    Record,
    RoomRecord,
    decode_entry,
    redriven_from,
)

_CACHE_KIB = 64 * 1024
_PAGE_ROWS = 1_000

_SCHEMA = """
    -- `id`, `sender` and the facts are those of events. `body` is what decides who is owed what.
    CREATE TABLE record (
        partition INTEGER, offset INTEGER, kind TEXT, version INTEGER, id TEXT, conversation TEXT,
        sender TEXT, device TEXT, digest BLOB, details BLOB, time_ms INTEGER, body BLOB,
        PRIMARY KEY (partition, offset)
    ) WITHOUT ROWID;
    CREATE TABLE redriven (
        partition INTEGER, offset INTEGER, PRIMARY KEY (partition, offset)
    ) WITHOUT ROWID;

    CREATE TABLE stored_message (
        id TEXT PRIMARY KEY, conversation TEXT, sender TEXT, kind TEXT, digest BLOB, details BLOB,
        time_ms INTEGER, partition INTEGER, offset INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE stored_conversation (
        id INTEGER PRIMARY KEY, name TEXT UNIQUE, kind TEXT, history TEXT, title TEXT,
        last_offset INTEGER, last_time_ms INTEGER
    );
    CREATE TABLE stored_member (
        conversation_id INTEGER, user TEXT, role TEXT, joined INTEGER, number INTEGER,
        read INTEGER, PRIMARY KEY (conversation_id, user)
    ) WITHOUT ROWID;
    CREATE TABLE stored_former (
        conversation_id INTEGER, user TEXT, joined INTEGER, departed INTEGER,
        PRIMARY KEY (conversation_id, user, joined)
    ) WITHOUT ROWID;
    CREATE TABLE stored_mailbox (id INTEGER PRIMARY KEY, user TEXT, device TEXT);
    CREATE TABLE stored_device (
        user TEXT, partition INTEGER, device TEXT, since INTEGER,
        PRIMARY KEY (user, partition, device)
    ) WITHOUT ROWID;
    CREATE TABLE stored_pending (
        mailbox_id INTEGER, partition INTEGER, offset INTEGER, conversation_id INTEGER,
        is_received INTEGER, PRIMARY KEY (mailbox_id, partition, offset)
    ) WITHOUT ROWID;
    CREATE TABLE stored_ended (
        user TEXT, partition INTEGER, before INTEGER, PRIMARY KEY (user, partition)
    ) WITHOUT ROWID;
    CREATE TABLE quarantine (
        partition INTEGER, offset INTEGER, PRIMARY KEY (partition, offset)
    ) WITHOUT ROWID;
"""
# When everything of the store is there. A row of `pending` without a mailbox or a conversation of
# its own is looked for elsewhere (tables.py).
_STORE_IS_COMPLETE = """
    CREATE INDEX stored_place ON stored_message (partition, offset);
    CREATE TABLE stored_owed (
        user TEXT, partition INTEGER, offset INTEGER, device TEXT, conversation TEXT,
        is_received INTEGER, PRIMARY KEY (user, partition, offset, device)
    ) WITHOUT ROWID;
    INSERT OR IGNORE INTO stored_owed
        SELECT user, partition, offset, device, stored_conversation.name, is_received
        FROM stored_pending JOIN stored_mailbox ON stored_mailbox.id = mailbox_id
        LEFT JOIN stored_conversation ON stored_conversation.id = conversation_id
        ORDER BY user, partition, offset, device;
"""
# A record that stands in the log again, at its end, counts there and nowhere else.
_LOG_IS_COMPLETE = """
    DELETE FROM record WHERE (partition, offset) IN (SELECT partition, offset FROM redriven);
    CREATE INDEX record_id ON record (id, partition, offset) WHERE id IS NOT NULL;
"""
_ADD_RECORD = "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Rows(NamedTuple):
    """How rows of a table of the store are entered."""

    sql: str
    values: Callable[[Any], Sequence[Any]]


_STORED: Final[dict[type[StoredRow], Rows]] = {
    StoredMessage: Rows(
        "INSERT OR REPLACE INTO stored_message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        lambda row: (
            row.id, row.conversation, row.sender, row.kind, digest(row.content),
            digest_of_details(row.data), row.time_ms, *row.position,
        ),
    ),
    StoredConversation: Rows("INSERT INTO stored_conversation VALUES (?, ?, ?, ?, ?, ?, ?)", tuple),
    StoredMember: Rows("INSERT INTO stored_member VALUES (?, ?, ?, ?, ?, ?)", tuple),
    StoredFormerMember: Rows("INSERT INTO stored_former VALUES (?, ?, ?, ?)", tuple),
    StoredDevice: Rows("INSERT INTO stored_mailbox VALUES (?, ?, ?)", lambda row: row[:3]),
    StoredPending: Rows(
        "INSERT INTO stored_pending VALUES (?, ?, ?, ?, ?)",
        lambda row: (row.mailbox_id, *row.position, row.conversation_id, row.is_received),
    ),
    StoredEndedUser: Rows(
        "INSERT INTO stored_ended VALUES (?, ?, ?)", lambda row: (row.user, *row.before)
    ),
    StoredQuarantine: Rows(
        "INSERT INTO quarantine VALUES (?, ?)", lambda row: row.position
    ),
}  # fmt: skip


def digest(content: str) -> bytes:
    """Return what stands for a content."""
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def digest_of_details(data: str | None) -> bytes | None:
    """Return what stands for a JSON object: it may be written in several ways."""
    if data is None:
        return None
    try:
        return _digest_of(orjson.loads(data))
    except orjson.JSONDecodeError:
        return b"not JSON"


def _digest_of(details: object) -> bytes:
    canonical = orjson.dumps(details, option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=16).digest()


class Spool:
    """Takes the rows of the store in any order, then the entries of the log in any order of the
    partitions.
    """

    def __init__(self) -> None:
        self.file = sqlite3.connect("", isolation_level=None)
        self.file.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self.file.execute("PRAGMA journal_mode = OFF")
        self.script(_SCHEMA)

    def store(self, page: Sequence[StoredRow]) -> None:
        """Take a page of rows, all of one table."""
        if page:
            rows = _STORED[type(page[0])]
            self.file.executemany(rows.sql, map(rows.values, page))
        for row in page:
            if isinstance(row, StoredDevice) and row.device != DEFAULT_MAILBOX:
                self.file.executemany(
                    "INSERT OR IGNORE INTO stored_device VALUES (?, ?, ?, ?)",
                    [(row.user, each, row.device, since) for each, since in row.since.items()],
                )

    def end_store(self) -> None:
        """Everything of the store is there."""
        self.script(_STORE_IS_COMPLETE)

    def first_stored(self, partition: int, offset: int) -> int | None:
        """Return the first offset from this one on at which a message is stored."""
        found: int | None
        [found] = self.file.execute(
            "SELECT min(offset) FROM stored_message WHERE partition = ? AND offset >= ?",
            (partition, offset),
        ).fetchone()
        return found

    def log(self, entries: Sequence[Entry], horizon: Horizon) -> Iterator[tuple[Position, str]]:
        """Take entries. Yields position and reason of those that nobody can read and that are not
        in quarantine.
        """
        for entry in entries:
            if self._is_quarantined(entry.position):
                continue
            try:
                record = decode_entry(entry)
            except BadRecord as error:
                # Where it was applied in another epoch, it is in quarantine at another position.
                if entry.position.offset >= horizon.begin(entry.position.partition):
                    yield entry.position, str(error)
                continue
            self.file.execute(_ADD_RECORD, _row(entry, record))

    def note_redriven(self, entries: Sequence[Entry]) -> None:
        """Take note of the records that these entries stand for, wherever those are."""
        for entry in entries:
            if (origin := redriven_from(entry.value)) is not None:
                self.file.execute("INSERT OR IGNORE INTO redriven VALUES (?, ?)", origin)

    def end_log(self) -> None:
        """Everything of the log is there."""
        self.script(_LOG_IS_COMPLETE)

    def script(self, sql: str) -> None:
        """Run several statements. Everything is one transaction but for that."""
        self.file.executescript(f"{sql}; BEGIN")  # it commits what was before it

    def rows(self, sql: str, *arguments: Any) -> Iterator[Any]:
        """Ask, and yield the answer row by row."""
        found = self.file.execute(sql, arguments)
        while page := found.fetchmany(_PAGE_ROWS):
            yield from page

    def row(self, sql: str, *arguments: Any) -> Any:
        """Ask for one row, None where there is none."""
        return self.file.execute(sql, arguments).fetchone()

    def close(self) -> None:
        """Delete the file."""
        self.file.close()

    def _is_quarantined(self, position: Position) -> bool:
        sql = "SELECT 1 FROM quarantine WHERE partition = ? AND offset = ?"
        return self.row(sql, *position) is not None


def _row(entry: Entry, record: Record) -> Sequence[Any]:
    """Return the row of `record`. What it comes to is worked out later, in the log's order."""
    at = entry.position
    if isinstance(record, DeviceRecord):
        body = orjson.dumps([record.user, record.device, record.is_added])
        return *at, "device", *(None,) * 8, body
    if isinstance(record, ReceiptRecord):
        body = orjson.dumps([tuple(each) for each in record.entries])
        return *at, "receipt", None, None, record.conversation, *(None,) * 5, body
    if isinstance(record, ReadRecord):
        body = orjson.dumps(record.entries)
        return *at, "read", None, None, record.conversation, *(None,) * 5, body
    kind, content, details, body = _event(record)
    version = orjson.loads(entry.value)["v"]
    return (
        *at, kind, version, record.message_id, record.conversation, record.sender, record.device,
        digest(content), details, entry.time_ms, body,
    )  # fmt: skip


def _event(record: MessageRecord | RoomRecord | MemberRecord) -> tuple[str, str, Any, bytes]:
    """Return kind, content, what stands for the details, and what has to be worked out."""
    if isinstance(record, MessageRecord):
        details = digest_of_details(record.data)
        return EventKind.MESSAGE, record.content, details, orjson.dumps(record.recipients)
    if isinstance(record, RoomRecord):
        body = orjson.dumps([record.title, record.history, record.members])
        return EventKind.ROOM, "", _digest_of({"title": record.title}), body
    change = {"user": record.user, "change": record.change, "role": record.role}
    return EventKind.MEMBER, "", _digest_of(change), orjson.dumps(list(change.values()))
