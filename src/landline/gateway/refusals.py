"""What was refused: all of it is counted, and so much of it has a line in the log.

A line costs more than most refusals, and room on a disk. Somebody who is refused again and again
must not get as many lines as they like, nor take those of others.
"""

from typing import Final

from landline.delivery.rates import Bucket
from landline.ports import Clock

# Lines a second, and how many at once: of one address, and of all.
LINES_OF_ONE: Final = (5.0, 100.0)
LINES_OF_ALL: Final = (100.0, 1_000.0)
# Addresses that are told apart. Those that were quiet are forgotten; beyond it they share.
_PLACES: Final = 4_096


class _Lines:
    """Of one address: how many lines it may have, and how many refusals had none."""

    __slots__ = ("bucket", "untold")

    def __init__(self, now: float) -> None:
        self.bucket = Bucket(*LINES_OF_ONE, now)
        self.untold = 0


class Refusals:
    """Counts, and says which ones are told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all = Bucket(*LINES_OF_ALL, clock.monotonic())
        self._places: dict[str, _Lines] = {}
        self.count = 0

    def add(self, place: str) -> dict[str, int] | None:
        """Count one of an address. Returns what its line says besides: how many of the same address
        before it have none, if any. None where it has none either.
        """
        self.count += 1
        now = self._clock.monotonic()
        lines = self._lines(place, now)
        if lines.bucket.seconds_until(1, now) or self._all.seconds_until(1, now):
            lines.untold += 1
            return None
        lines.bucket.take(1, now)
        self._all.take(1, now)
        untold, lines.untold = lines.untold, 0
        return {"untold": untold} if untold else {}

    def _lines(self, place: str, now: float) -> _Lines:
        lines = self._places.get(place)
        if lines is None:
            if len(self._places) >= _PLACES:
                self._forget_quiet(now)
            if len(self._places) >= _PLACES:
                place = ""
            lines = self._places.setdefault(place, _Lines(now))
        return lines

    def _forget_quiet(self, now: float) -> None:
        for place in [each for each, lines in self._places.items() if lines.bucket.is_full(now)]:
            del self._places[place]
