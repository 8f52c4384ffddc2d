"""Message stores of every adapter, several on the same data, as several servers have them."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from landline.adapters.postgres import PostgresMessageStore, migrate
from landline.adapters.sqlite import (
    Database,
    SqliteConversations,
    SqliteMessageStore,
    SqliteRevocations,
)
from landline.adapters.sqlite.opening import FILE_NAME
from landline.config.values import SecretUrl
from landline.model import LogIdentity, Position, Positions
from landline.ports import ConversationStore, MessageStore, RevocationStore
from support.postgres import execute, fetch
from support.tables import Rows, in_order


class Stores(Protocol):
    """Message stores on the same data, as several servers have them."""

    partitions: int

    async def open(self) -> MessageStore:
        """Return one more store on the data."""

    async def tables(self) -> Rows:
        """Return what the tables hold, as `support.tables.Tables.rows` does."""

    async def statuses(self) -> set[tuple[Any, ...]]:
        """Return what the view `message_status` shows."""

    async def conversation_ids(self) -> Mapping[str, int]:
        """Return the store's own numbers of conversations."""

    async def set_back(self, positions: Positions) -> None:
        """Set `applied` back, while no store is open: what docs/failures.md advises."""

    async def close(self) -> None:
        """Close every store; opened again they must know what they knew."""


class ReadingStores(Stores, Protocol):
    """Stores that answer the questions of people, too."""

    async def conversations(self) -> ConversationStore:
        """Return what reads the same data."""

    async def purge(self, before_ms: int) -> None:
        """Remove the messages that are older and that nobody is owed, as far as this store does."""


# For both databases. The row of a default mailbox is the adapter's own affair: it says nothing.
_TABLES = {
    "conversations": """
        SELECT name, kind, history, title, last_offset, last_time_ms FROM conversations
    """,
    "members": """
        SELECT name, user_name, role, joined_offset, read_offset
        FROM members LEFT JOIN conversations USING (conversation_id)
    """,
    "former_members": """
        SELECT name, user_name, joined_offset, left_offset
        FROM former_members LEFT JOIN conversations USING (conversation_id)
    """,
    "quarantine": "SELECT log_partition, log_offset, value, reason FROM quarantine",
}
_STATUSES = "SELECT CAST(message_id AS text), recipient, status FROM message_status"
_NUMBERS = "SELECT name, conversation_id FROM conversations"

_SQLITE_TABLES = _TABLES | {
    "devices": "SELECT user_name, device, 0, since FROM devices WHERE device <> '*'",
    "pending": """
        SELECT user_name, device, 0, log_offset, name, is_received
        FROM pending LEFT JOIN devices USING (mailbox_id)
            LEFT JOIN conversations USING (conversation_id)
    """,
    "messages": """
        SELECT message_id, conversation, sender, content, kind, data, log_partition, log_offset,
               created_at
        FROM messages
    """,
}

_POSTGRES_TABLES = _TABLES | {
    "devices": """
        SELECT user_name, device, place - 1, opened
        FROM devices LEFT JOIN LATERAL unnest(since) WITH ORDINALITY AS _ (opened, place)
            ON opened IS NOT NULL
        WHERE device <> '*'
    """,
    "pending": """
        SELECT user_name, device, log_partition, log_offset, name, is_received
        FROM pending LEFT JOIN devices USING (mailbox_id)
            LEFT JOIN conversations USING (conversation_id)
    """,
    "messages": """
        SELECT CAST(message_id AS text), conversation, sender, content, kind, data, log_partition,
               log_offset, CAST(extract(epoch FROM created_at) * 1000 AS bigint)
        FROM messages
    """,
}


class _Tables:
    """Looks into the tables, as an operator would."""

    _sql: Mapping[str, str]

    async def tables(self) -> Rows:
        return in_order({name: await self._rows(sql) for name, sql in self._sql.items()})

    async def statuses(self) -> set[tuple[Any, ...]]:
        return set(await self._rows(_STATUSES))

    async def conversation_ids(self) -> Mapping[str, int]:
        return dict(await self._rows(_NUMBERS))

    async def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError


class SqliteStores(_Tables):
    """One file has one owner, so its stores share it. The embedded log has one partition."""

    partitions = 1
    _sql = _SQLITE_TABLES

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._database: Database | None = None

    async def open(self) -> MessageStore:
        return SqliteMessageStore(self._file())

    async def revocations(self) -> RevocationStore:
        return SqliteRevocations(self._file())

    async def conversations(self) -> ConversationStore:
        return SqliteConversations(self._file())

    async def purge(self, before_ms: int) -> None:
        after: Position | None = Position(0, -1)
        while after is not None:
            _count, after = await SqliteMessageStore(self._file()).purge(before_ms, after, 1_000)

    async def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return await self._file().read(lambda connection: connection.execute(sql).fetchall())

    async def set_back(self, positions: Positions) -> None:
        with closing(sqlite3.connect(self._directory / FILE_NAME)) as file, file:
            sql = "UPDATE applied SET next_offset = ? WHERE log_partition = ?"
            file.executemany(sql, [(offset, each) for each, offset in positions.items()])

    async def close(self) -> None:
        opened, self._database = self._database, None
        if opened is not None:
            await opened.close()

    def _file(self) -> Database:
        if self._database is None:
            self._database = Database(self._directory, lambda _trouble: None)
        return self._database


class PostgresStores(_Tables):
    """Each store has connections of its own, as on another server."""

    partitions = 4
    _sql = _POSTGRES_TABLES

    def __init__(self, url: SecretUrl) -> None:
        self._url = url
        self._opened: list[PostgresMessageStore] = []

    async def open(self) -> MessageStore:
        return await self._open()

    async def revocations(self) -> RevocationStore:
        return (await self._open()).revocations

    async def conversations(self) -> ConversationStore:
        return (await self._open()).conversations

    async def purge(self, before_ms: int) -> None:
        after: Position | None = Position(0, -1)
        store = await self._open()
        while after is not None:
            _count, after = await store.purge(before_ms, after, 1_000)

    async def _open(self) -> PostgresMessageStore:
        await migrate(self._url)
        store = PostgresMessageStore(self._url, f"ws-{len(self._opened) + 1}")
        self._opened.append(store)
        await store.adopt(LogIdentity("cluster", "topic", self.partitions))
        return store

    async def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return await fetch(self._url.reveal(), sql)

    async def set_back(self, positions: Positions) -> None:
        for partition, offset in positions.items():
            sql = "UPDATE applied SET next_offset = $1 WHERE log_partition = $2"
            await execute(self._url.reveal(), sql, offset, partition)

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().close()
