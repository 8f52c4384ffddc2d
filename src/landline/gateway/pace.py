"""How fast frames of one session are taken: what is above the limit waits, nothing is dropped."""

from typing import Final

from landline.config.limits import FRAMES_BURST
from landline.delivery.rates import Bucket

# Who has to wait waits until so much has been saved up, and then has all of it taken at once. To
# stop and to go on costs more than a frame does.
SAVED_SECONDS: Final = 0.1


class Pace:
    """The bucket of one session's frames."""

    __slots__ = ("_bucket", "_half", "_saved")

    def __init__(self, frames: float, now: float) -> None:
        """`frames`: how many may be taken in a second, more than 0."""
        self._bucket = Bucket(frames, frames * FRAMES_BURST, now)
        self._half = frames * FRAMES_BURST / 2
        self._saved = max(1.0, frames * SAVED_SECONDS)

    def take(self, now: float) -> float:
        """A frame is taken. Returns for how many seconds the next ones have to wait."""
        self._bucket.take(1, now)
        if not self._bucket.seconds_until(1, now):
            return 0.0
        return self._bucket.seconds_until(self._saved, now)

    def is_half_spent(self, now: float) -> bool:
        """Say whether more than half of what may come at once has come of late."""
        return self._bucket.seconds_until(self._half, now) > 0
