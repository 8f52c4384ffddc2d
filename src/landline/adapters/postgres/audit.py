"""The store in PostgreSQL for an audit: one snapshot, read in pages."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from landline.adapters.postgres.lane import PostgresConnection
from landline.adapters.postgres.migrations import (
    POSTGRES_SCHEMA_VERSION,
    check_version,
    schema_version,
)
from landline.adapters.postgres.opening import connected
from landline.adapters.postgres.record_format import FORMAT
from landline.adapters.statements import statement
from landline.audit import (
    StoredConversation,
    StoredDevice,
    StoredEndedUser,
    StoredFormerMember,
    StoredMember,
    StoredMessage,
    StoredPending,
    StoredQuarantine,
    StoredRow,
)
from landline.config.values import SecretUrl
from landline.errors import StartupError
from landline.model import LogIdentity, Position, Positions

PAGE_SECONDS: Final = 30.0
AUDIT_ROWS: Final = 1_000
_LOWEST: Final = -(2**31)
_LOWEST_OFFSET: Final = -(2**63)

_IDENTITY: Final = statement("postgres", "identity")
_APPLIED: Final = statement("postgres", "applied")
_AUDIT_PURGED: Final = statement("postgres", "audit_purged")

# Of each table: how a page is read behind a key, which is the start of a row; the key before all;
# and what a row is to the audit.
_TABLES: Final[Sequence[tuple[str, Sequence[Any], Callable[..., StoredRow]]]] = (
    (
        statement("postgres", "audit_messages"),
        (None,),
        lambda id, conversation, sender, content, partition, offset, *rest: StoredMessage(
            str(id), conversation, sender, content, Position(partition, offset), *rest
        ),
    ),
    (statement("postgres", "audit_conversations"), (_LOWEST,), StoredConversation),
    (statement("postgres", "audit_members"), (_LOWEST, ""), StoredMember),
    (
        statement("postgres", "audit_former_members"),
        (_LOWEST, "", _LOWEST_OFFSET),
        StoredFormerMember,
    ),
    (
        statement("postgres", "audit_devices"),
        (_LOWEST,),
        lambda id, user, device, since: StoredDevice(
            id,
            user,
            device,
            {at: each for at, each in enumerate(since or ()) if each is not None},
        ),
    ),
    (
        statement("postgres", "audit_pending"),
        (_LOWEST, _LOWEST, _LOWEST_OFFSET),
        lambda id, partition, offset, conversation_id, is_received: StoredPending(
            id, Position(partition, offset), conversation_id, is_received
        ),
    ),
    (
        statement("postgres", "audit_ended_users"),
        ("", -1),
        lambda user, partition, offset: StoredEndedUser(user, Position(partition, offset)),
    ),
    (
        statement("postgres", "audit_quarantine"),
        (_LOWEST, _LOWEST_OFFSET),
        lambda partition, offset, reason: StoredQuarantine(Position(partition, offset), reason),
    ),
)


@asynccontextmanager
async def open_audit_store(url: SecretUrl) -> AsyncIterator["PostgresAuditStore"]:
    """Open a snapshot for the length of a `with` block. Raises: StartupError.

    Vacuum keeps what the snapshot may still see, so it is better not held for days.
    """
    async with connected(url, PAGE_SECONDS) as connection:
        await check_format(connection, url)
        # Between two pages the log may be read for long.
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await connection.execute("SET application_name = 'landline-audit'")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield PostgresAuditStore(connection)


async def check_format(connection: PostgresConnection, url: SecretUrl) -> None:
    """See that the tables are those of this version. Raises: StartupError."""
    version = await schema_version(connection)
    await check_version(connection, url)
    if version < POSTGRES_SCHEMA_VERSION:
        raise StartupError(
            f"--postgres {url}: its schema is at version {version}, this Landline needs"
            f" {POSTGRES_SCHEMA_VERSION}; run landline migrate"
        )
    if await connection.fetchval(FORMAT) != 2:
        raise StartupError(
            f"--postgres {url}: landline audit needs the store in format 2, and it is in format 1,"
            " so that servers of the version before can run; replace them, then run landline"
            " migrate first"
        )


class PostgresAuditStore:
    """See `landline.audit.AuditStore`."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def identity(self) -> LogIdentity | None:
        """Return which log the rows come from."""
        row = await self._connection.fetchrow(_IDENTITY)
        return None if row is None else LogIdentity(*row)

    async def applied(self) -> Positions:
        """Read the position of every partition."""
        return dict(await self._fetch(_APPLIED))

    async def purged(self) -> Positions:
        """Read how far messages may be gone."""
        return dict(await self._fetch(_AUDIT_PURGED))

    async def rows(self) -> AsyncIterator[Sequence[StoredRow]]:
        """Walk the primary key of each table."""
        for sql, after, row_of in _TABLES:
            key = after
            while rows := await self._fetch(sql, *key, AUDIT_ROWS):
                key = rows[-1][: len(key)]
                yield [row_of(*row) for row in rows]

    async def _fetch(self, sql: str, *arguments: Any) -> list[Any]:
        return await self._connection.fetch(sql, *arguments)
