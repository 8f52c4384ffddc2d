"""The directory in memory; see `simulation.weather`. It keeps what `landline.ports` promises and no
more.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from landline.errors import (
    DirectoryUnavailable,
)
from simulation.weather import Weather

# How soon a directory asserts again what it could not assert.
ASSERT_SECONDS = 1.0


@dataclass
class Registry:
    """Who is where, on a machine of its own: user -> {(address, session)}."""

    weather: Weather
    registrations: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def add(self, address: str, user: str, session: str) -> None:
        """Enter a session."""
        self.registrations.setdefault(user, set()).add((address, session))

    def remove(self, address: str, user: str, session: str) -> None:
        """Take out this session and no other."""
        self.registrations.get(user, set()).discard((address, session))


class ModelDirectory:
    """See `landline.ports.Directory`. One per process; `address` names its run."""

    def __init__(self, registry: Registry, address: str) -> None:
        self._registry = registry
        self._weather = registry.weather
        self._address = address
        self._own: set[tuple[str, str]] = set()
        self._left: set[tuple[str, str]] = set()
        self._is_closed = False

    async def register(self, registrations: Collection[tuple[str, str]]) -> None:
        """Enter sessions, at once or with the next assertion."""
        self._own.update(registrations)
        await self._assert()

    async def unregister(self, registrations: Collection[tuple[str, str]]) -> None:
        """Take sessions out, at once or with the next assertion."""
        self._own.difference_update(registrations)
        self._left.update(registrations)
        await self._assert()

    async def lookup(self, users: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Return other servers. In bad weather an old answer, or one about somebody else."""

        def look() -> Mapping[str, frozenset[str]]:
            registrations = self._registry.registrations
            is_lie = self._weather.strikes("directory", 0.1)
            found = {}
            for user in sorted(users):
                asked = (
                    self._weather.rng.choice(sorted(registrations))
                    if is_lie and registrations
                    else user
                )
                addresses = {address for address, _ in registrations.get(asked, ())} - {
                    self._address
                }
                if addresses:
                    found[user] = frozenset(addresses)
            return found

        return await self._weather.ask("directory", DirectoryUnavailable, look)

    async def sessions(self, user: str) -> Collection[tuple[str, str]]:
        """Return the sessions on other servers."""

        def look() -> Collection[tuple[str, str]]:
            found = sorted(self._registry.registrations.get(user, ()))
            return [
                (address.partition("/")[0], session)
                for address, session in found
                if address != self._address
            ]

        return await self._weather.ask("directory", DirectoryUnavailable, look)

    def health(self) -> str | None:
        """Return nothing: the weather is not announced."""
        return None

    async def close(self) -> None:
        """Take every session of this server out."""
        await self.unregister(set(self._own))
        self._is_closed = True

    def die(self) -> None:
        """The process is gone; its registrations stay."""
        self._is_closed = True

    def beat(self) -> None:
        """Assert once more what was told."""
        if self._is_closed:
            return
        for user, session in self._own:
            self._registry.add(self._address, user, session)
        for user, session in self._left:
            self._registry.remove(self._address, user, session)
        self._left.clear()

    async def _assert(self) -> None:
        if "directory" in self._weather.faults:
            asyncio.get_running_loop().call_later(ASSERT_SECONDS, self.beat)
        await self._weather.ask("directory", DirectoryUnavailable, self.beat)
