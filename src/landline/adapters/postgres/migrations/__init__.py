"""Schema migrations: numbered files, run in order, each once.

To add one: the next number, `NNNN_what_it_does.sql`. Never change older files. The servers of the
version before go on while it runs and after it: a rolling upgrade may stop half-way. So it takes no
lock for long, and what they read and write stays: tables, columns, a unique index for every `ON
CONFLICT`, an index for every page. What only they needed goes in a migration of the version after
this one.

A file is one transaction, unless it carries near its top the line

    -- landline: outside a transaction

Then its statements run one by one, for what PostgreSQL does not do in a transaction, such as
`CREATE INDEX CONCURRENTLY`. Such a file may be interrupted anywhere, and is then run again from its
first statement. So each statement must be harmless the second time: `CREATE INDEX CONCURRENTLY IF
NOT EXISTS name`, `DROP INDEX CONCURRENTLY IF EXISTS name`. An index that an interrupted try left
invalid is dropped before its statement is run again; nobody has to write that down.

A file that is a transaction gives up when a table is in somebody else's use for seconds, since
everybody else would queue behind it; the operator is told to try again.

A file after which servers that do not know migration N cannot run any more says so:

    -- landline: needs N

Two tables remember. `landline_migrations` has what was run. `landline_schema` has what a server
must know to run here: its highest version is the N above. Servers from before there were two
refuse a higher version than they know, so it does not move without need.

Text that is compared is declared `COLLATE "C"`, and the queries say it too: databases that are
older than that have the column as it was, with indexes in that collation (see 0002).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final

from landline.adapters.postgres.lane import PostgresConnection
from landline.adapters.postgres.migrations.script import Script, built_index
from landline.adapters.postgres.opening import connected
from landline.adapters.statements import statement
from landline.backoff import Backoff
from landline.config.values import SecretUrl
from landline.errors import StartupError
from landline.observability.logging import get_logger

# Rewriting a large table takes its time; two servers that start together wait for each other.
MIGRATE_SECONDS: Final = 3600.0
TABLE_MILLISECONDS: Final = 5_000
# Arbitrary constants: what else uses advisory locks in this database has others. The first is that
# of servers which wait for it inside a transaction, and so with a snapshot: an index that is built
# concurrently waits for such snapshots, so nobody may hold that lock meanwhile. The second
# one is held while migrations run; it is asked for and never waited for.
LOCK_KEY: Final = 0x4C414E444C494E45  # "LANDLINE"
TURN_KEY: Final = LOCK_KEY + 1

_NEEDED_VERSION: Final = statement("postgres", "needed_version")
_SCHEMA_VERSION: Final = statement("postgres", "schema_version")
_RELATION_EXISTS: Final = statement("postgres", "relation_exists")
_CREATE_VERSIONS: Final = statement("postgres", "create_versions")
_REMEMBER_MIGRATION: Final = statement("postgres", "remember_migration")
_REMEMBER_NEEDED_VERSION: Final = statement("postgres", "remember_needed_version")
_INDEX_IS_INVALID: Final = statement("postgres", "index_is_invalid")
_IS_NEW: Final = statement("postgres", "is_new")
BEGIN_COLUMNS: Final = statement("postgres", "begin_columns")
BEGIN_FORMAT_2: Final = statement("postgres", "begin_format_2")
# The migration that makes the tables of format 2.
FORMAT_2_VERSION: Final = 6

log = get_logger(__name__)


def load_migrations() -> list[Script]:
    """Return the scripts in order: the first one makes version 1."""
    found = [file for file in files(__name__).iterdir() if file.name.endswith(".sql")]
    scripts = [Script(file.name, file.read_text()) for file in found]
    return sorted(scripts, key=lambda script: script.number)


POSTGRES_SCHEMA_VERSION: Final = len(load_migrations())


async def schema_version(connection: PostgresConnection) -> int:
    """Return how many migrations the schema has, 0 where there is none."""
    if await connection.fetchval(_RELATION_EXISTS, "landline_migrations"):
        return await connection.fetchval(_SCHEMA_VERSION) or 0
    return await needed_version(connection)  # made before there were two tables


async def needed_version(connection: PostgresConnection) -> int:
    """Return which migration a server has to know to run on this schema."""
    if not await connection.fetchval(_RELATION_EXISTS, "landline_schema"):
        return 0
    return await connection.fetchval(_NEEDED_VERSION) or 0


def _log(what: str) -> None:
    log.info("migration", what=what)


async def migrate(url: SecretUrl, tell: Callable[[str], None] = _log) -> int:
    """Bring the schema up to this version of Landline; return how many migrations were run.

    Several may try at once: they take turns, and one that finds nothing left to do is done. `tell`
    hears what takes its time.
    Raises: StartupError; the schema is then that of the last migration that succeeded.
    """
    count = 0
    async with connected(url, MIGRATE_SECONDS) as connection, turn(connection, url, tell):
        while await _run_next(connection, url, tell):
            count += 1
        if POSTGRES_SCHEMA_VERSION >= FORMAT_2_VERSION:
            await _begin_new(connection)
    return count


@asynccontextmanager
async def turn(
    connection: PostgresConnection, url: SecretUrl, tell: Callable[[str], None]
) -> AsyncIterator[None]:
    """Be the only server that migrates. The lock is the connection's, and ends with it."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + MIGRATE_SECONDS
    is_waiting = False
    backoff = Backoff(last_seconds=1.0)
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", TURN_KEY):
        if not is_waiting:
            is_waiting = True
            tell("waits: another server migrates this database")
        if loop.time() > give_up_at:
            raise StartupError(
                f"--postgres {url}: another server has been migrating this database for"
                f" {MIGRATE_SECONDS / 60:.0f} minutes; see pg_stat_activity for landline-start"
            )
        await backoff.wait()
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.fetchval("SELECT pg_advisory_unlock($1)", TURN_KEY)


async def _run_next(
    connection: PostgresConnection, url: SecretUrl, tell: Callable[[str], None]
) -> bool:
    await check_version(connection, url)
    version = await schema_version(connection)
    if version >= POSTGRES_SCHEMA_VERSION:
        return False
    script = load_migrations()[version]
    tell(f"runs {script.name}")
    if script.is_outside:
        await _run_outside(connection, script)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
        # While this waits for a table, everything behind it waits too: better to fail and retry.
        await connection.execute(f"SET LOCAL lock_timeout = {TABLE_MILLISECONDS}")
        if not await connection.fetchval(_RELATION_EXISTS, "landline_migrations"):
            await connection.execute(_CREATE_VERSIONS)
            if await schema_version(connection) > version:  # an older server was at it meanwhile
                return True
        if not script.is_outside:
            await connection.execute(script.text)
        await _remember(connection, script)
    return True


async def _begin_new(connection: PostgresConnection) -> None:
    """Let a database in which nothing was ever written begin in format 2: nothing has to go over,
    and no server of the version before has to go on.
    """
    if not await connection.fetchval(_IS_NEW):
        return
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {TABLE_MILLISECONDS}")
        await connection.execute("LOCK TABLE log_identity, messages IN ACCESS EXCLUSIVE MODE")
        if await connection.fetchval(_IS_NEW):
            await connection.execute(BEGIN_COLUMNS)
            await connection.execute(BEGIN_FORMAT_2)


async def _run_outside(connection: PostgresConnection, script: Script) -> None:
    for each in script.statements:
        index = built_index(each)
        if index is not None and await connection.fetchval(_INDEX_IS_INVALID, index):
            await connection.execute(f"DROP INDEX CONCURRENTLY {index}")
        await connection.execute(each)


async def _remember(connection: PostgresConnection, script: Script) -> None:
    await connection.execute(_REMEMBER_MIGRATION, script.number)
    needed = 1 if script.number == 1 else script.needs
    if needed > await needed_version(connection):
        await connection.execute(_REMEMBER_NEEDED_VERSION, needed)


async def check_version(connection: PostgresConnection, url: SecretUrl) -> None:
    """Refuse a schema that only a newer Landline can use. Raises: StartupError."""
    needed = await needed_version(connection)
    if needed > POSTGRES_SCHEMA_VERSION:
        raise StartupError(
            f"--postgres {url}: was migrated by a newer Landline (schema {needed}, this one:"
            f" {POSTGRES_SCHEMA_VERSION}); start that version"
        )
