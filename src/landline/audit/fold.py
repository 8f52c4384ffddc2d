"""What the log comes to, worked out a second time: not by the writer's fold, nor by a store's SQL.

It begins with what the store says of the time before the log reaches back. See the package for
what that means. Where the log has everything, that is nothing.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from landline.audit.comparison import Difference, Horizon, Kind
from landline.audit.rooms import Rooms
from landline.audit.sources import DEFAULT_MAILBOX
from landline.audit.spool import Spool
from landline.model import EventKind, Position
from landline.protocol.identity import is_room, participants

_SCHEMA: Final = """
    CREATE TABLE begin (partition INTEGER PRIMARY KEY, offset INTEGER);

    -- Which devices are open.
    CREATE TABLE device (
        user TEXT, partition INTEGER, device TEXT, since INTEGER,
        PRIMARY KEY (user, partition, device)
    ) WITHOUT ROWID;
    -- Until when a device that is open no more may have been, since before the log reaches back.
    CREATE TABLE maybe_device (
        user TEXT, partition INTEGER, device TEXT, until INTEGER,
        PRIMARY KEY (user, partition, device)
    ) WITHOUT ROWID;

    -- What is owed to whom. Without `is_certain` there may be such a row, or not.
    CREATE TABLE owed (
        user TEXT, partition INTEGER, offset INTEGER, device TEXT, conversation TEXT,
        is_received INTEGER, is_certain INTEGER, PRIMARY KEY (user, partition, offset, device)
    ) WITHOUT ROWID;
    CREATE INDEX owed_conversation ON owed (user, conversation);
    -- Receipts that counted.
    CREATE TABLE receipt (
        user TEXT, partition INTEGER, offset INTEGER, device TEXT,
        PRIMARY KEY (user, partition, offset, device)
    ) WITHOUT ROWID;
"""
_FROM_BEFORE: Final = """
    INSERT INTO device
        SELECT user, partition, device, since FROM stored_device
        WHERE since < (SELECT offset FROM begin WHERE begin.partition = stored_device.partition);
    INSERT INTO owed
        SELECT user, partition, offset, device, conversation, is_received, 1 FROM stored_owed
        WHERE offset < coalesce(
            (SELECT begin.offset FROM begin WHERE begin.partition = stored_owed.partition),
            9223372036854775807);
"""
_RECORDS: Final = """
    SELECT record.partition, record.offset, kind, version, id, conversation, sender, device,
           time_ms, body
    FROM begin JOIN record ON record.partition = begin.partition AND record.offset >= begin.offset
    ORDER BY record.partition, record.offset
"""
_IS_STORED: Final = "SELECT 1 FROM stored_message WHERE partition = ? AND offset = ?"
_OWE: Final = "INSERT OR REPLACE INTO owed VALUES (?, ?, ?, ?, ?, ?, ?)"


class _Record(NamedTuple):
    partition: int
    offset: int
    kind: str
    version: int | None
    id: str
    conversation: str
    sender: str
    device: str | None
    time_ms: int
    body: Any

    @property
    def position(self) -> Position:
        return Position(self.partition, self.offset)


class Fold:
    """Goes through `record` once, in the order of each partition."""

    def __init__(self, spool: Spool, horizon: Horizon) -> None:
        self._spool = spool
        self._horizon = horizon
        spool.script(_SCHEMA)
        begins = [(each, horizon.begin(each)) for each in horizon.spans]
        spool.file.executemany("INSERT INTO begin VALUES (?, ?)", begins)
        spool.script(_FROM_BEFORE)
        self._rooms = Rooms(spool, horizon)
        self._find_devices_that_were_open()
        self._has_devices = spool.row("SELECT 1 FROM device") is not None
        self._has_doubts = spool.row("SELECT 1 FROM doubt") is not None

    def run(self, progress: Callable[[str], None]) -> Iterator[Difference]:
        """Fold everything. Yields receipts that can count for nothing, whoever wrote them."""
        [total] = self._spool.row("SELECT count(*) FROM record")
        for number, row in enumerate(self._spool.rows(_RECORDS)):
            if number % 1_000 == 0:
                progress(f"applied {number} of {total} records")
            record = _Record._make((*row[:-1], orjson.loads(row[-1])))
            if record.kind == "device":
                self._change_device(record)
            elif record.kind == "receipt":
                yield from self._receive(record)
            elif record.kind == "read":
                self._rooms.read(record.conversation, record.position, record.body)
            elif self._is_doubtful(record.id):
                self._doubt(record)
            elif self._place(record.id) == record.position:
                self._take_event(record)

    def _place(self, id: str) -> Position | None:
        row = self._spool.row("SELECT partition, offset FROM place WHERE id = ?", id)
        return None if row is None else Position(*row)

    def _is_doubtful(self, id: str) -> bool:
        return self._has_doubts and (
            self._spool.row("SELECT 1 FROM doubt WHERE id = ?", id) is not None
        )

    # Events ----------------------------------------------------------------------------------

    def _take_event(self, event: _Record) -> None:
        conversation = event.conversation
        recipients: Sequence[str] = event.body if event.kind == EventKind.MESSAGE else ()
        first_members = participants(conversation) or (event.sender, *recipients)
        self._rooms.see(
            conversation, event.position, event.time_ms, first_members, version=event.version or 0
        )
        if event.kind == EventKind.ROOM:
            title, history, members = event.body
            self._rooms.change(conversation, event.offset, title, history, members)
        elif event.kind == EventKind.MEMBER:
            user, step, role = event.body
            self._rooms.change_member(conversation, event.offset, user, step, role)
            if step == "remove" and self._rooms.was_removed(conversation, user, event.offset):
                self._spool.file.execute(
                    "DELETE FROM owed WHERE user = ? AND conversation = ?", (user, conversation)
                )
        self._owe(event, recipients or self._rooms.members(conversation))

    def _doubt(self, event: _Record) -> None:
        """Take an event that may be a repeat. If it stands, its place is as well."""
        is_message = event.kind == EventKind.MESSAGE
        recipients = event.body if is_message else ()
        self._rooms.doubt(
            event.conversation,
            event.position,
            participants(event.conversation) or (event.sender, *recipients),
            is_change=not is_message,
            version=event.version or 0,
        )
        if self._spool.row(_IS_STORED, *event.position) is not None:
            self._take_event(event)

    def _owe(self, event: _Record, recipients: Collection[str]) -> None:
        is_direct = not is_room(event.conversation)
        is_to_oneself = is_direct and event.kind == EventKind.MESSAGE and event.sender in recipients
        sent_from = DEFAULT_MAILBOX if event.device is None else event.device
        rows = []
        for user in {*recipients, event.sender} if is_direct else set(recipients):
            is_own = user == event.sender and not is_to_oneself
            for device in self._open_mailboxes(user, event.partition):
                if is_own and device == sent_from:
                    continue
                is_certain = not (
                    is_own and device == DEFAULT_MAILBOX and self._may_have_device(user, event)
                )
                rows.append((user, *event.position, device, event.conversation, is_own, is_certain))
        self._spool.file.executemany(_OWE, rows)

    def _open_mailboxes(self, user: str, partition: int) -> Sequence[str]:
        if not self._has_devices:
            return [DEFAULT_MAILBOX]
        rows = self._spool.rows(
            "SELECT device FROM device WHERE user = ? AND partition = ?", user, partition
        )
        return [device for (device,) in rows] or [DEFAULT_MAILBOX]

    # Receipts --------------------------------------------------------------------------------

    def _receive(self, record: _Record) -> Iterator[Difference]:
        for user, device, ids in record.body:
            for id in ids:
                at = self._place(id)
                if at is None:
                    if self._horizon.is_whole(record.partition):
                        yield _stray(id, user, "and there is no such message")
                elif at.partition == record.partition and at.offset < record.offset:
                    if not self._settle(at, user, device) and self._is_stranger(user, at):
                        yield _stray(id, user, "who is no recipient of it")
                elif at.offset < self._horizon.base:
                    # The partitions were raised meanwhile: it may have been taken as one.
                    self._spool.file.execute(
                        "UPDATE owed SET is_certain = 0"
                        " WHERE user = ? AND partition = ? AND offset = ?",
                        (user, *at),
                    )

    def _settle(self, at: Position, user: str, device: str | None) -> bool:
        """Enter a receipt; say whether anything was owed."""
        mailbox = DEFAULT_MAILBOX if device is None else device
        file, row = self._spool.file, (user, *at)
        file.execute("INSERT OR IGNORE INTO receipt VALUES (?, ?, ?, ?)", (*row, mailbox))
        gone = file.execute(
            "DELETE FROM owed WHERE user = ? AND partition = ? AND offset = ? AND device IN (?, ?)",
            (*row, mailbox, DEFAULT_MAILBOX),
        )
        if not self._has_devices:
            return gone.rowcount > 0
        left = file.execute(
            "UPDATE owed SET is_received = 1 WHERE user = ? AND partition = ? AND offset = ?", row
        )
        return gone.rowcount + left.rowcount > 0

    def _is_stranger(self, user: str, at: Position) -> bool:
        """Say whether a user was never owed what stands there, for certain."""
        row = self._spool.row(
            "SELECT conversation, sender, kind, body FROM record"
            " WHERE partition = ? AND offset = ?", *at
        )  # fmt: skip
        if row is None:
            return False
        conversation, sender, kind, body = row
        recipients = orjson.loads(body) if kind == EventKind.MESSAGE else ()
        if recipients:
            return user not in (sender, *recipients)
        return self._rooms.is_stranger(conversation, user)

    # Devices ---------------------------------------------------------------------------------

    def _find_devices_that_were_open(self) -> None:
        """Find those of which nobody knows whether they were open before the log reaches back:
        they are not any more, or began again.
        """
        sql = (
            "SELECT record.partition, record.offset, body"
            " FROM begin JOIN record ON record.partition = begin.partition"
            " AND record.offset >= begin.offset"
            " WHERE kind = 'device' AND begin.offset > 0 ORDER BY record.partition, record.offset"
        )
        for partition, offset, body in self._spool.rows(sql):
            user, device, _is_added = orjson.loads(body)
            if not self._is_open(user, partition, device):
                self._spool.file.execute(
                    "INSERT OR IGNORE INTO maybe_device VALUES (?, ?, ?, ?)",
                    (user, partition, device, offset),
                )

    def _may_have_device(self, user: str, event: _Record) -> bool:
        """Say whether the default mailbox may have been closed after all.

        For what others have sent that makes no difference in the end: when a device ends, the
        default mailbox gets what nobody has received.
        """
        row = self._spool.row(
            "SELECT 1 FROM maybe_device WHERE user = ? AND partition = ? AND until > ?",
            user,
            *event.position,
        )
        return row is not None

    def _is_open(self, user: str, partition: int, device: str) -> bool:
        sql = "SELECT 1 FROM device WHERE user = ? AND partition = ? AND device = ?"
        return self._spool.row(sql, user, partition, device) is not None

    def _change_device(self, record: _Record) -> None:
        user, device, is_added = record.body
        where = (user, record.partition, device)
        if is_added:
            self._has_devices = True
            self._spool.file.execute(
                "INSERT OR IGNORE INTO device VALUES (?, ?, ?, ?)", (*where, record.offset)
            )
        elif self._is_open(*where):
            self._close(*where)

    def _close(self, user: str, partition: int, device: str) -> None:
        """A device ends. Its rows go, those that nobody else of the user has to the default."""
        file = self._spool.file
        file.execute(
            "UPDATE owed AS mine SET device = ? WHERE user = ? AND partition = ? AND device = ?"
            " AND NOT is_received AND NOT EXISTS ("
            "   SELECT 1 FROM owed AS other WHERE other.user = mine.user"
            "   AND other.partition = mine.partition AND other.offset = mine.offset"
            "   AND other.device <> mine.device)",
            (DEFAULT_MAILBOX, user, partition, device),
        )
        for sql in (
            "DELETE FROM owed WHERE user = ? AND partition = ? AND device = ?",
            "DELETE FROM device WHERE user = ? AND partition = ? AND device = ?",
        ):
            file.execute(sql, (user, partition, device))


def _stray(id: str, user: str, why: str) -> Difference:
    return Difference(Kind.RECEIPT_STRAY, f"message {id} was received by {user}, {why}")
