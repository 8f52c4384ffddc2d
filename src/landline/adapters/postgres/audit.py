"""The store in PostgreSQL for an audit: one snapshot, read in pages."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from landline.adapters.postgres.lane import PostgresConnection
from landline.adapters.postgres.migrations import (
    POSTGRES_SCHEMA_VERSION,
    check_version,
    schema_version,
)
from landline.adapters.postgres.opening import connected
from landline.adapters.statements import statement
from landline.audit import StoredDelivery, StoredMessage, StoredQuarantine
from landline.config.values import SecretUrl
from landline.errors import StartupError
from landline.model import LogIdentity, Position, Positions

PAGE_SECONDS: Final = 30.0
AUDIT_ROWS: Final = 1_000
_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"

_IDENTITY: Final = statement("postgres", "identity")
_APPLIED: Final = statement("postgres", "applied")
_AUDIT_MESSAGES: Final = statement("postgres", "audit_messages")
_AUDIT_DELIVERIES: Final = statement("postgres", "audit_deliveries")
_AUDIT_QUARANTINE: Final = statement("postgres", "audit_quarantine")


@asynccontextmanager
async def open_audit_store(url: SecretUrl) -> AsyncIterator["PostgresAuditStore"]:
    """Open a snapshot for the length of a `with` block. Raises: StartupError.

    Vacuum keeps what the snapshot may still see, so it is better not held for days.
    """
    async with connected(url, PAGE_SECONDS) as connection:
        version = await schema_version(connection)
        await check_version(connection, url)
        if version < POSTGRES_SCHEMA_VERSION:
            raise StartupError(
                f"--postgres {url}: its schema is at version {version}, this Landline needs"
                f" {POSTGRES_SCHEMA_VERSION}; run landline migrate"
            )
        # Between two pages the log may be read for long.
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await connection.execute("SET application_name = 'landline-audit'")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield PostgresAuditStore(connection)


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

    async def quarantined(self) -> AsyncIterator[Sequence[StoredQuarantine]]:
        """Walk the primary key."""
        after = (-1, -1)
        while rows := await self._fetch(_AUDIT_QUARANTINE, *after, AUDIT_ROWS):
            after = (rows[-1][0], rows[-1][1])
            yield [
                StoredQuarantine(Position(partition, offset), reason)
                for partition, offset, reason in rows
            ]

    async def messages(self) -> AsyncIterator[Sequence[StoredMessage]]:
        """Walk the primary key."""
        after, is_first = _FIRST_ID, True
        while rows := await self._fetch(_AUDIT_MESSAGES, after, is_first, AUDIT_ROWS):
            after, is_first = str(rows[-1][0]), False
            yield [
                StoredMessage(
                    str(id), conversation, sender, content, Position(partition, offset), time_ms
                )
                for id, conversation, sender, content, partition, offset, time_ms in rows
            ]

    async def deliveries(self) -> AsyncIterator[Sequence[StoredDelivery]]:
        """Walk the primary key."""
        after = (_FIRST_ID, "")  # no recipient sorts before the empty one
        while rows := await self._fetch(_AUDIT_DELIVERIES, *after, AUDIT_ROWS):
            after = (str(rows[-1][0]), rows[-1][1])
            yield [
                StoredDelivery(
                    str(id),
                    recipient,
                    mailbox,
                    is_delivered,
                    None if offset is None else Position(partition, offset),
                )
                for id, recipient, mailbox, is_delivered, partition, offset in rows
            ]

    async def _fetch(self, sql: str, *arguments: Any) -> list[Any]:
        return await self._connection.fetch(sql, *arguments)
