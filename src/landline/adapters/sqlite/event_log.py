"""The event log in SQLite: one partition, appended in group commits."""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import orjson

from landline.adapters.sqlite.database import Database, WriteFailed
from landline.adapters.sqlite.purging import purge_log
from landline.adapters.statements import statement
from landline.errors import LogLost, LogUnavailable
from landline.model import (
    Appended,
    AppendResult,
    Entry,
    NotAppended,
    Position,
    Positions,
    Stretch,
)
from landline.protocol.times import nearest_time

T = TypeVar("T")

PARTITION = 0
# What may wait for the disk. At 13,000 commits' worth of records a second this is seconds.
WAITING_RECORDS = 65_536
WAITING_BYTES = 64 * 1024 * 1024
COMMIT_SECONDS = 10.0
# The newest entries, for the writer, which follows a few milliseconds behind.
TAIL_ENTRIES = 8_192
TAIL_BYTES = 8 * 1024 * 1024
# What one read brings at the most: a reader holds it several times over while applying it. An
# entry that is larger comes alone.
FILE_READ_BYTES = 1024 * 1024

_APPEND = statement("sqlite", "append")
_END = statement("sqlite", "end")
_READ = statement("sqlite", "read")
_FIRST = statement("sqlite", "first")


@dataclass(slots=True)
class _Batch:
    """Appends that share a commit."""

    keys: list[str] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    dones: list[Callable[[AppendResult], None]] = field(default_factory=list)
    size_bytes: int = 0

    def insert(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Insert the batch. Returns the first offset and the time; runs on the writer's thread."""
        first: int = connection.execute(_END).fetchone()[0]
        slices = []
        start = 1
        for key, value in zip(self.keys, self.values, strict=True):
            slices.append((key, start, len(value)))
            start += len(value)
        time_ms = nearest_time(time.time_ns() // 1_000_000)
        connection.execute(
            _APPEND, (first, time_ms, b"".join(self.values), orjson.dumps(slices).decode())
        )
        return first, time_ms


class SqliteEventLog:
    """See `landline.ports.EventLog`."""

    durability = "sqlite:fsync"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._waiting = _Batch()
        self._writing: _Batch | None = None
        self._is_flush_due = False
        self._deadline: asyncio.TimerHandle | None = None
        self._tail: deque[Entry] = deque()
        self._tail_bytes = 0
        self._grown = asyncio.Event()
        database.on_recovery(self._look_anew)
        self.end = 0  # as far as it is known: `ends` and every commit tell

    @property
    def partitions(self) -> int:
        """Return 1."""
        return 1

    def append(
        self,
        key: str,
        value: bytes,
        done: Callable[[AppendResult], None],
        partition: int | None = None,  # noqa: ARG002 - there is only one
    ) -> None:
        """Join the batch that the next commit takes."""
        waiting = self._waiting
        if len(waiting.keys) >= WAITING_RECORDS or waiting.size_bytes >= WAITING_BYTES:
            why = "the log is behind; send again in a moment"
            self._loop.call_soon(done, NotAppended(True, why))
            return
        waiting.keys.append(key)
        waiting.values.append(value)
        waiting.dones.append(done)
        waiting.size_bytes += len(value)
        if self._writing is None and not self._is_flush_due:
            # At the end of this turn of the loop, so that all its appends share the commit.
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def partition_of(self, key: str) -> int:  # noqa: ARG002 - the port's signature
        """Return the one partition."""
        return PARTITION

    async def ends(self, partitions: Collection[int] | None = None) -> Positions:  # noqa: ARG002
        """Return the next offset of the one partition."""
        end = await self._read(lambda connection: connection.execute(_END).fetchone()[0])
        if end > self.end:
            self.end = end
            self._tell()  # the file has what no commit has told of yet
        return {PARTITION: end}

    async def aged(self, share: float) -> Positions:  # noqa: ARG002 - the port's signature
        """Nothing ages: this log keeps everything."""
        return {}

    async def open_reader(self, start: Positions) -> "SqliteLogReader":
        """Return a reader of the one partition."""
        offset = start.get(PARTITION, 0)
        end = (await self.ends())[PARTITION]
        if offset > end:
            raise LogLost(
                f"the store has applied the log up to offset {offset}, but the log ends at {end}:"
                " records are gone. Restore the log, or the store to the same moment"
            )
        first = await self._read(lambda connection: connection.execute(_FIRST).fetchone()[0])
        _check_start(offset, first)
        return SqliteLogReader(self, offset)

    async def entries(self, offset: int, limit: int) -> Sequence[Entry]:
        """Return entries from memory when they are recent, otherwise from the file; wait while
        there are none.
        """
        while True:
            grown = self._grown  # before the look: what comes during it is not missed
            entries = self._from_tail(offset, limit)
            if entries is None:
                entries = await self._from_file(offset, limit)
            if entries:
                return entries
            await grown.wait()

    async def purge(self, before_ms: int, applied_offset: int, limit: int) -> int:
        """Remove at most `limit` of the oldest entries: below `applied_offset`, and written before
        `before_ms`. Returns how many went. The last entry of all stays. Raises: LogUnavailable.
        """
        try:
            return await self._database.write(
                lambda connection: purge_log(connection, before_ms, applied_offset, limit)
            )
        except WriteFailed as error:
            raise LogUnavailable(error.reason) from error

    def health(self) -> str | None:
        """Return why the file cannot be written, if so."""
        return self._database.health()

    async def close(self) -> None:
        """Wait until everything appended is settled."""
        while self._writing is not None or self._waiting.keys:  # noqa: ASYNC110 - once
            await asyncio.sleep(0.001)

    # Inside ----------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._writing is not None or not self._waiting.keys:
            return
        batch, self._waiting = self._waiting, _Batch()
        self._writing = batch
        self._deadline = self._loop.call_later(COMMIT_SECONDS, self._expire)
        self._database.submit(batch.insert, lambda result: self._settle(batch, result))

    def _settle(self, batch: _Batch, result: tuple[int, int] | WriteFailed) -> None:
        self._writing = None
        if self._deadline is not None:
            self._deadline.cancel()
        if isinstance(result, WriteFailed):
            if not result.certain:
                self._look_anew()
            for done in batch.dones:
                done(NotAppended(result.certain, result.reason))
        else:
            first, time_ms = result
            self._remember(batch, first, time_ms)
            for index, done in enumerate(batch.dones):
                done(Appended(Position(PARTITION, first + index), time_ms))
        self._flush()

    def _expire(self) -> None:
        """The disk hangs. What is with the writer thread is unknown; what waits is not written."""
        if self._writing is not None:
            dones, self._writing.dones = self._writing.dones, []
            for done in dones:
                done(NotAppended(False, f"the disk did not answer in {COMMIT_SECONDS:g} s"))
        waiting, self._waiting = self._waiting, _Batch()
        for done in waiting.dones:
            done(NotAppended(True, "the disk does not answer; send again later"))
        self._deadline = self._loop.call_later(COMMIT_SECONDS, self._expire)

    def _remember(self, batch: _Batch, first: int, time_ms: int) -> None:
        if self._tail and self._tail[-1].position.offset + 1 != first:
            # A commit that was reported as failed is in the file after all. The tail has no holes:
            # what lies before this batch is read from the file.
            self._forget_tail()
        for index, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            self._tail.append(Entry(Position(PARTITION, first + index), time_ms, key, value))
            self._tail_bytes += len(value)
        while len(self._tail) > TAIL_ENTRIES or self._tail_bytes > TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft().value)
        self.end = max(self.end, first + len(batch.keys))
        self._tell()

    def _look_anew(self) -> None:
        """The file may hold what the tail does not know of: have everybody read there."""
        self._forget_tail()
        self._tell()

    def _forget_tail(self) -> None:
        self._tail.clear()
        self._tail_bytes = 0

    def _tell(self) -> None:
        # An event for each growth: a reader that comes to wait cannot undo what wakes another.
        self._grown.set()
        self._grown = asyncio.Event()

    def _from_tail(self, offset: int, limit: int) -> list[Entry] | None:
        """Return entries of the tail; None when `offset` lies outside and the file must say."""
        if not self._tail or offset < self._tail[0].position.offset:
            return None
        start = offset - self._tail[0].position.offset
        if start >= len(self._tail) and offset < self.end:
            return None
        entries: list[Entry] = []
        size_bytes = 0
        # By index: readers are at its end, and to walk there takes as long as the tail is.
        for index in range(start, min(start + limit, len(self._tail))):
            entry = self._tail[index]
            size_bytes += len(entry.value)
            if entries and size_bytes > FILE_READ_BYTES:
                break
            entries.append(entry)
        return entries

    async def _from_file(self, offset: int, limit: int) -> list[Entry]:
        def read(connection: sqlite3.Connection) -> list[Entry]:
            first, rows = connection.execute(
                _READ, {"start": offset, "rows": limit, "bytes": FILE_READ_BYTES}
            ).fetchone()
            _check_start(offset, first)
            return [
                Entry(Position(PARTITION, at), time_ms, key, bytes.fromhex(value))
                for at, time_ms, key, value in orjson.loads(rows)
            ]

        return await self._read(read)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._database.read(work)
        except sqlite3.Error as error:
            raise LogUnavailable(f"cannot read the log: {error}") from error


def _check_start(offset: int, first: int | None) -> None:
    """Raises: LogLost where entries from `offset` on are not in the log any more."""
    if first is not None and offset < first:
        raise LogLost(
            f"the log was asked for offset {offset}, but it begins at {first}: what was before it"
            " was old and is removed (--keep-log)"
        )


class SqliteLogReader:
    """See `landline.ports.LogReader`."""

    def __init__(self, event_log: SqliteEventLog, offset: int) -> None:
        self._event_log = event_log
        self._offset = offset

    async def read(self, limit: int) -> Sequence[Stretch]:
        """Return the next stretch."""
        entries = await self._event_log.entries(self._offset, limit)
        start, self._offset = self._offset, entries[-1].position.offset + 1
        return [Stretch(PARTITION, start, self._offset, tuple(entries))]

    async def close(self) -> None:
        """Nothing is held."""
