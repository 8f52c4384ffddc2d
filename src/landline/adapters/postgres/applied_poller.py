"""Waiting for the writer: one question at a time for all waiters, and none when nobody waits."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from landline.errors import StoreUnavailable
from landline.model import Positions, covers

# How late a waiter may learn of another server's writer; one's own wakes it at once.
POLL_SECONDS: Final = 0.025


class AppliedPoller:
    """Asks how far the log has been applied, for as long as somebody waits for an answer.

    It remembers nothing from one round to the next: a database that was restored may be behind
    what it was.
    """

    def __init__(self, ask: Callable[[], Awaitable[Positions]]) -> None:
        self._ask = ask
        self._waiting: dict[asyncio.Future[Positions], Positions] = {}
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, target: Positions) -> Positions:
        """Return the first answer that covers `target`. Raises what asking raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Positions] = loop.create_future()
        self._waiting[answer] = target
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._poll())
        try:
            return await answer
        finally:
            self._waiting.pop(answer, None)

    def moved(self) -> None:
        """Something was applied: look now."""
        self._moved.set()

    async def close(self) -> None:
        """Stop asking; those that still wait are told so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._fail(StoreUnavailable("the store is closed"))

    async def _poll(self) -> None:
        while self._waiting:
            self._moved.clear()
            await self._ask_once()
            if self._waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._moved.wait()
        self._task = None  # not a turn later: the next caller must start another one

    async def _ask_once(self) -> None:
        try:
            applied = await self._ask()
        except Exception as error:  # noqa: BLE001 - the waiters must hear of it, of a defect too
            self._fail(error)
        else:
            for answer in self._take(lambda target: covers(applied, target)):
                answer.set_result(applied)

    def _fail(self, error: Exception) -> None:
        for answer in self._take(lambda _target: True):
            answer.set_exception(error)

    def _take(self, is_due: Callable[[Positions], bool]) -> list[asyncio.Future[Positions]]:
        due = [answer for answer, target in self._waiting.items() if is_due(target)]
        for answer in due:
            del self._waiting[answer]
        return [answer for answer in due if not answer.done()]
