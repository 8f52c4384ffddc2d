"""Writes `landline.db` as the version before did: its tables, filled by its own statements."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from landline.adapters.sqlite.opening import APPLICATION_ID, FILE_NAME
from landline.model import Message, Receipt

_SQL = Path(__file__).parent / "sqlite_1"

# What files had that were made before there were turns, and before revocations. Landline could go
# back and forth between the three: all bear the number 1.
BEFORE_TURNS = """
    DROP INDEX deliveries_turns;
    DROP INDEX deliveries_without_conversation;
    ALTER TABLE deliveries DROP COLUMN conversation;
    DROP TABLE revocations;
"""


def _sql(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text("utf-8")


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[sqlite3.Connection]:
    """Open the file in a directory, as it is, for whatever a test does to it."""
    directory.mkdir(exist_ok=True, parents=True)
    connection = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
    with contextlib.closing(connection):
        yield connection


def make_file(
    directory: Path,
    messages: Sequence[Message] = (),
    receipts: Sequence[Receipt] = (),
    *scripts: str,
) -> None:
    """Make a file of version 1 that has applied these, in this order; then run the scripts."""
    with opened(directory) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"{_sql('schema')} {_sql('revocations')}"
            f" PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;"
        )
        end = max((each.position.offset for each in messages), default=-1) + 1
        end = max([end, *(each.offset + 1 for each in receipts)])
        facts = [
            (m.id, m.conversation, m.sender, m.content, m.time_ms, m.position.offset)
            for m in messages
        ]
        owed = [
            (m.id, user, m.position.offset, m.conversation)
            for m in messages
            for user in m.recipients
        ]
        received = [(each.message_id, each.mailbox.user, each.delivered_at) for each in receipts]
        connection.execute("BEGIN")
        connection.execute(_sql("move_applied"), (0, end, 0, 0))
        connection.execute(_sql("add_messages"), (0, orjson.dumps(facts).decode()))
        connection.execute(_sql("add_deliveries"), (orjson.dumps(owed).decode(),))
        connection.execute(_sql("add_receipts"), (orjson.dumps(received).decode(),))
        for offset in range(end):
            connection.execute(
                "INSERT INTO log VALUES (?, ?, 'k', x'00')", (offset, 1_000 + offset)
            )
        connection.execute("COMMIT")
        for script in scripts:
            connection.executescript(script)
