"""What time it is for the brokers, by their own clocks and no other.

Kafka deletes by the brokers' clocks what was stamped by the brokers' clocks. This machine's own may
be days off and be set while we run; only its count of the seconds that pass is used.
"""

import time
from collections.abc import Awaitable, Callable

from landline.protocol.times import is_time

# A reading is carried on for so long. Beyond it the machine may have slept, or been moved.
FRESH_SECONDS = 30.0


class BrokerClock:
    """The last time that a broker stamped on a record of ours, carried on.

    A time in the log is no stamp: anybody may have written it. It is a guess, used until there has
    been a stamp.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[int | None]],
        guess: Callable[[], Awaitable[int | None]],
    ) -> None:
        """`ask` has a broker stamp something, and returns the stamp in milliseconds. `guess` says
        how late it is at the least: that counts until the first stamp.
        """
        self._ask = ask
        self._guess = guess
        self._is_stamped = False
        self._read_ms: int | None = None
        self._read_at = 0.0
        self._asked_at: float | None = None

    def note(self, time_ms: int) -> None:
        """A broker has stamped a record with this time, just now."""
        if is_time(time_ms):
            self._is_stamped = True
            self._read_ms, self._read_at = time_ms, time.monotonic()

    async def now_ms(self) -> int | None:
        """Return the brokers' time in milliseconds since the Unix epoch, as far as it is known.

        Asks when nothing was stamped for a while, and no more often than that.
        """
        read_at = None if self._read_ms is None else self._read_at
        if not (self._is_recent(read_at) or self._is_recent(self._asked_at)):
            self._asked_at = time.monotonic()
            stamp = await self._ask()
            if stamp is not None:
                self.note(stamp)
            if not self._is_stamped:
                self._note_guess(await self._guess())
        return self._carried_ms()

    def _note_guess(self, at_least_ms: int | None) -> None:
        carried_ms = self._carried_ms()
        if at_least_ms is None or not is_time(at_least_ms) or self._is_stamped:
            return
        if carried_ms is None or at_least_ms > carried_ms:
            self._read_ms, self._read_at = at_least_ms, time.monotonic()

    def _carried_ms(self) -> int | None:
        if self._read_ms is None:
            return None
        return self._read_ms + int(1000 * max(0.0, time.monotonic() - self._read_at))

    @staticmethod
    def _is_recent(moment: float | None) -> bool:
        return moment is not None and 0 <= time.monotonic() - moment <= FRESH_SECONDS
