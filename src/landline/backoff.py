"""How long to wait before the next try: one rule for all that try again, servers and clients."""

import asyncio
import random
from math import inf


class Backoff:
    """Doubles from `first_seconds` to `last_seconds`, with jitter: many that lost one server do not
    return together. Of each time `least_share` is waited in any case.
    """

    def __init__(
        self, first_seconds: float = 0.1, last_seconds: float = 2.0, least_share: float = 0.5
    ) -> None:
        self._first = first_seconds
        self._last = last_seconds
        self._least_share = least_share
        self._longest = first_seconds
        self.is_fresh = True  # nothing was waited since the start or the last `reset`

    def reset(self) -> None:
        """Begin with the shortest time again: a try has succeeded."""
        self._longest = self._first
        self.is_fresh = True

    def next_seconds(self, at_least: float = 0.0, at_most: float = inf) -> float:
        """Return how long to wait now; the next time may be twice as long. For a thread.

        `at_least` and `at_most` bound the time before its jitter.
        """
        longest = min(self._longest, at_most)
        self._longest = max(self._longest, min(2 * longest, self._last))
        self.is_fresh = False
        share = random.uniform(self._least_share, 1.0)  # noqa: S311 - not a secret
        return max(longest, at_least) * share

    async def wait(self) -> None:
        """Wait that long."""
        await asyncio.sleep(self.next_seconds())
