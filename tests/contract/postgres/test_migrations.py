"""The schema on its way from one version to the next, with servers of both at work on it."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from landline.adapters.postgres import PostgresMessageStore, migrate, migrations
from landline.adapters.postgres.lane import connect
from landline.adapters.postgres.migrations import POSTGRES_SCHEMA_VERSION
from landline.adapters.postgres.migrations.script import Script
from landline.config.values import SecretUrl
from landline.errors import StartupError
from landline.model import Batch, Mailbox, Message, PendingQuery, Position, Receipt
from support.pages import code_blocks, read, section
from support.postgres import execute, fetch
from support.version_before import (
    SCHEMA_VERSION,
    StoreBefore,
    make_before,
    sql_before,
    start_before,
)
from support.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("patient_postgres")]

SECONDS = 30.0
INDEXES = """
    SELECT indexrelid::regclass::text, indisvalid FROM pg_index
    WHERE indrelid = 'messages'::regclass ORDER BY 1
"""
# In these collations the order differs from that of the bytes.
NAMES = ["Zoe", "adam", "Ärmel", "zoe", "ähre", "A-b", "Ab", "_x", "bob"]


def message(number: int, offset: int, *recipients: str) -> Message:
    id = f"{number:08x}-0000-8000-8000-00000000c0de"
    position = Position(0, offset)
    return Message(id, "c", "alice", recipients or ("bob",), "x", position, 1_767_323_045_678)


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Adds a migration to those that there are."""

    def change(text: str) -> None:
        script = Script(f"{POSTGRES_SCHEMA_VERSION + 1:04d}_added.sql", text)
        scripts = [*migrations.load_migrations(), script]
        monkeypatch.setattr(migrations, "load_migrations", lambda: scripts)
        monkeypatch.setattr(migrations, "POSTGRES_SCHEMA_VERSION", POSTGRES_SCHEMA_VERSION + 1)

    return change


# --- outside a transaction -----------------------------------------------------------------------

_BY_SENDER = """-- landline: outside a transaction
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_by_sender ON messages (sender);
CREATE INDEX CONCURRENTLY IF NOT EXISTS two_by_sender ON messages (sender);
"""


async def test_a_migration_that_was_interrupted_is_run_again_over_what_it_left(
    database: SecretUrl, add: Callable[[str], None]
) -> None:
    await migrate(database)
    rows = "INSERT INTO messages VALUES (gen_random_uuid(), 'c', 'al', 'x', now(), 0, $1)"
    await execute(database.reveal(), rows, 1)
    await execute(database.reveal(), rows, 2)
    add(_BY_SENDER)
    with pytest.raises(StartupError, match="rows are there twice"):
        await migrate(database)
    left = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('one_by_sender')"
    assert await fetch(database.reveal(), left) == [(False,)]
    await execute(database.reveal(), "DELETE FROM messages WHERE log_offset = 1")
    assert await migrate(database) == 1
    assert await fetch(database.reveal(), left) == [(True,)]
    assert await fetch(database.reveal(), left.replace("one_", "two_")) == [(True,)]
    assert await migrate(database) == 0


async def test_servers_of_both_versions_start_and_write_while_an_index_is_built(
    database: SecretUrl,
) -> None:
    """An index that is built concurrently waits for every older transaction; nobody waits for it.

    A server that waited for its turn inside a transaction would be one of those it waits for.
    """
    await make_before(database, 1)
    store = StoreBefore(database, "ws-1")
    holder = await asyncpg.connect(database.reveal())
    try:
        await holder.execute("CREATE TABLE another (number integer)")
        await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM another")
        starting = [asyncio.create_task(migrate(database)) for _ in range(3)]

        async def is_building() -> bool:
            return await fetch(database.reveal(), INDEXES) == [
                ("messages_pkey", True),
                ("messages_position", False),
            ]

        await until(is_building, "the index is being built")
        assert await start_before(database) == 1
        assert await store.apply([Batch(0, 0, 1, (message(1, 0),))])
        assert not any(task.done() for task in starting)
        await holder.execute("COMMIT")
        async with asyncio.timeout(SECONDS):
            counts = sorted(await asyncio.gather(*starting))
            assert counts == [0, 0, POSTGRES_SCHEMA_VERSION - SCHEMA_VERSION]
    finally:
        await holder.close()
        await store.close()
    assert await fetch(database.reveal(), INDEXES) == [
        (name, True) for name in ("messages_pkey", "messages_position", "messages_timeline")
    ]


async def test_a_table_that_others_use_for_long_is_not_waited_for(
    database: SecretUrl, add: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "TABLE_MILLISECONDS", 200)
    await migrate(database)
    add("ALTER TABLE messages ADD COLUMN anything text;")
    holder = await asyncpg.connect(database.reveal())
    try:
        await holder.execute("BEGIN; LOCK TABLE messages IN ACCESS SHARE MODE")
        with pytest.raises(StartupError, match="in use by others"):
            await migrate(database)
        await holder.execute("ROLLBACK")  # its session may outlive it for a moment
    finally:
        await holder.close()
    assert await migrate(database) == 1


async def test_only_a_migration_that_says_so_keeps_older_servers_out(
    database: SecretUrl, add: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_before(database, 1)
    await migrate(database)
    assert await start_before(database) == 1
    with monkeypatch.context() as newer:
        scripts = [
            *migrations.load_migrations(),
            Script(f"{POSTGRES_SCHEMA_VERSION + 1:04d}_a.sql", "SELECT 1;"),
            Script(
                f"{POSTGRES_SCHEMA_VERSION + 2:04d}_b.sql",
                f"-- landline: needs {POSTGRES_SCHEMA_VERSION + 1}\nSELECT 1;",
            ),
        ]
        newer.setattr(migrations, "load_migrations", lambda: scripts)
        newer.setattr(migrations, "POSTGRES_SCHEMA_VERSION", POSTGRES_SCHEMA_VERSION + 1)
        assert await migrate(database) == 1
        newer.undo()
        assert await migrate(database) == 0  # this version goes on on the schema of the next one
    monkeypatch.setattr(migrations, "load_migrations", lambda: scripts)
    with monkeypatch.context() as newest:
        newest.setattr(migrations, "POSTGRES_SCHEMA_VERSION", POSTGRES_SCHEMA_VERSION + 2)
        assert await migrate(database) == 1
    with pytest.raises(
        StartupError, match=f"newer Landline \\(schema {POSTGRES_SCHEMA_VERSION + 1}"
    ):
        await migrate(database)


async def test_rows_that_a_damaged_index_let_in_twice_are_joined_as_the_runbook_says(
    database: SecretUrl,
) -> None:
    """Migration 2 finds them: the first version had no index by bytes."""
    await execute(database.reveal(), sql_before("schema_1"))
    await execute(
        database.reveal(),
        """
        CREATE TABLE landline_schema (
            version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
        INSERT INTO landline_schema (version) VALUES (1);
        ALTER TABLE deliveries DROP CONSTRAINT deliveries_pkey;
        CREATE INDEX deliveries_pkey ON deliveries (message_id, recipient);
        INSERT INTO messages VALUES (gen_random_uuid(), 'c', 'al', 'x', now(), 0, 7);
        INSERT INTO deliveries (message_id, recipient, mailbox, delivered_at, log_partition,
                                log_offset)
            SELECT message_id, 'bob', 'bob', delivered_at, partition, at FROM messages, (VALUES
                (NULL, 0, 7), ('2026', NULL, NULL), ('2025', 1, 9)
            ) AS v (delivered_at, partition, at)
        """,
    )
    with pytest.raises(StartupError, match=r"'Rows that are there twice' in docs/runbook\.md"):
        await migrate(database)
    page = section(read("docs/runbook.md"), "## Rows that are there twice")
    [join] = code_blocks(page, "sql")
    await execute(database.reveal(), join)
    assert await migrate(database) == POSTGRES_SCHEMA_VERSION - 1
    rows = "SELECT recipient, delivered_at, log_partition, log_offset FROM deliveries"
    assert await fetch(database.reveal(), rows) == [("bob", "2025", 0, 7)]


# --- the version before on the new schema --------------------------------------------------------


async def exercise(store: PostgresMessageStore, start: int) -> None:
    """Apply a message and its receipt, twice, and read what is owed in between."""
    facts = message(start, start, *NAMES)
    assert await store.apply([Batch(0, start, start + 1, (facts,))])
    assert await store.apply([Batch(0, start + 1, start + 2, (facts,))])
    for name in NAMES:
        [page] = await store.pending([PendingQuery(Mailbox(name), {0: start}, 10)])
        assert [each.id for each in page.messages] == [facts.id]
    receipts = tuple(Receipt(facts.id, Mailbox(name), "2026", start + 2) for name in NAMES)
    assert await store.apply([Batch(0, start + 2, start + 3, (), receipts)])
    for name in NAMES:
        [page] = await store.pending([PendingQuery(Mailbox(name), {0: start}, 10)])
        assert page.messages == ()


async def test_the_version_before_runs_on_the_new_schema(database: SecretUrl) -> None:
    """Its conflicts are found, its rows are not doubled, and it takes turns between both."""
    await make_before(database, 1)
    old, new = StoreBefore(database, "ws-1"), PostgresMessageStore(database, "ws-2")
    await exercise(old, 0)
    await migrate(database)
    await exercise(old, 3)
    await exercise(new, 6)
    await exercise(old, 9)
    doubled = "SELECT FROM deliveries GROUP BY message_id, recipient HAVING count(*) > 1"
    assert await fetch(database.reveal(), doubled) == []
    assert await start_before(database) == 1
    assert await old.others() == ["ws-2"]
    assert await new.others() == ["ws-1"]
    await old.close()
    await new.close()


async def test_turns_of_the_version_before_find_what_this_one_has_written(
    database: SecretUrl,
) -> None:
    await make_before(database, 1)
    await migrate(database)
    store = PostgresMessageStore(database, "ws-1")
    assert await store.apply([Batch(0, 0, 5, tuple(message(n, n) for n in range(5)))])
    await store.close()
    connection = await connect(database, "landline-old", SECONDS)
    arguments: tuple[Any, ...] = (["bob"], [2], 0, [], [1_000], [""], [-1], [1], 4, [], [], [], [])
    rows = await connection.fetch(sql_before("turns"), *arguments)
    plan = await connection.fetch(f"EXPLAIN {sql_before('turns')}", *arguments)
    await connection.close()
    kinds = [row["kind"] for row in rows]
    assert [kinds.count(kind) for kind in range(5)] == [1, 2, 1, 2, 4]
    assert "Seq Scan on deliveries" not in str(plan)


# --- by bytes ------------------------------------------------------------------------------------


async def test_every_text_that_is_compared_is_by_bytes(database: SecretUrl) -> None:
    await migrate(database)
    columns = """
        SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'text'
            AND collation_name IS DISTINCT FROM 'C'
    """
    assert {name for (name,) in await fetch(database.reveal(), columns)} == {
        "conversations.title",
        "ended_users.name",
        "log_identity.cluster_id",
        "log_identity.topic_id",
        "message_status.status",
        "messages.content",
        "messages.data",
        "quarantine.reason",
    }


# --- what no change of the code may take away -----------------------------------------------------


async def test_migrating_rewrites_no_table(database: SecretUrl) -> None:
    """Rows that are there stay where they are: it takes no longer where there are many."""
    await make_before(database, 1)
    files = "SELECT relname, relfilenode FROM pg_class WHERE relname IN ('messages', 'deliveries')"
    before = await fetch(database.reveal(), files)
    await migrate(database)
    assert await fetch(database.reveal(), files) == before
