"""The models in good weather, for the contract suites: they keep what every adapter keeps."""

import random
from collections.abc import Mapping
from typing import Any

from landline.model import Positions
from landline.ports import (
    ConversationStore,
    Directory,
    EventLog,
    MessageStore,
    RevocationStore,
    RoutingBus,
)
from simulation.bus import Exchange, ModelRoutingBus
from simulation.directory import ModelDirectory, Registry
from simulation.log import Log, ModelEventLog
from simulation.revocations import ModelRevocations, RevocationTable
from simulation.store import ModelConversationStore, ModelMessageStore, Store
from simulation.weather import Weather
from support.tables import Rows


def good_weather() -> Weather:
    """Return weather in which nothing is lost and all takes a moment."""
    return Weather(random.Random(1), pace=0.0005)


class ModelHome:
    """See `support.event_logs.LogHome`."""

    def __init__(self) -> None:
        self._log = Log(good_weather(), partitions=3)
        self._opened: ModelEventLog | None = None

    async def open(self) -> EventLog:
        """Return an adapter; the one before is closed, as by a process that restarts."""
        await self.close()
        self._opened = ModelEventLog(self._log)
        return self._opened

    async def close(self) -> None:
        """Close the adapter that is open."""
        if self._opened is not None:
            await self._opened.close()


class ModelCluster:
    """See `support.directories.DirectoryCluster`."""

    def __init__(self) -> None:
        self._registry = Registry(good_weather())

    async def join(self, server_id: str, incarnation: str) -> Directory:
        """Return a directory on the shared registry."""
        return ModelDirectory(self._registry, f"{server_id}/{incarnation}")

    async def close(self) -> None:
        """Nothing is held."""


class ModelMessageStores:
    """See `support.stores.Stores`. What the others have to hold is what this one holds."""

    partitions = 4

    def __init__(self) -> None:
        self._store = Store(partitions=self.partitions, weather=good_weather())

    async def open(self) -> MessageStore:
        """Return one more on the same tables."""
        return ModelMessageStore(self._store)

    async def conversations(self) -> ConversationStore:
        """Return what reads the same tables."""
        return ModelConversationStore(self._store)

    async def purge(self, before_ms: int) -> None:
        """Remove what may go."""
        self._store.forget(self._store.purgeable(before_ms))

    async def tables(self) -> Rows:
        """Return what the tables hold."""
        return self._store.rows()

    async def statuses(self) -> set[tuple[Any, ...]]:
        """Return what the view shows."""
        return set(self._store.statuses())

    async def conversation_ids(self) -> Mapping[str, int]:
        """Return the store's own numbers."""
        return self._store.conversation_ids

    async def set_back(self, positions: Positions) -> None:
        """Set the positions back."""
        self._store.applied |= positions

    async def close(self) -> None:
        """The tables last."""


class ModelRevocationStores:
    """Stores of several servers on the same rows, which last."""

    def __init__(self) -> None:
        self._table = RevocationTable(good_weather(), random.Random(1))

    async def revocations(self) -> RevocationStore:
        """Return one more."""
        return ModelRevocations(self._table)

    async def close(self) -> None:
        """Nothing is held."""


class ModelBuses:
    """Servers that hear each other."""

    def __init__(self) -> None:
        self._exchange = Exchange(good_weather())

    async def join(self, address: str) -> RoutingBus:
        """Return a bus on the shared exchange."""
        return ModelRoutingBus(self._exchange, address)

    async def close(self) -> None:
        """Nothing is held."""
