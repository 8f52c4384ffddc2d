"""Log, store, directory and bus in memory, with the weather that the seed decides.

Each keeps what `landline.ports` promises and no more. A request is on its way for a while, takes
effect at one moment, and its answer is on its way for a while; whoever asked may be gone by then,
and what had left lands all the same. Bad weather loses requests and answers, repeats and reorders
hints, and lets answers come after every deadline.
"""

import asyncio
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from math import inf, nextafter
from typing import TypeVar

from landline.errors import (
    DirectoryUnavailable,
    LandlineError,
    LogLost,
    LogUnavailable,
    StoreUnavailable,
    Unstorable,
)
from landline.model import (
    Appended,
    AppendResult,
    Batch,
    Entry,
    Message,
    NotAppended,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Quarantined,
    Receipt,
    Stretch,
    covers,
)
from landline.protocol.partitions import partition_of
from simulation.loop import WORLD, lane_context
from support.owed import answer

T = TypeVar("T")

# The log's own deadline for an append.
APPEND_SECONDS = 1.5
# What one process may have under way.
FLYING_BYTES = 64 * 1024 * 1024
# The log's clock when the loop's stands at zero: decoration, but it has to look like a time.
EPOCH_MS = 1_700_000_000_000
# How soon a directory asserts again what it could not assert.
ASSERT_SECONDS = 1.0
# Longer than every deadline of the server, as it is set in `world`.
LATE_SECONDS = 4.0
# Services and networks go on when a process that asked them is paused or gone.
OUTSIDE = lane_context(WORLD)


@dataclass
class Weather:
    """What may go wrong now, and how long things take."""

    rng: random.Random
    faults: frozenset[str] = frozenset()
    pace: float = 0.004
    # Who is away, and the requests that stand in its sockets until it is back.
    away: dict[str, list[Callable[[], None]]] = field(default_factory=dict)

    def delay(self) -> float:
        """Return how long something is under way: mostly short, now and then not."""
        chance = self.rng.random()
        return chance * self.pace if chance < 0.9 else chance * self.pace * 25

    def leave(self, name: str) -> None:
        """A service is away from now on: refuses, or takes requests and does not answer them."""
        self.away.setdefault(name, [])

    def come_back(self, name: str) -> None:
        """It is back, and finds what stands in its sockets: who asked has long given up."""
        for arrive in self.away.pop(name, ()):
            asyncio.get_running_loop().call_later(self.delay(), arrive, context=OUTSIDE)

    def strikes(self, fault: str, probability: float) -> bool:
        """Say whether a fault happens now."""
        return fault in self.faults and self.rng.random() < probability

    async def ask(
        self, fault: str, error: Callable[[str], LandlineError], effect: Callable[[], T]
    ) -> T:
        """Ask a service: `effect` happens there, once or not at all, whatever becomes of us."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        fate = self.rng.random() if fault in self.faults else 1.0

        def arrive() -> None:
            if fault in self.away:
                if self.rng.random() < 0.5:
                    reply(error("nobody listens"), None)
                else:
                    self.away[fault].append(arrive)
                return
            if fate < 0.04:
                reply(error("the request was lost"), None)
                return
            try:
                result = effect()
            except LandlineError as refused:
                reply(refused, None)
                return
            if fate < 0.08:
                reply(error("the answer was lost"), None)
            elif fate < 0.11:
                loop.call_later(LATE_SECONDS, reply, None, result, context=OUTSIDE)
            elif self.rng.random() < 0.5:
                reply(None, result)
            else:
                loop.call_later(self.delay(), reply, None, result, context=OUTSIDE)

        def reply(failure: LandlineError | None, result: T | None) -> None:
            if answer.done():
                return
            if failure is not None:
                answer.set_exception(failure)
            else:
                answer.set_result(result)  # type: ignore[arg-type]  # there is one without failure

        late = LATE_SECONDS if 0.11 <= fate < 0.13 else 0.0
        loop.call_later(late + self.delay(), arrive, context=OUTSIDE)
        return await answer


# The log ---------------------------------------------------------------------------------------


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

    def put(self, key: str, value: bytes) -> Appended:
        """Append a record. Now and then an offset before it holds nothing of ours."""
        loop = asyncio.get_running_loop()
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
class _Flight:
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
        self._flights: dict[int, deque[_Flight]] = {}
        self._flying_bytes = 0
        self._lands_at: dict[int, float] = {}
        self._is_closed = False

    def append(self, key: str, value: bytes, done: Callable[[AppendResult], None]) -> None:
        """Decide what becomes of the record."""
        if self._is_closed:  # a process that is gone sends nothing
            return
        partition = partition_of(key, self._log.partitions)
        flight = _Flight(done, len(value))
        self._flights.setdefault(partition, deque()).append(flight)
        self._flying_bytes += len(value)
        fate = self._weather.rng.random() if "log" in self._weather.faults else 1.0
        lands_at = self._loop.time() + self._weather.delay()
        is_led = partition not in self._log.leaderless
        if (
            fate < 0.05
            or self._flying_bytes > FLYING_BYTES
            or not (is_led or self._weather.rng.random() < 0.5)
        ):
            self._settle_later(partition, flight, NotAppended(True, "the log is behind"))
            return
        if fate < 0.17 or not is_led:
            self._expire_later(partition, flight)
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
            appended = self._log.put(key, value)
            if is_lie:
                self._log.denied.add(appended.position)
                self._settle_later(partition, flight, NotAppended(False, "the commit failed"))
            elif not is_answer_lost:
                self._settle_later(partition, flight, appended)

        def arrive() -> None:
            if not self._log.when_led(partition, land):
                self._expire_later(partition, flight)

        self._loop.call_at(lands_at, arrive, context=OUTSIDE)

    def _expire_later(self, partition: int, flight: _Flight) -> None:
        unknown = NotAppended(False, "no answer in time")
        self._loop.call_later(
            APPEND_SECONDS, self._settle, partition, flight, unknown, context=OUTSIDE
        )

    def _settle_later(self, partition: int, flight: _Flight, result: AppendResult) -> None:
        delay = self._weather.delay()
        self._loop.call_later(delay, self._settle, partition, flight, result, context=OUTSIDE)

    def _settle(self, partition: int, flight: _Flight, result: AppendResult) -> None:
        flight.result = flight.result or result
        flights = self._flights[partition]
        while flights and (first := flights[0]).result is not None:
            flights.popleft()
            self._flying_bytes -= first.size_bytes
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
        while any(self._flights.values()):  # noqa: ASYNC110 - at the end, once
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


# The store -------------------------------------------------------------------------------------


@dataclass
class Store:
    """The tables, on a machine of their own."""

    weather: Weather
    messages: dict[str, Message] = field(default_factory=dict)
    receipts: dict[tuple[str, str], Receipt] = field(default_factory=dict)
    pending: dict[str, dict[str, Message]] = field(default_factory=dict)
    quarantine: dict[Position, Quarantined] = field(default_factory=dict)
    applied: dict[int, int] = field(default_factory=dict)
    # Ids that this store can never store: its own fault, which no validator foresees.
    unstorable: set[str] = field(default_factory=set)
    # Mailboxes whose rows it cannot read, or not in time.
    unreadable: set[str] = field(default_factory=set)
    waiting: list[tuple[Positions, asyncio.Future[None]]] = field(default_factory=list)
    watch: Callable[[Positions], None] = lambda _applied: None

    def apply(self, batches: Sequence[Batch]) -> bool:
        """Apply batches in one transaction each."""
        for batch in batches:
            if not self.unstorable.isdisjoint(message.id for message in batch.messages):
                raise Unstorable("a message that cannot be stored")
        is_all = False not in [self.apply_one(batch) for batch in batches]
        self.watch(dict(self.applied))
        waiting, self.waiting = self.waiting, []
        for target, future in waiting:
            if not covers(self.applied, target):
                self.waiting.append((target, future))
            elif not future.done():
                future.set_result(None)
        return is_all

    def apply_one(self, batch: Batch) -> bool:
        """Move the partition on by compare-and-set, its rows with it."""
        if self.applied.get(batch.partition, 0) != batch.start:
            return False
        self.applied[batch.partition] = batch.end
        self.join(batch)
        return True

    def join(self, batch: Batch) -> None:
        """Join what a batch says to the rows."""
        for receipt in batch.receipts:
            key = (receipt.message_id, receipt.recipient)
            known = self.receipts.setdefault(key, receipt)
            if receipt.delivered_at < known.delivered_at:
                self.receipts[key] = receipt
            self.pending.get(receipt.recipient, {}).pop(receipt.message_id, None)
        for message in batch.messages:
            known_message = self.messages.setdefault(message.id, message)
            if known_message is not message:
                if message.position < known_message.position:
                    self.messages[message.id] = message
                continue
            for recipient in message.recipients:
                if (message.id, recipient) not in self.receipts:
                    self.pending.setdefault(recipient, {})[message.id] = message
        for bad in batch.quarantined:
            self.quarantine[bad.position] = bad

    def owed(self, query: PendingQuery) -> Pending:
        """Answer one query from what is there now."""
        return answer(self.pending.get(query.mailbox, {}).values(), query, dict(self.applied))


class ModelMessageStore:
    """See `landline.ports.MessageStore`. One per process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._weather = store.weather

    async def apply(self, batches: Sequence[Batch]) -> bool:
        """Apply; in bad weather perhaps without an answer."""
        return await self._ask(lambda: self._store.apply(batches))

    async def applied(self) -> Positions:
        """Return the positions."""
        return await self._ask(lambda: dict(self._store.applied))

    async def wait_applied(self, target: Positions) -> Positions:
        """Wait for the transaction that gets there."""
        if self._weather.strikes("store", 0.05):
            raise StoreUnavailable("the connection broke while waiting")
        if not covers(self._store.applied, target):
            reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._store.waiting.append((target, reached))
            await reached
        return await self._ask(lambda: dict(self._store.applied))

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        """Answer all queries from one snapshot, unless a mailbox cannot be read."""
        if not self._store.unreadable.isdisjoint(query.mailbox for query in queries):
            await asyncio.sleep(self._weather.rng.choice((0.0, LATE_SECONDS)))
            raise StoreUnavailable("a page of the index is damaged")
        return await self._ask(lambda: [self._store.owed(query) for query in queries])

    async def find(self, message_ids: Collection[str]) -> Mapping[str, Appended]:
        """Look messages up."""

        def look() -> Mapping[str, Appended]:
            found = (self._store.messages.get(id) for id in message_ids)
            return {each.id: Appended(each.position, each.time_ms) for each in found if each}

        return await self._ask(look)

    def health(self) -> str | None:
        """Return nothing: the weather is not announced."""
        return None

    async def close(self) -> None:
        """Nothing is held."""

    async def _ask(self, effect: Callable[[], T]) -> T:
        return await self._weather.ask("store", StoreUnavailable, effect)


# Hints -----------------------------------------------------------------------------------------


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


@dataclass
class Exchange:
    """The routing topic: who listens where."""

    weather: Weather
    seed: int = 0
    ears: dict[str, tuple[Callable[[bytes], None], Context | None]] = field(default_factory=dict)
    _chances: dict[str, random.Random] = field(default_factory=dict)

    def towards(self, address: str) -> Weather:
        """Return the weather on the way there. Its chances are its own: a server takes the
        addresses of a hint from a set, and their order must not decide about anything else.
        """
        rng = self._chances.get(address)
        if rng is None:
            rng = self._chances[address] = random.Random(f"{self.seed} {address}")
        return replace(self.weather, rng=rng)


class ModelRoutingBus:
    """See `landline.ports.RoutingBus`. One per process."""

    def __init__(self, exchange: Exchange, address: str, context: Context | None = None) -> None:
        self._exchange = exchange
        self._address = address
        self._context = context
        self._arrives_at: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()

    def publish(self, address: str, hint: bytes) -> None:
        """Send a hint: in bad weather never, twice, or behind later ones."""
        weather = self._exchange.towards(address)
        if weather.strikes("hints", 0.3):
            return
        for _ in range(2 if weather.strikes("hints", 0.1) else 1):
            at = self._loop.time() + weather.delay()
            if "hints" not in weather.faults:
                at = self._arrives_at[address] = max(at, self._arrives_at.get(address, 0))
            elif weather.rng.random() < 0.1:
                at += LATE_SECONDS * weather.rng.random()
            self._loop.call_at(at, self._arrive, address, hint, context=OUTSIDE)

    def _arrive(self, address: str, hint: bytes) -> None:
        ear = self._exchange.ears.get(address)
        if ear is not None:
            receive, context = ear
            self._loop.call_soon(receive, hint, context=context)

    async def listen(self, receive: Callable[[bytes], None]) -> None:
        """Hear from now on."""
        self._exchange.ears[self._address] = receive, self._context

    def health(self) -> str | None:
        """Return nothing: the weather is not announced."""
        return None

    async def close(self) -> None:
        """Hear nothing more."""
        self.die()

    def die(self) -> None:
        """Hear nothing more."""
        self._exchange.ears.pop(self._address, None)
