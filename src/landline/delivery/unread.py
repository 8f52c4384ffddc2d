"""How long a frame may have waited before it was read: nobody can see that in the frame itself.

It waits in its socket while the process stands still, and while its connection is not read. For a
send that matters: its sender may have repeated it meanwhile, through another connection.
"""

from typing import Final

# Two pulses further apart than this: the process has stood still. A shorter pause is not noticed.
STILL_SECONDS: Final = 0.15
PULSE_SECONDS: Final = 0.1
# All sockets are read within this long after it; what then waits its turn is known by connection.
AFTER_SECONDS: Final = 0.25

_SPANS: Final = 4  # the last ones: what was read longer ago than that is in the log


class Unread:
    """The last spans of time in which nothing was read."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: tuple[tuple[float, float], ...] = ()  # no room in the many that need none

    def note(self, began: float, until: float) -> None:
        """What is read from `began` until `until` may have waited since `began`."""
        before = self._spans
        if before and before[-1][0] == began:
            before = before[:-1]  # it goes on
        self._spans = (*before, (began, until))[-_SPANS:]

    def may_be_left(self, now: float) -> bool:
        """Say whether something that came in one of these spans may be unread still."""
        return any(began <= now <= until for began, until in self._spans)

    def since(self, read_at: float) -> float:
        """Return from when a frame may be that was read then."""
        if not self._spans:
            return read_at
        return min(
            (began for began, until in self._spans if began <= read_at <= until),
            default=read_at,
        )
