"""The store in memory; see `simulation.weather`. It promises what `landline.ports` says."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from landline.errors import (
    StoreUnavailable,
    Unstorable,
)
from landline.model import (
    Appended,
    Batch,
    DeliveryStatus,
    Device,
    HistoryPage,
    HistoryQuery,
    ListedConversation,
    ListedMember,
    ListQuery,
    Mailbox,
    Message,
    Pending,
    PendingQuery,
    Positions,
    Room,
    covers,
)
from landline.protocol.identity import is_storable
from simulation.weather import LATE_SECONDS, Weather
from support.tables import Tables

T = TypeVar("T")


@dataclass(kw_only=True)
class Store(Tables):
    """The tables, on a machine of their own."""

    weather: Weather
    # Ids that this store can never store: its own fault, which no validator foresees.
    unstorable: set[str] = field(default_factory=set)
    # Users whose rows it cannot read, or not in time.
    unreadable: set[str] = field(default_factory=set)
    seen_ms: dict[Mailbox, int] = field(default_factory=dict)
    waiting: list[tuple[Positions, asyncio.Future[None]]] = field(default_factory=list)
    watch: Callable[[Positions], None] = lambda _applied: None

    def apply(self, batches: Iterable[Batch]) -> bool:
        """Apply batches in one transaction each."""
        batches = tuple(batches)
        for batch in batches:
            if not all(map(self._can_store, batch.messages)):
                raise Unstorable("a message that cannot be stored")
        is_all = super().apply(batches)
        self.watch(dict(self.applied))
        waiting, self.waiting = self.waiting, []
        for target, future in waiting:
            if not covers(self.applied, target):
                self.waiting.append((target, future))
            elif not future.done():
                future.set_result(None)
        return is_all

    def known_devices(self, user: str) -> Sequence[Device]:
        """Return the devices of a user."""
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        return [
            Device(
                user, name, frozenset(since), self.seen_ms.setdefault(Mailbox(user, name), now_ms)
            )
            for name, since in self.devices.get(user, {}).items()
        ]

    def _can_store(self, message: Message) -> bool:
        return message.id not in self.unstorable and is_storable(message.content)


class ModelMessageStore:
    """See `landline.ports.MessageStore`. One per process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._weather = store.weather

    @property
    def record_version(self) -> int:
        """Return 2: every server here is of this version."""
        return 2

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
        if not self._store.unreadable.isdisjoint(query.mailbox.user for query in queries):
            await asyncio.sleep(self._weather.rng.choice((0.0, LATE_SECONDS)))
            raise StoreUnavailable("a page of the index is damaged")
        return await self._ask(lambda: [self._store.pending(query) for query in queries])

    async def find(self, message_ids: Collection[str]) -> Mapping[str, Appended]:
        """Look messages up."""
        return await self._ask(lambda: self._store.find(message_ids))

    def health(self) -> str | None:
        """Return nothing: the weather is not announced."""
        return None

    async def close(self) -> None:
        """Nothing is held."""

    async def _ask(self, effect: Callable[[], T]) -> T:
        return await self._weather.ask("store", StoreUnavailable, effect)


class ModelConversationStore:
    """See `landline.ports.ConversationStore`. One per process."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def rooms(self, names: Collection[str]) -> Mapping[str, Room]:
        """Look rooms up."""
        return await self._ask(lambda: self._store.rooms(names))

    async def list(self, query: ListQuery) -> Sequence[ListedConversation]:
        """Return a page of a user's conversations."""
        return await self._ask(lambda: self._store.listed(query))

    async def history(self, query: HistoryQuery) -> HistoryPage | None:
        """Return a page of a conversation."""
        return await self._ask(lambda: self._store.history(query))

    async def members(self, user: str, conversation: str) -> Sequence[ListedMember] | None:
        """Return who is in a conversation."""
        return await self._ask(lambda: self._store.members(user, conversation))

    async def statuses(self, sender: str, message_ids: Collection[str]) -> Sequence[DeliveryStatus]:
        """Return who has received which messages."""
        return await self._ask(lambda: sorted(self._store.delivery(sender, message_ids)))

    async def end_user(self, user: str, name: str, before: Positions) -> None:
        """Call them by another name."""
        await self._ask(lambda: self._store.end_user(user, name, before))

    async def _ask(self, effect: Callable[[], T]) -> T:
        return await self._store.weather.ask("store", StoreUnavailable, effect)


class ModelDeviceStore:
    """See `landline.ports.DeviceStore`. One per process."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def devices(self, users: Collection[str]) -> Mapping[str, Sequence[Device]]:
        """Look the devices of users up."""
        return await self._ask(lambda: {user: self._store.known_devices(user) for user in users})

    async def seen(self, mailboxes: Collection[Mailbox]) -> None:
        """Note the time."""
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        await self._ask(lambda: self._store.seen_ms.update(dict.fromkeys(mailboxes, now_ms)))

    async def outlived(
        self, unseen_seconds: float, owed: int, after: Mailbox | None, limit: int
    ) -> tuple[Sequence[tuple[Device, str]], Mailbox | None]:
        """Look at all of them at once: they are few."""
        horizon_ms = int((asyncio.get_running_loop().time() - unseen_seconds) * 1000)

        def look() -> list[tuple[Device, str]]:
            every = [
                each for user in self._store.devices for each in self._store.known_devices(user)
            ]
            return [(each, "unseen") for each in every if each.seen_ms < horizon_ms]

        return await self._ask(look), None

    async def _ask(self, effect: Callable[[], T]) -> T:
        return await self._store.weather.ask("store", StoreUnavailable, effect)
