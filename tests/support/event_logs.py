"""Event logs for the tests: each adapter on whatever it keeps its records in."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from landline.adapters.kafka import KafkaCluster, KafkaEventLog
from landline.adapters.kafka.topics import inspect_topic
from landline.adapters.sqlite import Database, SqliteEventLog
from landline.adapters.sqlite.database import Work, WriteFailed
from landline.errors import LogLost
from landline.model import Appended, AppendResult, Entry, NotAppended, Positions, Stretch
from landline.ports import EventLog, LogReader
from support.waiting import WAIT_SECONDS, until

# No adapter says when a read waits. Within this time it has looked, in its thread or at its broker.
LOOK_SECONDS = 0.05

Record = tuple[str, bytes]
T = TypeVar("T")


class LogHome(Protocol):
    """One log's records, and the way to them."""

    async def open(self) -> EventLog:
        """Return an adapter on these records; a second time, as a process does that restarts."""

    async def close(self) -> None:
        """Close the adapters and let go of the records."""


class SqliteHome:
    """A data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._opened: tuple[Database, SqliteEventLog] | None = None

    async def open(self) -> EventLog:
        """Open the file. Only one at a time can, so the one before is closed."""
        await self.close()
        database = Database(self._directory, lambda _why: None)
        self._opened = database, SqliteEventLog(database)
        return self._opened[1]

    async def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            database, event_log = self._opened
            self._opened = None
            await event_log.close()
            await database.close()


class LyingDatabase(Database):
    """Commits, and says while `is_lying` that it could not: an fsync that failed after the pages
    were written, say.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, lambda _why: None)
        self.is_lying = False

    def submit(self, work: Work[T], done: Callable[[T | WriteFailed], None]) -> None:
        """Do the work, and lie about it."""
        lie = WriteFailed(False, "the disk says no") if self.is_lying else None
        super().submit(work, lambda result: done(lie or result))


class KafkaHome:
    """A topic, and on it one adapter at a time, whose `run` is watched."""

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        epoch: int = 0,
        *,
        hints: str | None = None,
        allow_unsafe: bool = False,
    ) -> None:
        self._cluster = cluster
        self.topic = topic
        self._epoch = epoch
        self._hints = hints
        self._allow_unsafe = allow_unsafe
        self._opened: tuple[KafkaEventLog, asyncio.Task[None]] | None = None

    async def open(self) -> KafkaEventLog:
        """Close the adapter before, as a process does that ends, and make another."""
        await self.close()
        topic = await inspect_topic(self._cluster, self.topic)
        event_log = KafkaEventLog(
            self._cluster,
            self.topic,
            topic,
            self._epoch,
            hints=self._hints,
            allow_unsafe=self._allow_unsafe,
        )
        self._opened = event_log, asyncio.create_task(event_log.run())
        return event_log

    async def lost(self) -> LogLost:
        """Wait until `run` has found the log lost, and return how it says so."""
        assert self._opened is not None
        event_log, running = self._opened
        await asyncio.wait({running}, timeout=WAIT_SECONDS)
        assert running.done(), "`run` goes on"
        self._opened = None
        await event_log.close()
        group = running.exception()
        assert isinstance(group, ExceptionGroup)
        (error,) = group.exceptions
        assert isinstance(error, LogLost)
        return error

    async def close(self) -> None:
        """Close in the order in which a server stops. What `run` tripped over comes out here."""
        if self._opened is not None:
            event_log, running = self._opened
            self._opened = None
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await event_log.close()


class Appends:
    """What was appended, and what came of it, in the order in which that was told."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log
        self.records: list[Record] = []
        self.results: dict[int, AppendResult] = {}  # by the record's number
        self.calls: Counter[int] = Counter()
        self.is_appending = False

    def append(self, records: Iterable[Record]) -> None:
        """Append them all in this turn of the loop."""
        for key, value in records:
            number = len(self.records)
            self.records.append((key, value))
            self.is_appending = True
            self._event_log.append(key, value, partial(self._done, number))
            self.is_appending = False

    async def settled(self) -> Mapping[int, AppendResult]:
        """Wait for every result and return them by the record's number."""
        await until(lambda: len(self.results) == len(self.records), "all appends are settled")
        return self.results

    async def acknowledged(self) -> list[Entry]:
        """Wait for every result; each has to be an acknowledgement. Return the entries."""
        results = await self.settled()
        refused = [result for result in results.values() if isinstance(result, NotAppended)]
        assert not refused
        return self.entries

    @property
    def entries(self) -> list[Entry]:
        """Return what has been acknowledged so far, as it has to be read back."""
        return [
            Entry(result.position, result.time_ms, *self.records[number])
            for number, result in self.results.items()
            if isinstance(result, Appended)
        ]

    def _done(self, number: int, result: AppendResult) -> None:
        assert not self.is_appending, "done came before append returned"
        self.calls[number] += 1
        self.results[number] = result


async def append_all(event_log: EventLog, records: Iterable[Record]) -> list[Entry]:
    """Append records, all of which must be acknowledged, and return them as entries."""
    appends = Appends(event_log)
    appends.append(records)
    return await appends.acknowledged()


async def until_aged(event_log: EventLog, share: float, wanted: Positions) -> None:
    """Wait until it can tell what is aged. A first stamp that is late tells it nothing for a while,
    but never anything else.
    """
    told: Positions = {}

    async def is_told() -> bool:
        nonlocal told
        told = await event_log.aged(share)
        assert told in ({}, wanted)
        return told == wanted

    await until(is_told, lambda: f"{told} is {wanted}")


class Follower:
    """Reads on and checks what every reader keeps to: from its start, no skip, no repeat."""

    def __init__(self, reader: LogReader, start: Positions) -> None:
        self.reader = reader
        self.positions = dict(start)
        self.entries: list[Entry] = []

    @classmethod
    async def open(cls, event_log: EventLog, start: Positions) -> "Follower":
        """Open a reader at `start` and follow it."""
        return cls(await event_log.open_reader(start), start)

    async def read(self, limit: int = 1_000) -> Sequence[Stretch]:
        """Read once."""
        async with asyncio.timeout(WAIT_SECONDS):
            stretches = await self.reader.read(limit)
        assert stretches, "a read that returns has something"
        assert len({stretch.partition for stretch in stretches}) == len(stretches)
        for stretch in stretches:
            assert stretch.start == self.positions.get(stretch.partition, 0)
            at = stretch.start
            for entry in stretch.entries:
                assert entry.position.partition == stretch.partition
                assert at <= entry.position.offset < stretch.end
                at = entry.position.offset + 1
            assert stretch.end > stretch.start
            self.positions[stretch.partition] = stretch.end
            self.entries += stretch.entries
        return stretches

    async def begin_to_wait(self) -> asyncio.Task[Sequence[Stretch]]:
        """Begin a read that finds nothing, and return it once it waits."""
        reading = asyncio.create_task(self.read())
        ended, _ = await asyncio.wait({reading}, timeout=LOOK_SECONDS)
        assert not ended, "there is nothing to read yet"
        return reading

    async def read_until(self, ends: Positions, limit: int = 1_000) -> list[Entry]:
        """Read up to `ends`, close, and return all that came."""
        while any(self.positions.get(partition, 0) < end for partition, end in ends.items()):
            await self.read(limit)
        await self.reader.close()
        return self.entries


async def read_all(event_log: EventLog, start: Positions | None = None) -> list[Entry]:
    """Return every entry from `start` to the present ends."""
    follower = await Follower.open(event_log, start or {})
    return await follower.read_until(await event_log.ends())


def by_partition(entries: Iterable[Entry]) -> dict[int, list[Entry]]:
    """Return entries by partition, in the order in which they came."""
    partitions: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        partitions[entry.position.partition].append(entry)
    return dict(partitions)


def in_order(entries: Iterable[Entry]) -> dict[int, list[Entry]]:
    """Return entries by partition, in the order of their offsets: how a reader must bring them."""
    return {
        partition: sorted(theirs, key=lambda entry: entry.position.offset)
        for partition, theirs in by_partition(entries).items()
    }
