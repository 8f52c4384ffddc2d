"""When to try again to connect: when the time is over, or when somebody cannot wait for it."""

import asyncio
import random
from contextlib import suppress

# Between two tries where somebody hurries, at least; with jitter, for many may hurry at once.
HURRIED_SECONDS = 1.0
_MORE_SECONDS = 0.5


class Tries:
    """Pauses between tries, which `hurry` ends."""

    def __init__(self) -> None:
        self._is_wanted = asyncio.Event()

    def hurry(self) -> None:
        """Somebody waits for the connection."""
        self._is_wanted.set()

    async def pause(self, seconds: float, asked: float) -> None:
        """Wait before the next try. Nobody hurries it before the time that the server or a proxy
        has asked for, nor more than once a second.
        """
        least = max(asked, HURRIED_SECONDS + random.uniform(0, _MORE_SECONDS))  # noqa: S311
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.sleep(least)
                await self._is_wanted.wait()
        self._is_wanted.clear()
