"""The version before this one, which knows format 1 alone: its schema and its statements, word for
word, and a server of it.
"""

from pathlib import Path
from typing import Any

import asyncpg

from landline.adapters.postgres import PostgresMessageStore
from landline.adapters.postgres.migrations import LOCK_KEY, TURN_KEY
from landline.config.values import SecretUrl
from support.postgres import execute

BEFORE = Path(__file__).parents[1] / "contract" / "postgres" / "version_before"
SCHEMA_VERSION = 5


def sql_before(name: str) -> str:
    """Return a statement of that version."""
    return (BEFORE / f"{name}.sql").read_text()


async def make_before(url: SecretUrl, partitions: int = 0) -> None:
    """Make a database as that version leaves it, with the log adopted if it has partitions."""
    await execute(url.reveal(), sql_before("schema"))
    if partitions:
        await execute(
            url.reveal(),
            "INSERT INTO log_identity VALUES (true, 'cluster', 'topic', $1, 0)",
            partitions,
        )
        await execute(
            url.reveal(), "INSERT INTO applied SELECT generate_series(0, $1 - 1), 0", partitions
        )


async def start_before(url: SecretUrl) -> int:
    """Do what it does about the schema when it starts; return what a server has to know."""
    connection = await asyncpg.connect(url.reveal())
    try:
        await connection.fetchval("SELECT pg_try_advisory_lock($1)", TURN_KEY)
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
            needed = await connection.fetchval("SELECT max(version) FROM landline_schema")
            assert needed <= SCHEMA_VERSION, "it refuses to start"
    finally:
        await connection.close()
    return int(needed)


class _FormatBefore:
    """It knows one format, and of no other."""

    known = 1
    record_version = 1

    def doubt(self) -> None:
        pass

    async def run(self, in_1: Any, _in_2: Any) -> Any:
        return await in_1()


class StoreBefore(PostgresMessageStore):
    """A server of that version. Its statements are those of format 1, word for word: see
    `test_migrations.test_format_1_is_what_the_version_before_does`.
    """

    def __init__(self, url: SecretUrl, server_id: str) -> None:
        super().__init__(url, server_id)
        self._name = f"landline-{server_id}"
        self._hosts._name = self._name
        self.format: Any = _FormatBefore()
