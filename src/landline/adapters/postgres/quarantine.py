"""The table `quarantine` in PostgreSQL, for those who apply again what stands in it."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

from landline.adapters.postgres.audit import PAGE_SECONDS, check_format
from landline.adapters.postgres.lane import PostgresConnection
from landline.adapters.postgres.opening import connected
from landline.adapters.statements import statement
from landline.audit import QuarantinedRecord
from landline.config.values import SecretUrl
from landline.model import LogIdentity, Position

PAGE_RECORDS: Final = 64

_IDENTITY: Final = statement("postgres", "identity")
_QUARANTINED: Final = statement("postgres", "quarantined")
_REMOVE: Final = statement("postgres", "remove_quarantined")


@asynccontextmanager
async def open_quarantine(url: SecretUrl) -> AsyncIterator["PostgresQuarantine"]:
    """Connect for the length of a `with` block. Raises: StartupError."""
    async with connected(url, PAGE_SECONDS) as connection:
        await check_format(connection, url)
        await connection.execute("SET application_name = 'landline-redrive'")
        quarantine = PostgresQuarantine(connection)
        await quarantine.remove([])  # who may not, hears it before anything is appended
        yield quarantine


class PostgresQuarantine:
    """See `landline.audit.Quarantine`."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def identity(self) -> LogIdentity | None:
        """Return which log the rows come from."""
        row = await self._connection.fetchrow(_IDENTITY)
        return None if row is None else LogIdentity(*row)

    async def records(self) -> AsyncIterator[Sequence[QuarantinedRecord]]:
        """Walk the primary key."""
        after = Position(-1, -1)
        while rows := await self._connection.fetch(_QUARANTINED, *after, PAGE_RECORDS):
            page = [
                QuarantinedRecord(Position(partition, offset), value)
                for partition, offset, value in rows
            ]
            after = page[-1].position
            yield page

    async def remove(self, positions: Collection[Position]) -> None:
        """Remove rows in one statement."""
        partitions = [each.partition for each in positions]
        await self._connection.execute(_REMOVE, partitions, [each.offset for each in positions])
