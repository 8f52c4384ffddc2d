"""The store in memory; see `simulation.weather`. It promises what `landline.ports` says."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from landline.errors import (
    StoreUnavailable,
    Unstorable,
)
from landline.model import (
    Appended,
    Batch,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Quarantined,
    Receipt,
    covers,
)
from simulation.weather import LATE_SECONDS, Weather
from support.owed import answer

T = TypeVar("T")


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
