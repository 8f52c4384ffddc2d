"""Before the server starts: can this PostgreSQL do what the promise needs?"""

import asyncio
from typing import Final

from landline.adapters.postgres.lane import PostgresConnection
from landline.adapters.postgres.migrations import (
    POSTGRES_SCHEMA_VERSION,
    check_version,
    schema_version,
)
from landline.adapters.postgres.opening import connected
from landline.adapters.postgres.record_format import FORMAT
from landline.adapters.statements import statement
from landline.config.values import SecretUrl
from landline.errors import StartupError

POSTGRES_CHECK_SECONDS: Final = 5.0
# The oldest version that still got fixes when this was written, and the first whose extract() is
# exact.
OLDEST_SERVER: Final = 14

# A setting, the values that keep the promise, and what breaks it otherwise.
_PROMISES: Final = (
    ("fsync", {"on"}, "a power loss may damage the whole database"),
    (
        "synchronous_commit",
        {"on", "remote_apply"},
        "what was committed may be forgotten in a crash or failover",
    ),
    ("full_page_writes", {"on"}, "a power loss may damage pages that were being written"),
)
_SETTINGS: Final = statement("postgres", "settings")

# What a server writes; from some of it rows go.
_TABLES: Final = (
    "messages",
    "conversations",
    "members",
    "former_members",
    "outsiders",
    "devices",
    "pending",
    "purged",
    "applied",
    "quarantine",
    "log_identity",
    "revocations",
    "ended_users",
)
_IN_FORMAT_1: Final = ("deliveries",)
_EMPTIED: Final = ("members", "devices", "pending")
_PURGED: Final = "messages"
_UNWRITABLE: Final = statement("postgres", "unwritable")
# Of a server that is older than these columns nobody knows it.
_FIRST_WITH_COLLATION_VERSION: Final = 15
_COLLATION: Final = statement("postgres", "collation")
_MAY_CREATE: Final = statement("postgres", "may_create")


async def check(url: SecretUrl, *, purges: bool = False) -> list[str]:
    """Return what breaks the promise, a line for each setting that may forget what it was given.

    An operator may allow those (`--allow-unsafe`). Changes nothing; the schema may be an older
    one, or none, if this user can migrate it. `purges`: old messages are to be deleted.
    Raises: StartupError for all that cannot work.
    """
    async with (
        connected(url, POSTGRES_CHECK_SECONDS) as connection,
        asyncio.timeout(2 * POSTGRES_CHECK_SECONDS),
    ):
        await _check_server(connection, url)
        await _check_rights(connection, url, purges=purges)
        return [f"--postgres {url}: {line}" for line in await broken_promises(connection)]


async def collation_change(url: SecretUrl) -> str | None:
    """Return a line when the database's collation is not that by which its indexes were built.

    An upgrade of the operating system does that. What Landline itself looks for is sorted by
    bytes; all else in the database may not be found any more, or be there twice.
    Raises: StartupError.
    """
    async with (
        connected(url, POSTGRES_CHECK_SECONDS) as connection,
        asyncio.timeout(2 * POSTGRES_CHECK_SECONDS),
    ):
        if connection.get_server_version().major < _FIRST_WITH_COLLATION_VERSION:
            return None
        name, collation, before, now = await connection.fetchrow(_COLLATION) or (None,) * 4
    if before is None or now is None or before == now:
        return None
    return (
        f"--postgres {url}: the collation {collation} of this database is at version {now}, its"
        f" indexes may be sorted by version {before}; run in it, as its owner: REINDEX DATABASE"
        f" CONCURRENTLY {name}; then ALTER DATABASE {name} REFRESH COLLATION VERSION"
    )


async def broken_promises(connection: PostgresConnection) -> list[str]:
    """Return a line for each setting of this session that breaks the promise."""
    names = [name for name, _good, _risk in _PROMISES]
    rows = await connection.fetch(_SETTINGS, names)
    settings = {row["name"]: row["setting"] for row in rows}
    return [
        f"{name} is {settings[name]}: {risk}; set it to on"
        for name, good, risk in _PROMISES
        if settings[name] not in good
    ]


async def _check_server(connection: PostgresConnection, url: SecretUrl) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        raise StartupError(
            f"--postgres {url}: the server is PostgreSQL {version.major};"
            f" Landline needs {OLDEST_SERVER} or newer"
        )
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StartupError(
            f"--postgres {url}: the database is encoded in {encoding} and cannot keep every"
            " message; create one with ENCODING 'UTF8' TEMPLATE template0"
        )


async def _check_rights(connection: PostgresConnection, url: SecretUrl, *, purges: bool) -> None:
    version = await schema_version(connection)
    await check_version(connection, url)
    if version < POSTGRES_SCHEMA_VERSION:
        may_create, user = await connection.fetchrow(_MAY_CREATE) or (False, "the user")
        if not may_create:
            raise StartupError(
                f"--postgres {url}: {user} may not create tables; let it own the database, or run"
                " landline migrate as a user who may"
            )
    else:
        is_format_1 = await connection.fetchval(FORMAT) == 1
        tables = _TABLES + (_IN_FORMAT_1 if is_format_1 else ())
        to_empty = (_PURGED, *_EMPTIED) if purges else _EMPTIED
        unwritable = await connection.fetch(_UNWRITABLE, tables, to_empty)
        if unwritable:
            names = ", ".join(row["name"] for row in unwritable)
            emptied = ", ".join(row["name"] for row in unwritable if row["name"] in to_empty)
            also = f", and DELETE on {emptied}" if emptied else ""
            raise StartupError(
                f"--postgres {url}: this user may not read and write {names};"
                f" GRANT SELECT, INSERT, UPDATE on them{also}"
            )
