"""Waiting for what a test can observe, instead of sleeping for a guessed time."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

WAIT_SECONDS = 60.0

_LOOK_SECONDS = 0.005
_ASK_SECONDS = 0.05  # a question to a server costs more than a look

What = str | Callable[[], str]


async def until(
    is_so: Callable[[], bool | Awaitable[bool]], what: What, seconds: float = WAIT_SECONDS
) -> None:
    """Wait for a condition, generously. `what` it was goes into the failure."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = is_so()
                pause_seconds = _LOOK_SECONDS
                if inspect.isawaitable(answer):
                    answer, pause_seconds = await answer, _ASK_SECONDS
                if answer:
                    return
                await asyncio.sleep(pause_seconds)
    except TimeoutError:
        raise AssertionError(_complaint(what, seconds)) from None


async def until_equal(
    ask: Callable[[], Awaitable[object]], wanted: object, seconds: float = WAIT_SECONDS
) -> None:
    """Ask until the answer is the wanted one. The last answer goes into the failure."""
    last: object = None

    async def is_equal() -> bool:
        nonlocal last
        last = await ask()
        return last == wanted

    await until(is_equal, lambda: f"{last!r} is {wanted!r}", seconds)


def wait_until(is_so: Callable[[], bool], what: What, seconds: float = WAIT_SECONDS) -> None:
    """Wait as `until` does, where there is no event loop or nothing else for it to do."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, _complaint(what, seconds)
        time.sleep(_ASK_SECONDS)


async def paced(pause_seconds: float, times: int | None = None) -> AsyncIterator[int]:
    """Count from 0, so many times or for ever, and pause after each: for load, not for waiting."""
    for number in count() if times is None else range(times):
        yield number
        await asyncio.sleep(pause_seconds)


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


def _complaint(what: What, seconds: float) -> str:
    return f"waited {seconds:g} s in vain until {what if isinstance(what, str) else what()}"
