"""Schema migrations: numbered files, each run once, in a transaction of its own."""

from importlib.resources import files
from typing import Final

from landline.adapters.postgres.lane import Connection
from landline.adapters.postgres.opening import connected
from landline.config.values import SecretUrl
from landline.errors import StartupError

# Rewriting a large table takes its time; two servers that start together wait for each other.
MIGRATE_SECONDS: Final = 3600.0
# An arbitrary constant: what else uses advisory locks in this database has others.
LOCK_KEY: Final = 0x4C414E444C494E45  # "LANDLINE"

_VERSION: Final = "SELECT max(version) FROM landline_schema"
_EXISTS: Final = "SELECT to_regclass('landline_schema') IS NOT NULL"
_CREATE: Final = """
    CREATE TABLE landline_schema (
        version    integer PRIMARY KEY,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


def load_migrations() -> list[str]:
    """Return the scripts in order: the first one makes version 1."""
    scripts = sorted(
        (file for file in files(__name__).iterdir() if file.name.endswith(".sql")),
        key=lambda script: script.name,
    )
    return [script.read_text() for script in scripts]


SCHEMA_VERSION: Final = len(load_migrations())


async def schema_version(connection: Connection) -> int:
    """Return the version of the schema, 0 where there is none."""
    if not await connection.fetchval(_EXISTS):
        return 0
    return await connection.fetchval(_VERSION) or 0


async def migrate(url: SecretUrl) -> int:
    """Bring the schema up to this version of Landline; return how many migrations were run.

    Several may try at once: they take turns, and whoever finds nothing left to do is done.
    Raises: StartupError; the schema is then that of the last migration that succeeded.
    """
    count = 0
    async with connected(url, MIGRATE_SECONDS) as connection:
        while await _run_next(connection, url):
            count += 1
    return count


async def _run_next(connection: Connection, url: SecretUrl) -> bool:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
        version = await schema_version(connection)
        check_version(version, url)
        if version == SCHEMA_VERSION:
            return False
        if version == 0:
            await connection.execute(_CREATE)
        await connection.execute(load_migrations()[version])
        await connection.execute("INSERT INTO landline_schema (version) VALUES ($1)", version + 1)
    return True


def check_version(version: int, url: SecretUrl) -> None:
    """Refuse a schema that only a newer Landline knows. Raises: StartupError."""
    if version > SCHEMA_VERSION:
        raise StartupError(
            f"--postgres {url}: was migrated by a newer Landline (schema {version}, this one:"
            f" {SCHEMA_VERSION}); start that version"
        )
