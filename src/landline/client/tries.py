"""When to try again to connect: when the pause is over, or earlier when the program sends."""

import asyncio
import random
from contextlib import suppress

# The least time between two tries that were hurried, with jitter: many clients may hurry at once.
HURRIED_SECONDS = 1.0
_MORE_SECONDS = 0.5


class Tries:
    """Pauses between tries, which `hurry` ends."""

    def __init__(self) -> None:
        self._is_wanted = asyncio.Event()

    def hurry(self) -> None:
        """The program waits for the connection."""
        self._is_wanted.set()

    async def pause(self, seconds: float, asked: float) -> None:
        """Wait `seconds` before the next try, or until it is hurried. A hurry does not shorten the
        `asked` seconds of a server or a proxy, and counts at most once a second.
        """
        least = max(asked, HURRIED_SECONDS + random.uniform(0, _MORE_SECONDS))  # noqa: S311
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.sleep(least)
                await self._is_wanted.wait()
        self._is_wanted.clear()
