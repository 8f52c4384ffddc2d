"""How long to wait before the next try to connect."""

import random
import re

FIRST_SECONDS = 0.1
LAST_SECONDS = 10.0

_RETRY_AFTER = re.compile(r"\bretry_after_ms=(\d{1,6})\b")


class Backoff:
    """Exponential with full jitter: many clients that lost one server do not return as one."""

    def __init__(self) -> None:
        self._tries = 0

    def reset(self) -> None:
        """A connection worked."""
        self._tries = 0

    def next_delay(self, close_reason: str = "") -> float:
        """Return the seconds to wait; a server that says `retry_after_ms=N` is obeyed."""
        asked = _RETRY_AFTER.search(close_reason)
        if asked:
            return int(asked[1]) / 1000
        ceiling = min(LAST_SECONDS, FIRST_SECONDS * 2**self._tries)
        self._tries = min(self._tries + 1, 10)
        return random.uniform(0, ceiling)  # noqa: S311 - jitter, not a secret
