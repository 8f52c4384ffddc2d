"""How fast frames of one session are taken: what is above the limit waits, nothing is dropped."""

from landline.config.limits import FRAMES_BURST
from landline.delivery.rates import Bucket


class Pace:
    """The bucket of one session's frames."""

    __slots__ = ("_bucket",)

    def __init__(self, frames: float, now: float) -> None:
        """`frames`: how many may be taken in a second, more than 0."""
        self._bucket = Bucket(frames, frames * FRAMES_BURST, now)

    def take(self, now: float) -> float:
        """A frame is taken. Returns for how many seconds the next one has to wait."""
        self._bucket.take(1, now)
        return self._bucket.seconds_until(1, now)
