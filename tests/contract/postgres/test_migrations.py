"""The schema on its way from one version to the next, with servers of both at work on it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from landline.adapters.postgres import PostgresMessageStore, message_store, migrate, migrations
from landline.adapters.postgres.audit import open_audit_store
from landline.adapters.postgres.lane import connect
from landline.adapters.postgres.migrations import LOCK_KEY, POSTGRES_SCHEMA_VERSION
from landline.adapters.postgres.migrations.script import Script
from landline.adapters.postgres.pages import pending_arguments
from landline.config.values import SecretUrl
from landline.errors import StartupError
from landline.model import (
    FIRST_TURN,
    Batch,
    LogIdentity,
    Message,
    PendingQuery,
    Position,
    Receipt,
    Turn,
)
from support.pages import code_blocks, read, section
from support.postgres import execute, fetch
from support.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("patient_postgres")]

SECONDS = 30.0
# What the version before this one runs: its schema and its statements, word for word.
BEFORE = Path(__file__).parent / "version_before"
INDEXES = """
    SELECT indexrelid::regclass::text, indisvalid FROM pg_index
    WHERE indrelid = 'deliveries'::regclass ORDER BY 1
"""
# In these collations the order differs from that of the bytes.
NAMES = ["Zoe", "adam", "Ärmel", "zoe", "ähre", "A-b", "Ab", "_x", "bob"]


def message(number: int, offset: int, *recipients: str) -> Message:
    id = f"{number:08x}-0000-8000-8000-00000000c0de"
    position = Position(0, offset)
    return Message(id, "c", "alice", recipients or ("bob",), "x", position, 1_767_323_045_678)


async def make_old(url: SecretUrl) -> None:
    """Make the schema as the version before this one left it."""
    await execute(
        url.reveal(),
        "CREATE TABLE landline_schema (version integer PRIMARY KEY,"
        " applied_at timestamptz NOT NULL DEFAULT now());"
        f"{(BEFORE / 'schema_1.sql').read_text()};"
        "INSERT INTO landline_schema (version) VALUES (1);",
    )


async def start_old(url: SecretUrl) -> int:
    """Do what the version before this one does about the schema when it starts."""
    connection = await asyncpg.connect(url.reveal())
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
            version = await connection.fetchval("SELECT max(version) FROM landline_schema")
            assert version == 1, "it would refuse to start"
    finally:
        await connection.close()
    return int(version)


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has stores run the statements of the version before from now on."""

    def change() -> None:
        monkeypatch.setattr(message_store, "_APPLY", (BEFORE / "apply.sql").read_text())
        monkeypatch.setattr(message_store, "PENDING", (BEFORE / "pending.sql").read_text())
        monkeypatch.setattr(message_store, "_FIND", (BEFORE / "find.sql").read_text())
        monkeypatch.setattr(message_store, "_APPLIED", (BEFORE / "applied.sql").read_text())
        monkeypatch.setattr(PostgresMessageStore, "_fetch", fetch_as_known)

    fetch_now = PostgresMessageStore._fetch

    async def fetch_as_known(self: Any, lane: Any, sql: str, *arguments: Any) -> Any:
        return await fetch_now(self, lane, sql, *known(sql, arguments))

    return change


def known(sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
    """Return the arguments that a statement knows: later versions add theirs at the end."""
    return arguments[: max(map(int, re.findall(r"\$(\d+)", sql)), default=0)]


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
    database: SecretUrl, as_before: Callable[[], None]
) -> None:
    """An index that is built concurrently waits for every older transaction; nobody waits for it.

    A server that waited for its turn inside a transaction would be one of those it waits for.
    """
    await make_old(database)
    as_before()
    store = PostgresMessageStore(database, "ws-1")
    await store.adopt(LogIdentity("cluster", "topic", 1))
    holder = await asyncpg.connect(database.reveal())
    try:
        await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM messages")
        await holder.execute("LOCK TABLE deliveries IN ROW EXCLUSIVE MODE")
        starting = [asyncio.create_task(migrate(database)) for _ in range(3)]

        async def is_building() -> bool:
            return await fetch(database.reveal(), INDEXES) == [
                ("deliveries_by_recipient", False),
                ("deliveries_pending", True),
                ("deliveries_pkey", True),
            ]

        await until(is_building, "the index is being built")
        assert await start_old(database) == 1
        assert await store.apply([Batch(0, 0, 1, (message(1, 0),))])
        assert not any(task.done() for task in starting)
        await holder.execute("COMMIT")
        async with asyncio.timeout(SECONDS):
            assert sorted(await asyncio.gather(*starting)) == [0, 0, POSTGRES_SCHEMA_VERSION - 1]
    finally:
        await holder.close()
        await store.close()
    assert all(is_valid for _name, is_valid in await fetch(database.reveal(), INDEXES))


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
    await migrate(database)
    assert await start_old(database) == 1
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
    await make_old(database)
    await execute(
        database.reveal(),
        """
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


# --- by bytes ------------------------------------------------------------------------------------


@pytest.fixture(params=["new", "old"])
async def migrated(request: pytest.FixtureRequest, database: SecretUrl) -> SecretUrl:
    """A database made by this version, or by the one before."""
    if request.param == "old":
        await make_old(database)
        await execute(
            database.reveal(),
            "INSERT INTO messages SELECT gen_random_uuid(), 'c', 'al', 'x', now(), 0, n"
            " FROM generate_series(1, 50) AS n;"
            "INSERT INTO deliveries (message_id, recipient, mailbox, log_partition, log_offset)"
            " SELECT message_id, 'bob', 'bob', 0, log_offset FROM messages",
        )
    await migrate(database)
    return database


@pytest.fixture
async def store(migrated: SecretUrl) -> AsyncIterator[PostgresMessageStore]:
    store = PostgresMessageStore(migrated, "ws-1")
    await store.adopt(LogIdentity("cluster", "topic", 1))
    await store.apply([Batch(0, 0, 100)])
    yield store
    await store.close()


async def plans(url: SecretUrl) -> tuple[str, str]:
    """Return how a page is read and how a row is written, as a server's connection plans it."""
    connection = await connect(url, "landline-ws-1", SECONDS)
    try:
        await connection.execute("ANALYZE")
        page = known(message_store.PENDING, pending_arguments([PendingQuery("bob", {0: 1}, 10)]))
        rows: Any = message_store._apply_arguments([Batch(0, 100, 101, (message(1, 100),))])
        read = await connection.fetch(f"EXPLAIN {message_store.PENDING}", *page)
        rows = known(message_store._APPLY, tuple(rows))
        written = await connection.fetch(f"EXPLAIN {message_store._APPLY}", *rows)
        return "\n".join(row[0] for row in read), "\n".join(row[0] for row in written)
    finally:
        await connection.close()


async def exercise(store: PostgresMessageStore, start: int) -> None:
    """Apply a message and its receipt, twice, and read what is owed in between."""
    facts = message(start, start, *NAMES)
    assert await store.apply([Batch(0, start, start + 1, (facts,))])
    assert await store.apply([Batch(0, start + 1, start + 2, (facts,))])
    for name in NAMES:
        [page] = await store.pending([PendingQuery(name, {0: start}, 10)])
        assert [each.id for each in page.messages] == [facts.id]
    receipts = tuple(Receipt(facts.id, name, "2026") for name in NAMES)
    assert await store.apply([Batch(0, start + 2, start + 3, (), receipts)])
    for name in NAMES:
        [page] = await store.pending([PendingQuery(name, {0: start}, 10)])
        assert page.messages == ()


async def test_the_version_before_runs_on_the_new_schema(
    migrated: SecretUrl, store: PostgresMessageStore, as_before: Callable[[], None]
) -> None:
    """Its conflicts are found, its rows are not doubled, and its pages walk an index."""
    await exercise(store, 100)
    as_before()
    assert await start_old(migrated) == 1
    old = PostgresMessageStore(migrated, "ws-2")
    await exercise(old, 103)
    await old.close()
    pages, _ = await plans(migrated)
    assert "on deliveries" in pages
    assert "using deliveries_pending on" in pages or "using deliveries_owed on" in pages
    doubled = "SELECT FROM deliveries GROUP BY message_id, recipient HAVING count(*) > 1"
    assert await fetch(migrated.reveal(), doubled) == []


async def test_this_version_relies_on_indexes_by_bytes_alone(
    migrated: SecretUrl, store: PostgresMessageStore
) -> None:
    pages, rows = await plans(migrated)
    assert "using deliveries_owed on deliveries" in pages
    assert "Conflict Arbiter Indexes: deliveries_by_recipient\n" in rows
    by_bytes = """
        SELECT bool_and('pg_catalog."C"'::regcollation = ANY (indcollation::oid[])) FROM pg_index
        WHERE indexrelid IN ('deliveries_owed'::regclass, 'deliveries_by_recipient'::regclass)
    """
    assert await fetch(migrated.reveal(), by_bytes) == [(True,)]


async def test_an_audit_reads_in_the_order_of_bytes(
    migrated: SecretUrl, store: PostgresMessageStore
) -> None:
    await exercise(store, 100)
    async with open_audit_store(migrated) as audit:
        rows = [row async for page in audit.deliveries() for row in page]
    keys = [(row.id, row.recipient) for row in rows]
    assert keys == sorted(keys)
    assert {name for _id, name in keys} >= set(NAMES)


async def test_in_a_new_database_every_text_that_is_compared_is_by_bytes(
    database: SecretUrl,
) -> None:
    await migrate(database)
    columns = """
        SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_name IN ('messages', 'deliveries') AND data_type = 'text'
            AND collation_name IS DISTINCT FROM 'C'
    """
    assert set(await fetch(database.reveal(), columns)) == {
        ("messages.content",),
        ("deliveries.status",),
    }
    assert [name for name, _ in await fetch(database.reveal(), INDEXES)] == [
        "deliveries_by_recipient",
        "deliveries_owed",
        "deliveries_turns",
        "deliveries_without_conversation",
    ]


async def test_conversations_take_turns_once_every_pending_row_has_its_own(
    database: SecretUrl, as_before: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that a server of the version before writes have none: then the order of the log is kept,
    for an older message of the same conversation may be among them.
    """
    with monkeypatch.context() as before:
        before.setattr(migrations, "POSTGRES_SCHEMA_VERSION", 2)
        await migrate(database)
        as_before()
        old = PostgresMessageStore(database, "ws-old")
        await old.adopt(LogIdentity("cluster", "topic", 1))
        await old.apply([Batch(0, 0, 5, tuple(message(n, n) for n in range(5)))])
    monkeypatch.undo()
    await migrate(database)
    store = PostgresMessageStore(database, "ws-1")
    query = PendingQuery("bob", {}, 2, FIRST_TURN)
    [page] = await store.pending([query])
    assert (len(page.messages), len(page.ahead), page.turn) == (2, 2, Turn("c", 0))
    as_before()
    await old.apply([Batch(0, 5, 6, (message(5, 5),))])
    await old.close()
    monkeypatch.undo()
    [page] = await store.pending([query])
    assert (len(page.messages), page.complete, page.ahead, page.turn) == (2, False, (), None)
    await store.apply([Batch(0, 6, 7, (), (Receipt(message(5, 5).id, "bob", "2026"),))])
    [page] = await store.pending([query])
    assert (len(page.ahead), page.turn) == (2, Turn("c", 0))
    await store.close()
