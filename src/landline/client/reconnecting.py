"""How long to wait before the next try to connect."""

import re
from dataclasses import dataclass

from landline.backoff import Backoff

FIRST_SECONDS = 0.1
LAST_SECONDS = 10.0
# The longest wait if nothing listens on this machine: a try costs nothing, and the person who
# starts the server again waits for it.
LAST_SECONDS_HERE = 2.0
# A session that lasted as long as the longest wait shows that the server works again. A shorter one
# shows nothing: without this a server that accepts and hangs up would be tried without pause.
LASTING_SECONDS = LAST_SECONDS
# What a server or a proxy may ask for: `Retry-After: 3600` of a maintenance page is a guess.
LONGEST_ASKED_SECONDS = 60.0
# Jitter, at least, after a time that every client was told.
_SPREAD_SECONDS = 1.0

RETRY_AFTER_MS = re.compile(r"\bretry_after_ms=([0-9]{1,9})\b")
_DELAY_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A time that a server or a proxy asks to wait. `is_for_all`: every client is told the same
    time, and all would return together.
    """

    seconds: float
    is_for_all: bool = False

    @property
    def obeyed_seconds(self) -> float:
        """Return the least time to wait."""
        return min(self.seconds, LONGEST_ASKED_SECONDS)


class ReconnectDelays:
    """They grow, with full jitter: many clients that lost one server do not return together."""

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_SECONDS, LAST_SECONDS, least_share=0.0)

    def session_ended(self, seconds: float) -> None:
        """A session has ended that lasted this long."""
        if seconds >= LASTING_SECONDS:
            self._backoff.reset()

    def next_seconds(self, asked: Asked | None = None, longest: float = LAST_SECONDS) -> float:
        """Return how long to wait: at most `longest`, or what a server asks for.

        That is obeyed to the millisecond if it is for this client alone and the last session had
        lasted. Otherwise the client adds a random time of its own.
        """
        is_first = self._backoff.is_fresh
        if asked is None:
            return self._backoff.next_seconds(at_most=longest)
        if asked.is_for_all:
            own = self._backoff.next_seconds(_SPREAD_SECONDS, longest)
        else:
            own = self._backoff.next_seconds(at_most=longest)
        return asked.obeyed_seconds + (0.0 if is_first and not asked.is_for_all else own)


def asked_by_reason(close_reason: str) -> Asked | None:
    """Return what a server asks for with `retry_after_ms=N` in its reason to close."""
    asked = RETRY_AFTER_MS.search(close_reason)
    return Asked(int(asked[1]) / 1000) if asked else None


def asked_by_header(retry_after: str | None) -> Asked | None:
    """Return what the header `Retry-After` asks for (RFC 9110, section 10.2.3), if in seconds: a
    date depends on two clocks.
    """
    seconds = _DELAY_SECONDS.fullmatch((retry_after or "").strip())
    return Asked(float(seconds[0]), is_for_all=True) if seconds else None
