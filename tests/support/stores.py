"""Message stores of every adapter, several on the same data, as several servers have them."""

from pathlib import Path
from typing import Any, Protocol

from landline.adapters.postgres import PostgresMessageStore, migrate
from landline.adapters.sqlite import Database, SqliteMessageStore, SqliteRevocations
from landline.config.values import SecretUrl
from landline.model import LogIdentity
from landline.ports import MessageStore, RevocationStore
from support.postgres import fetch


class Stores(Protocol):
    """Message stores on the same data, as several servers have them."""

    partitions: int

    async def open(self) -> MessageStore:
        """Return one more store on the data."""

    async def revocations(self) -> RevocationStore:
        """Return one more of these on the data."""

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Look into the tables, as an operator would."""

    async def close(self) -> None:
        """Close every store; opened again they must know what they knew."""


class SqliteStores:
    """One file has one owner, so its stores share it. The embedded log has one partition."""

    partitions = 1

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._database: Database | None = None

    async def open(self) -> MessageStore:
        return SqliteMessageStore(self._file())

    async def revocations(self) -> RevocationStore:
        return SqliteRevocations(self._file())

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return await self._file().read(lambda connection: connection.execute(sql).fetchall())

    async def close(self) -> None:
        opened, self._database = self._database, None
        if opened is not None:
            await opened.close()

    def _file(self) -> Database:
        if self._database is None:
            self._database = Database(self._directory, lambda _trouble: None)
        return self._database


class PostgresStores:
    """Each store has connections of its own, as on another server."""

    partitions = 4

    def __init__(self, url: SecretUrl) -> None:
        self._url = url
        self._opened: list[PostgresMessageStore] = []

    async def open(self) -> MessageStore:
        return await self._open()

    async def revocations(self) -> RevocationStore:
        return (await self._open()).revocations

    async def _open(self) -> PostgresMessageStore:
        await migrate(self._url)
        store = PostgresMessageStore(self._url, f"ws-{len(self._opened) + 1}")
        self._opened.append(store)
        await store.adopt(LogIdentity("cluster", "topic", self.partitions))
        return store

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return await fetch(self._url.reveal(), sql)

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().close()
