"""SIGTERM and SIGINT: heard from the first turn of the loop, also while a server still starts."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, TypeVar

from landline.observability.logging import get_logger, shutdown_logging

T = TypeVar("T")

# How long what is being opened has, to let go of what it holds. Drivers may hang in a call.
LET_GO_SECONDS = 3.0

log = get_logger(__name__)


class Stop:
    """Knows whether this process has been asked to stop."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            # Not the loop's own way: it reads signals from a pipe, which is full when others come
            # by the hundred while the loop is busy, and this one would be lost.
            signal.signal(number, partial(self._hear, loop, before))

    async def wait(self) -> None:
        """Wait until it is asked to stop."""
        await self._asked.wait()

    async def unless_asked(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns. End the process instead, when that is asked for earlier."""
        working = asyncio.create_task(work, name="start")
        asked = asyncio.create_task(self.wait(), name="stop")
        await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not working.done():
            log.info("stopping", reason="asked to stop while the server starts")
            working.cancel()
            await asyncio.wait({working}, timeout=LET_GO_SECONDS)
            log.info("stopped", exit_code=0)
            _end(0)
        return working.result()

    def _hear(
        self, loop: asyncio.AbstractEventLoop, before: Any, number: int, _frame: object
    ) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._on_signal, number)
            return
        signal.signal(number, before)
        signal.raise_signal(number)

    def _on_signal(self, number: int) -> None:
        if self._asked.is_set():
            # Asked twice: at once. What was accepted is on disk, so there is nothing to save.
            log.warning("stopped_at_once", signal=number)
            _end(128 + number)
        self._asked.set()


def _end(exit_code: int) -> NoReturn:
    """End without waiting for threads, which may hang in a driver's call for minutes."""
    with suppress(Exception):  # a log that cannot be written must not keep anybody alive
        shutdown_logging()
    os._exit(exit_code)
