"""What was refused: all of it is counted, and so much of it has a line in the log.

A line costs more than most refusals, and room on a disk. Somebody who is refused again and again
must not get as many lines as they like.
"""

from typing import Final

from landline.delivery.rates import Bucket
from landline.ports import Clock

LINES_PER_SECOND: Final = 20.0
LINES_BURST: Final = 200.0


class Refusals:
    """Counts, and says which ones are told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines = Bucket(LINES_PER_SECOND, LINES_BURST, clock.monotonic())
        self._untold = 0
        self._again_at = 0.0
        self.count = 0

    def add(self) -> dict[str, int] | None:
        """Count one. Returns what its line says besides: how many before it have none, if any. None
        where it has none either.
        """
        self.count += 1
        now = self._clock.monotonic()
        if self._lines.seconds_until(1, now):
            self._untold += 1
            return None
        self._lines.take(1, now)
        untold, self._untold = self._untold, 0
        return {"untold": untold} if untold else {}

    def add_alike(self) -> bool:
        """Count one of many that are alike, as in a flood. Returns whether it has a line: one a
        second.
        """
        self.count += 1
        now = self._clock.monotonic()
        if now < self._again_at:
            return False
        self._again_at = now + 1.0
        return True
