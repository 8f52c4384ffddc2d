"""Revocations in memory; see `simulation.weather`."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from landline.errors import StoreUnavailable
from landline.model import Revocation
from simulation.weather import Weather

T = TypeVar("T")


@dataclass
class RevocationTable:
    """The rows, on the store's machine. Its weather has chances of its own."""

    weather: Weather
    rng: random.Random
    rows: dict[str, Revocation] = field(default_factory=dict)
    latest: int = 0

    def revoke(self, user: str, until_ms: int | None) -> Revocation:
        """Write a user's row, behind all others."""
        known = self.rows.get(user)
        if until_ms is None and known is not None:
            until_ms = known.until_ms
        self.latest += 1
        self.rows[user] = Revocation(user, self.latest, until_ms)
        return self.rows[user]

    def after(self, revoked_at: int) -> list[Revocation]:
        """Return the later rows in their order."""
        found = [row for row in self.rows.values() if row.revoked_at > revoked_at]
        return sorted(found, key=lambda row: row.revoked_at)


class ModelRevocations:
    """See `landline.ports.RevocationStore`. One per process."""

    def __init__(self, table: RevocationTable) -> None:
        self._table = table

    async def revoke(self, user: str, until_ms: int | None) -> Revocation:
        """Enter it; in bad weather perhaps without an answer."""
        return await self._ask(lambda: self._table.revoke(user, until_ms))

    async def standing(self, now_ms: int) -> Sequence[Revocation]:
        """Return those that refuse, and the latest."""

        def look() -> Sequence[Revocation]:
            rows = self._table.after(-1)
            refusing = [row for row in rows if row.until_ms is not None and row.until_ms > now_ms]
            return [*refusing, *(row for row in rows[-1:] if row not in refusing)]

        return await self._ask(look)

    async def since(self, revoked_at: int, limit: int) -> Sequence[Revocation]:
        """Return the next ones."""
        return await self._ask(lambda: self._table.after(revoked_at)[:limit])

    async def _ask(self, effect: Callable[[], T]) -> T:
        weather = replace(self._table.weather, rng=self._table.rng)
        return await weather.ask("store", StoreUnavailable, effect)
