"""Revocations in PostgreSQL."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from landline.adapters.postgres.lane import PostgresConnection
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable, Unstorable
from landline.model import Revocation

T = TypeVar("T")

_REVOKE: Final = statement("postgres", "revoke")
_STANDING: Final = statement("postgres", "revocations_standing")
_SINCE: Final = statement("postgres", "revocations_since")
# Arbitrary, as those in `migrations`: whoever holds it chooses the next `revoked_at`.
_REVOKE_KEY: Final = 0x4C414E445245564F  # "LANDREVO"
# Below the lane's deadline: whoever holds the lock for long costs an answer, not the connection.
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '2s'"


class Run(Protocol):
    """The message store's lane for revocations."""

    async def __call__(self, work: Callable[[PostgresConnection], Awaitable[T]]) -> T:
        """Return what `work` returns. Raises: StoreUnavailable, Unstorable."""


class PostgresRevocations:
    """See `landline.ports.RevocationStore`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def revoke(self, user: str, until_ms: int | None) -> Revocation:
        """Write the user's row, behind all others."""

        async def work(connection: PostgresConnection) -> Sequence[Any]:
            async with connection.transaction():
                await connection.execute(_LOCK_TIMEOUT)
                # By itself: what the statement below reads is seen as of its own beginning.
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _REVOKE_KEY)
                return await connection.fetch(_REVOKE, user, until_ms)

        [row] = await self._ask(work)
        return Revocation(*row)

    async def standing(self, now_ms: int) -> Sequence[Revocation]:
        """Read them all at once."""
        return [
            Revocation(*row)
            for row in await self._ask(lambda connection: connection.fetch(_STANDING, now_ms))
        ]

    async def since(self, revoked_at: int, limit: int) -> Sequence[Revocation]:
        """Read the next ones."""
        return [
            Revocation(*row)
            for row in await self._ask(
                lambda connection: connection.fetch(_SINCE, revoked_at, limit)
            )
        ]

    async def _ask(
        self, work: Callable[[PostgresConnection], Awaitable[Sequence[Any]]]
    ) -> Sequence[Any]:
        try:
            return await self._run(work)
        except Unstorable as error:
            raise StoreUnavailable(str(error)) from error
