"""A file of the version before, opened; and again after that version was there once more."""

import sqlite3
from pathlib import Path

from landline.adapters.sqlite import Database, SqliteMessageStore, SqliteRevocations
from landline.adapters.sqlite.opening import FILE_NAME
from landline.model import FIRST_TURN, Batch, Message, Pending, PendingQuery, Position, Turn

_BACK = """
    DROP INDEX deliveries_turns;
    DROP INDEX deliveries_without_conversation;
    ALTER TABLE deliveries DROP COLUMN conversation;
"""
_WRITE_AS_BEFORE = """
    INSERT INTO messages (message_id, conversation, sender, content, created_at, log_partition,
                          log_offset)
    VALUES ('old', 'dm:bob:carol', 'carol', 'x', 1, 0, 10);
    INSERT INTO deliveries (message_id, recipient, mailbox, status, log_offset)
    VALUES ('old', 'bob', 'bob', 'UNDELIVERED', 10);
"""


async def asked(directory: Path, batch: Batch | None = None) -> Pending:
    """Open the file, perhaps apply a batch, and return the first messages of bob in turns."""
    database = Database(directory, lambda _why: None)
    store = SqliteMessageStore(database)
    if batch is not None:
        assert await store.apply([batch])
    [pending] = await store.pending([PendingQuery("bob", {}, 1, FIRST_TURN)])
    await database.close()
    return pending


def change(directory: Path, script: str) -> None:
    connection = sqlite3.connect(directory / FILE_NAME)
    connection.executescript(script)
    connection.close()


async def test_every_pending_row_has_its_conversation_whoever_wrote_it(tmp_path: Path) -> None:
    sent = tuple(
        Message(f"m{n}", "dm:alice:bob", "alice", ("bob",), "x", Position(0, n), 1)
        for n in range(3)
    )
    await asked(tmp_path, Batch(0, 0, 3, sent))
    change(tmp_path, _BACK)
    pending = await asked(tmp_path)
    assert [each.id for each in pending.ahead] == ["m0", "m1"]
    assert pending.turn == Turn("dm:alice:bob", 0)
    change(tmp_path, _WRITE_AS_BEFORE)
    await asked(tmp_path)
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    rows = connection.execute("SELECT message_id, conversation FROM deliveries ORDER BY 1")
    assert dict(rows.fetchall()) == {
        **dict.fromkeys(("m0", "m1", "m2"), "dm:alice:bob"),
        "old": "dm:bob:carol",
    }
    connection.close()


async def test_a_file_without_revocations_gets_them_and_keeps_them(tmp_path: Path) -> None:
    await asked(tmp_path)
    change(tmp_path, "DROP TABLE revocations;")
    for count in (1, 2):
        database = Database(tmp_path, lambda _why: None)
        store = SqliteRevocations(database)
        await store.revoke(f"user{count}", None)
        assert len(await store.since(0, 10)) == count
        await database.close()
