"""The unanswered sends of one session, and when its connection is paused for them.

Without this bound a client that floods fills the queue to the log, and all others wait behind it.
"""

from landline.delivery.unread import AFTER_SECONDS, Unread
from landline.protocol.limits import BAD_FRAMES_IN_A_ROW

# Sends of one session that may be in flight: about what others wait behind. With 256 of one client
# that floods they waited up to 145 ms, with this up to 90 (`python -m bench.floods --kinds sends`).
SESSION_FLIGHTS = 128
# The same in bytes: one session's large messages must not make a commit long for everybody.
SESSION_FLIGHT_BYTES = 256 * 1024
# Whoever is too fast has nothing taken for so long at least. What is on its way behind the first
# that was refused must not be accepted before it: by then it was read, and refused too.
TOO_FAST_SECONDS = 0.5


class Intake:
    """The sends of one session that are in flight, and its bad frames."""

    __slots__ = (
        "_bad_frames", "_bytes", "_count", "_too_fast_until", "is_blocked", "is_limited",
        "is_paused", "is_unread", "resumed_at", "unread",
    )  # fmt: skip

    def __init__(self) -> None:
        self._count = 0
        self._bytes = 0
        self._bad_frames = 0
        self.is_limited = True  # the limits of a user hold for it; not for the product's backend
        self.is_paused = False
        self.is_blocked = False  # its connection lets nothing out, and is not read meanwhile
        self.is_unread = False  # its connection is not read now, for whatever reason
        self.resumed_at = float("-inf")  # when its connection was read late, or read again
        self.unread = Unread()
        self._too_fast_until = float("-inf")

    def pace(self, wait_seconds: float, now: float) -> float:
        """A send has come, and its user has to wait for so long, 0.0: not at all. Returns how long
        this session has to.
        """
        if wait_seconds and now >= self._too_fast_until:
            wait_seconds = max(wait_seconds, TOO_FAST_SECONDS)
        if wait_seconds:
            self._too_fast_until = max(self._too_fast_until, now + wait_seconds)
        return max(0.0, self._too_fast_until - now)

    def begin(self, size_bytes: int) -> bool:
        """A send is in flight. Returns True where the connection has to pause."""
        self._count += 1
        self._bytes += size_bytes
        is_full = self._count >= SESSION_FLIGHTS or self._bytes >= SESSION_FLIGHT_BYTES
        if self.is_paused or not is_full:
            return False
        self.is_paused = True
        return True

    def end(self, size_bytes: int) -> bool:
        """A send is answered. Returns True where the connection is to be read again."""
        self._count -= 1
        self._bytes -= size_bytes
        is_low = self._count <= SESSION_FLIGHTS // 2 and self._bytes <= SESSION_FLIGHT_BYTES // 2
        if not self.is_paused or not is_low:
            return False
        self.is_paused = False
        return True

    def read_late(self, since: float, now: float) -> None:
        """What is read now may have waited since then, and there may be more of it."""
        self.unread.note(since, now)
        self.resumed_at = now

    @property
    def is_stopped(self) -> bool:
        """Say whether its connection is not read until something else has happened."""
        return self.is_paused or self.is_blocked or self.is_unread

    def is_read(self, now: float) -> bool:
        """Say whether what came a moment ago is read by now."""
        return not self.is_stopped and now - self.resumed_at > AFTER_SECONDS

    def take_good(self) -> None:
        """A good frame has come."""
        self._bad_frames = 0

    def take_bad(self) -> bool:
        """A bad frame has come. Returns True where they are too many in a row."""
        self._bad_frames += 1
        return self._bad_frames >= BAD_FRAMES_IN_A_ROW
