"""How long to wait before the next try: one rule for all parts of the server that try again."""

import asyncio
import random


class Backoff:
    """Doubles from `first_seconds` to `last_seconds`, with jitter.

    The jitter is up to half of the time: many that lost one server do not return together.
    """

    def __init__(self, first_seconds: float = 0.1, last_seconds: float = 2.0) -> None:
        self._first = first_seconds
        self._last = last_seconds
        self._longest = first_seconds

    def reset(self) -> None:
        """Begin with the shortest time again: a try has succeeded."""
        self._longest = self._first

    def next_seconds(self) -> float:
        """Return how long to wait now; the next time may be twice as long. For a thread."""
        longest = self._longest
        self._longest = min(2 * longest, self._last)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret

    async def wait(self) -> None:
        """Wait that long."""
        await asyncio.sleep(self.next_seconds())
