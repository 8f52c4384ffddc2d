"""Waiting for a condition: what a test does instead of sleeping for a guessed time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.005


async def until(is_so: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait for a condition, generously; what it was goes into the failure."""
    try:
        async with asyncio.timeout(seconds):
            while not is_so():  # noqa: ASYNC110 - any condition, so there is no event
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s in vain until {what}") from None


async def go_round(turns: int = 1) -> None:
    """Let the event loop go round: everything that is ready now has its turn."""
    for _ in range(turns):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Have something that does not end by itself run during the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()  # raises what ended it
