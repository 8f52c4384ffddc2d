"""What the client must not forget: sends without an answer, and messages it has handed out."""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

from landline.client.errors import ClientError, OutboxInUse

A = TypeVarTuple("A")
R = TypeVar("R")

# Handed messages remembered, so that one that comes again is acknowledged and not handed again.
HANDED_IDS = 10_000

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS outbox (
        place INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE,
        recipient TEXT NOT NULL, content TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS handed (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A send as it is kept until it is answered."""

    ref: str
    to: str
    content: str


class Outbox(Protocol):
    """Keeps drafts and handed ids. Every method returns when it is as safe as it will get."""

    async def open(self) -> tuple[Sequence[Draft], Iterable[str]]:
        """Return what an earlier process left: drafts in order, and handed ids, oldest first."""

    async def add(self, draft: Draft) -> None:
        """Keep a draft; called before its first try."""

    async def remove(self, ref: str) -> None:
        """Forget a draft: it was answered."""

    async def hand(self, ids: Sequence[str]) -> None:
        """Note messages as handed; called before they are acknowledged."""

    async def close(self) -> None:
        """Let go of the file, if there is one."""


class MemoryOutbox:
    """Forgets with the process."""

    async def open(self) -> tuple[Sequence[Draft], Iterable[str]]:
        """Return nothing: there was nothing before."""
        return [], []

    async def add(self, draft: Draft) -> None:
        """The chat itself holds the draft."""

    async def remove(self, ref: str) -> None:
        """The chat itself forgets the draft."""

    async def hand(self, ids: Sequence[str]) -> None:
        """The chat itself remembers the ids."""

    async def close(self) -> None:
        """There is nothing to let go of."""


class FileOutbox:
    """Keeps everything in one SQLite file, synced to disk, on a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    async def open(self) -> tuple[Sequence[Draft], Iterable[str]]:
        """Open or make the file. Raises: OutboxInUse, ClientError."""
        try:
            return await self._run(self._open)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise OutboxInUse(f"another process uses the outbox {self._path}") from None
            raise ClientError(f"cannot use the outbox {self._path}: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise ClientError(f"cannot use the outbox {self._path}: {error}") from error

    async def add(self, draft: Draft) -> None:
        """Write the draft and sync."""
        await self._write(
            "INSERT INTO outbox (ref, recipient, content) VALUES (?, ?, ?)",
            [(draft.ref, draft.to, draft.content)],
        )

    async def remove(self, ref: str) -> None:
        """Delete the draft."""
        await self._write("DELETE FROM outbox WHERE ref = ?", [(ref,)])

    async def hand(self, ids: Sequence[str]) -> None:
        """Write the ids and sync; forget the oldest."""
        await self._write(
            "INSERT INTO handed (id) VALUES (?) ON CONFLICT (id) DO NOTHING", [(i,) for i in ids]
        )
        await self._write(
            "DELETE FROM handed WHERE place <= (SELECT max(place) FROM handed) - ?",
            [(HANDED_IDS,)],
        )

    async def close(self) -> None:
        """Close the file, which unlocks it. Closing it again does nothing."""
        if not self._is_closed:
            self._is_closed = True
            await self._run(self._close)
            self._thread.shutdown()

    # On the thread ---------------------------------------------------------------------------

    def _open(self) -> tuple[Sequence[Draft], Iterable[str]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=0
        )
        self._connection = connection
        try:
            # One owner: two processes that send the same drafts would be harmless, two that hand
            # out the same messages would not.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
            drafts = connection.execute(
                "SELECT ref, recipient, content FROM outbox ORDER BY place"
            ).fetchall()
            handed = connection.execute("SELECT id FROM handed ORDER BY place").fetchall()
        except BaseException:
            self._close()
            raise
        return [Draft(*row) for row in drafts], [row[0] for row in handed]

    def _execute(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        assert self._connection is not None
        self._connection.execute("BEGIN")
        try:
            self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite has ended it itself where the disk is full
                self._connection.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            await self._run(self._execute, statement, rows)
        except sqlite3.Error as error:
            raise ClientError(f"cannot write the outbox {self._path}: {error}") from error

    async def _run(self, call: Callable[[Unpack[A]], R], *args: *A) -> R:
        # Shielded: what was begun is done, also when whoever waits for it is cancelled.
        return await asyncio.shield(
            asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
        )


class Handed:
    """The last ids handed out, in memory."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = OrderedDict.fromkeys(ids)

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def add(self, id: str) -> None:
        """Remember an id, and forget the oldest."""
        self._ids[id] = None
        if len(self._ids) > HANDED_IDS:
            self._ids.popitem(last=False)
