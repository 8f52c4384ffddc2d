"""What the file of an embedded server holds of a run: log and store in one, read with SQLite."""

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from landline_verify.dumps.records import described, digest_of_row
from landline_verify.errors import VerifyError
from landline_verify.history.events import (
    AppliedRow,
    Dump,
    MemberRow,
    MessageRow,
    PendingRow,
    QuarantineRow,
    StatusRow,
)
from landline_verify.history.recorder import Recorder

_NAME: Final = "landline.db"
_PARTITION: Final = 0
_POLL_SECONDS: Final = 0.1
_BUSY_SECONDS: Final = 10.0


def log_end(data_dir: Path) -> int:
    """Return the offset after the last record of the log. Blocks. Raises: VerifyError."""
    try:
        with closing(_open(data_dir)) as file:
            return int(file.execute(_END).fetchone()[0])
    except sqlite3.Error as error:
        raise VerifyError(
            f"--data-dir {data_dir}: its file cannot be read ({error});"
            " run this as the user who runs the server"
        ) from None


def _open(data_dir: Path) -> sqlite3.Connection:
    address = f"{(data_dir / _NAME).absolute().as_uri()}?mode=ro"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)


def dump_file(
    data_dir: Path, recorder: Recorder, prefix: str, *, start: int, seconds: float
) -> None:
    """Write down what the file holds, its log from `start`, from one snapshot. Blocks.

    The server may run; its writer has so many seconds to come to the end of the log.
    """
    is_complete = False
    with suppress(sqlite3.Error), closing(_open(data_dir)) as file:
        deadline = time.monotonic() + seconds
        file.execute("BEGIN")  # its snapshot is taken by the first question
        while file.execute(_LAG).fetchone()[0] > 0 and time.monotonic() < deadline:
            file.execute("ROLLBACK")
            time.sleep(_POLL_SECONDS)
            file.execute("BEGIN")
        _dump(file, recorder, prefix, start)
        is_complete = True
    for what in ("store", "log"):
        recorder.record(Dump(recorder.now(), what, is_complete))


def _dump(file: sqlite3.Connection, recorder: Recorder, prefix: str, start: int) -> None:
    record, now = recorder.record, recorder.now
    for id, sender, conversation, kind, content, data, *at in file.execute(_MESSAGES):
        if sender.startswith(prefix):
            said = digest_of_row(kind, content, data)
            record(MessageRow(now(), id, sender, conversation, said, *at))
    for id, sender, recipient, status in file.execute(_STATUSES):
        if sender.startswith(prefix) and recipient.startswith(prefix):
            record(StatusRow(now(), id, recipient, status))
    for user, device, offset, id, is_received in file.execute(_PENDING):
        if user.startswith(prefix):
            record(PendingRow(now(), user, device, _PARTITION, offset, id, bool(is_received)))
    for conversation, user, *rest in file.execute(_MEMBERS):
        if user.startswith(prefix):
            record(MemberRow(now(), conversation, user, *rest))
    for partition, offset in file.execute("SELECT log_partition, next_offset FROM applied"):
        record(AppliedRow(now(), partition, offset))
    for partition, offset, reason in file.execute(_QUARANTINE, [start]):
        record(QuarantineRow(now(), partition, offset, reason))
    for offset, value in file.execute(_LOG, [start]):
        record(described(bytes(value), now(), _PARTITION, offset, prefix))


_END: Final = "SELECT coalesce(max(offset) + 1, 0) FROM log"
_LOG: Final = "SELECT offset, value FROM log WHERE offset >= ? ORDER BY offset"
_LAG: Final = """\
SELECT (SELECT coalesce(max(offset) + 1, 0) FROM log)
     - coalesce((SELECT next_offset FROM applied WHERE log_partition = 0), 0)"""
_MESSAGES: Final = """\
SELECT message_id, sender, conversation, kind, content, data, log_partition, log_offset
FROM messages"""
_STATUSES: Final = """\
SELECT message_id, sender, recipient, status
FROM message_status JOIN messages USING (message_id)"""
_PENDING: Final = """\
SELECT user_name, nullif(device, '*'), pending.log_offset, message_id, is_received
FROM pending JOIN devices USING (mailbox_id)
LEFT JOIN messages ON messages.log_offset = pending.log_offset"""
_MEMBERS: Final = """\
SELECT name, user_name, role, joined_offset, read_offset
FROM members JOIN conversations USING (conversation_id)"""
_QUARANTINE: Final = """\
SELECT log_partition, log_offset, reason FROM quarantine WHERE log_offset >= ?"""
