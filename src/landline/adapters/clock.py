"""The clock of the real world."""

import time


class SystemClock:
    """See `landline.ports.Clock`."""

    def monotonic(self) -> float:
        """Return the system's monotonic clock."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Return the system's time of day."""
        return time.time_ns() // 1_000_000
