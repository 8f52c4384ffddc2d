"""How long a frame may have waited before it was read: nobody can see that in the frame itself.

It waits in its socket while the process stands still, and while its connection is not read. For a
send that matters: its sender may have left meanwhile and repeated it through another server.
"""

from typing import Final

# Two pulses further apart than this: the process has stood still. Shorter stands go unseen.
STILL_SECONDS: Final = 0.15
PULSE_SECONDS: Final = 0.1
# What has waited is read soon afterwards; a crowd takes the longer, the longer it had to gather.
LEAST_SECONDS: Final = 0.25
MOST_SECONDS: Final = 10.0


class Unread:
    """The last time in which nothing was read, and for how long it counts."""

    __slots__ = ("_began", "_until")

    def __init__(self) -> None:
        self._began = 0.0
        self._until = float("-inf")

    def note(self, began: float, ended: float) -> None:
        """Nothing was read from `began` to `ended`, which is now."""
        if began > self._until:  # otherwise what waited before may still be there
            self._began = began
        self._until = ended + min(MOST_SECONDS, max(LEAST_SECONDS, 2 * (ended - began)))

    def since(self, read_at: float) -> float:
        """Return from when a frame may be that was read then."""
        return self._began if self._began <= read_at <= self._until else read_at
