"""How fast this client sends to a server that has said `too_fast`.

That limit is the user's, not a recipient's. So all sends pause for as long as the server asks.
After that fewer of them are on their way at a time: half as many after each pause, and one more
after each acceptance, as TCP does it (RFC 5681, section 3.1).
"""

from landline.client.reconnecting import LONGEST_ASKED_SECONDS
from landline.client.repeats import IN_FLIGHT


class Pace:
    """`room`: the sends that may be without an answer. Times are seconds of the loop's clock."""

    def __init__(self) -> None:
        self.room = IN_FLIGHT
        self._until = 0.0

    def too_fast(self, now: float, asked_seconds: float) -> None:
        """A send was too fast. Others that were on their way with it count once."""
        if now >= self._until:
            self.room = max(1, self.room // 2)
        self._until = max(self._until, now + min(asked_seconds, LONGEST_ASKED_SECONDS))

    def accepted(self) -> None:
        """A send was not too fast."""
        self.room = min(IN_FLIGHT, self.room + 1)

    def pause_seconds(self, now: float) -> float:
        """Return how long nothing may be sent from now on."""
        return max(0.0, self._until - now)
