"""The log in memory; see `simulation.weather`. It promises what `landline.ports` says, no more."""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextvars import Context
from dataclasses import dataclass
from math import inf, nextafter

from landline.errors import (
    LogLost,
    LogUnavailable,
)
from landline.model import (
    Appended,
    AppendResult,
    Entry,
    NotAppended,
    Position,
    Positions,
    Stretch,
)
from landline.protocol.partitions import partition_of
from simulation.weather import OUTSIDE, Weather

# The log's own deadline for an append.
APPEND_SECONDS = 1.5
# What one process may have under way.
UNANSWERED_BYTES = 64 * 1024 * 1024
# The log's clock when the loop's stands at zero: decoration, but it has to look like a time.
EPOCH_MS = 1_700_000_000_000


class Log:
    """The records, on machines of their own."""

    def __init__(self, weather: Weather, partitions: int, start: int = 0) -> None:
        self.weather = weather
        self.partitions = partitions
        self.entries: dict[int, list[Entry]] = {each: [] for each in range(partitions)}
        self.ends: dict[int, int] = dict.fromkeys(range(partitions), start)
        self.appended_at: dict[Position, float] = {}
        # Records whose append was reported as failed at once, and that are here all the same.
        self.denied: set[Position] = set()
        self.leaderless: set[int] = set()
        self.unread: set[int] = set()  # readers have lost sight of these
        self.is_aged = False
        self._waiting_for_leader: dict[int, list[Callable[[], None]]] = {}
        self._waiting_for_news: list[asyncio.Future[None]] = []

    def partition_of(self, key: str) -> int:
        """Return where records of this key go."""
        return partition_of(key, self.partitions)

    def put(self, key: str, value: bytes, partition: int | None = None) -> Appended:
        """Append a record. Now and then an offset before it holds nothing of ours."""
        loop = asyncio.get_running_loop()
        if partition is None:
            partition = partition_of(key, self.partitions)
        gap = int("gaps" in self.weather.faults and self.weather.rng.random() < 0.2)
        position = Position(partition, self.ends[partition] + gap)
        time_ms = EPOCH_MS + int(loop.time() * 1000)
        self.entries[partition].append(Entry(position, time_ms, key, value))
        self.ends[partition] = position.offset + 1
        self.appended_at[position] = loop.time()
        self._tell_news()
        return Appended(position, time_ms)

    def when_led(self, partition: int, act: Callable[[], None]) -> bool:
        """Act now, or when the partition has a leader again. Returns whether it was now."""
        if partition in self.leaderless:
            self._waiting_for_leader.setdefault(partition, []).append(act)
            return False
        act()
        return True

    def see(self, partition: int) -> None:
        """Readers see the partition again."""
        self.unread.discard(partition)
        self._tell_news()

    def lead(self, partition: int) -> None:
        """A leader is elected."""
        self.leaderless.discard(partition)
        for act in self._waiting_for_leader.pop(partition, ()):
            act()
        self._tell_news()

    async def news(self) -> None:
        """Wait until there may be something to read."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting_for_news.append(waiting)
        await waiting

    def _tell_news(self) -> None:
        waiting, self._waiting_for_news = self._waiting_for_news, []
        for each in waiting:
            if not each.done():
                each.set_result(None)


@dataclass(eq=False)
class _Append:
    """An append under way. Results of a partition come in the order of the appends."""

    done: Callable[[AppendResult], None]
    size_bytes: int
    result: AppendResult | None = None


class ModelEventLog:
    """See `landline.ports.EventLog`. One per process; its answers are told in `context`."""

    durability = "model"

    def __init__(self, log: Log, context: Context | None = None) -> None:
        self._log = log
        self._weather = log.weather
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._appends: dict[int, deque[_Append]] = {}
        self._unanswered_bytes = 0
        self._lands_at: dict[int, float] = {}
        self._is_closed = False

    @property
    def partitions(self) -> int:
        """Return how many there are."""
        return self._log.partitions

    def append(
        self,
        key: str,
        value: bytes,
        done: Callable[[AppendResult], None],
        partition: int | None = None,
    ) -> None:
        """Decide what becomes of the record."""
        if self._is_closed:  # a process that is gone sends nothing
            return
        if partition is None:
            partition = partition_of(key, self._log.partitions)
        append = _Append(done, len(value))
        self._appends.setdefault(partition, deque()).append(append)
        self._unanswered_bytes += len(value)
        fate = self._weather.rng.random() if "log" in self._weather.faults else 1.0
        lands_at = self._loop.time() + self._weather.delay()
        is_led = partition not in self._log.leaderless
        if (
            fate < 0.05
            or self._unanswered_bytes > UNANSWERED_BYTES
            or not (is_led or self._weather.rng.random() < 0.5)
        ):
            self._settle_later(partition, append, NotAppended(True, "the log is behind"))
            return
        if fate < 0.17 or not is_led:
            self._expire_later(partition, append)
        if fate < 0.08:
            return  # never lands
        if fate < 0.11:
            lands_at += 2 * APPEND_SECONDS  # lands when everybody has given up
        else:  # what one process sends to one partition lands in order
            lands_at = max(lands_at, nextafter(self._lands_at.get(partition, 0), inf))
            self._lands_at[partition] = lands_at
        is_answer_lost = 0.11 <= fate < 0.14
        is_lie = 0.14 <= fate < 0.17  # a commit that counts as failed, and is in the log

        def land() -> None:
            appended = self._log.put(key, value, partition)
            if is_lie:
                self._log.denied.add(appended.position)
                self._settle_later(partition, append, NotAppended(False, "the commit failed"))
            elif not is_answer_lost:
                self._settle_later(partition, append, appended)

        def arrive() -> None:
            if not self._log.when_led(partition, land):
                self._expire_later(partition, append)

        self._loop.call_at(lands_at, arrive, context=OUTSIDE)

    def _expire_later(self, partition: int, append: _Append) -> None:
        unknown = NotAppended(False, "no answer in time")
        self._loop.call_later(
            APPEND_SECONDS, self._settle, partition, append, unknown, context=OUTSIDE
        )

    def _settle_later(self, partition: int, append: _Append, result: AppendResult) -> None:
        delay = self._weather.delay()
        self._loop.call_later(delay, self._settle, partition, append, result, context=OUTSIDE)

    def _settle(self, partition: int, append: _Append, result: AppendResult) -> None:
        append.result = append.result or result
        appends = self._appends[partition]
        while appends and (first := appends[0]).result is not None:
            appends.popleft()
            self._unanswered_bytes -= first.size_bytes
            if not self._is_closed:
                self._loop.call_soon(first.done, first.result, context=self._context)

    def partition_of(self, key: str) -> int:
        """Return the partition that `append` chooses."""
        return self._log.partition_of(key)

    async def ends(self, partitions: Collection[int] | None = None) -> Positions:
        """Ask every partition that has a leader, or these."""
        return await self._weather.ask("log", LogUnavailable, lambda: self._ends(partitions))

    def _ends(self, partitions: Collection[int] | None) -> Positions:
        log = self._log
        asked = log.ends if partitions is None else partitions
        led = {each: log.ends[each] for each in asked if each not in log.leaderless}
        if not led:
            raise LogUnavailable("no partition has a leader")
        return led

    async def aged(self, share: float) -> Positions:
        """Everything has used up its time, or nothing."""
        log = self._log
        return await self._weather.ask(
            "log", LogUnavailable, lambda: dict(log.ends) if log.is_aged else {}
        )

    async def open_reader(self, start: Positions) -> "ModelLogReader":
        """Return a reader. A start beyond the end means that the log went back."""

        def look() -> None:
            for partition, offset in start.items():
                if offset > self._log.ends[partition]:
                    end = self._log.ends[partition]
                    raise LogLost(f"partition {partition} ends at {end}, not at {offset}")

        await self._weather.ask("log", LogUnavailable, look)
        return ModelLogReader(self._log, start)

    def health(self) -> str | None:
        """Return nothing: the weather is not announced."""
        return None

    async def close(self) -> None:
        """Wait for what is under way."""
        while any(self._appends.values()):  # noqa: ASYNC110 - at the end, once
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)  # the last ones are settled, and about to be told
        self._is_closed = True

    def die(self) -> None:
        """The process is gone: nothing more is sent, nobody is told anything."""
        self._is_closed = True


class ModelLogReader:
    """See `landline.ports.LogReader`."""

    def __init__(self, log: Log, start: Positions) -> None:
        self._log = log
        self._at = {each: start.get(each, 0) for each in range(log.partitions)}

    async def read(self, limit: int) -> Sequence[Stretch]:
        """Wait for something, then for what else is on its way."""
        weather = self._log.weather
        while True:
            await asyncio.sleep(weather.delay())
            if weather.strikes("log", 0.02):
                raise LogUnavailable("the reader has lost its connection")
            if stretches := self._take(limit):
                return stretches
            await self._log.news()

    def _take(self, limit: int) -> list[Stretch]:
        stretches = []
        for partition, start in self._at.items():
            end = self._log.ends[partition]
            is_away = partition in self._log.leaderless or partition in self._log.unread
            if start >= end or is_away or limit <= 0:
                continue
            entries = self._log.entries[partition]
            first = bisect_left(entries, Position(partition, start), key=lambda each: each.position)
            taken = tuple(entries[first : first + limit])
            limit -= len(taken)
            if first + len(taken) < len(entries):
                end = taken[-1].position.offset + 1
            stretches.append(Stretch(partition, start, end, taken))
            self._at[partition] = end
        return stretches

    async def close(self) -> None:
        """Nothing is held."""
