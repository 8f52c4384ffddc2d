"""A queue whose consumer takes all that waits at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Collects items; `run` hands them over in order, up to `limit` at a time.

    One wake-up of the event loop serves a whole batch. `handle` does its own waiting and
    retrying; whatever it raises ends `run`, and so the task group that owns it.
    """

    def __init__(self, handle: Callable[[list[T]], Awaitable[None]], limit: int) -> None:
        self._handle = handle
        self._limit = limit
        self._items: deque[T] = deque()
        self._is_waiting = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item. Never blocks: each caller has a bound of its own."""
        self._items.append(item)
        self._is_waiting.set()

    def keep(self, is_wanted: Callable[[T], bool]) -> None:
        """Forget what waits for nobody any more."""
        self._items = deque(filter(is_wanted, self._items))

    async def run(self) -> None:
        """Hand batches over for ever."""
        while True:
            await self._is_waiting.wait()
            batch = [self._items.popleft() for _ in range(min(self._limit, len(self._items)))]
            if not self._items:
                self._is_waiting.clear()
            if batch:
                await self._handle(batch)
