"""How long to wait before the next try: for everybody who waits for somebody else."""

import asyncio
import random


class Backoff:
    """Exponential with jitter: many that lost one server do not return as one."""

    def __init__(
        self, first_seconds: float = 0.1, last_seconds: float = 2.0, least_share: float = 0.5
    ) -> None:
        """`least_share`: how much of the time is waited at least; the rest is jitter."""
        self._first = first_seconds
        self._last = last_seconds
        self._least_share = least_share
        self._ceiling = first_seconds

    @property
    def is_fresh(self) -> bool:
        """Say whether nothing was waited since the start or the last `reset`."""
        return self._ceiling == self._first

    def reset(self) -> None:
        """Begin with the shortest time again: a try has succeeded."""
        self._ceiling = self._first

    def next_seconds(self) -> float:
        """Return how long to wait now; the next time may be twice as long."""
        ceiling = self._ceiling
        self._ceiling = min(2 * ceiling, self._last)
        return ceiling * random.uniform(self._least_share, 1.0)  # noqa: S311 - not a secret

    async def wait(self) -> None:
        """Wait for as long as it is time to."""
        await asyncio.sleep(self.next_seconds())
