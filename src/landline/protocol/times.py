"""Times on the wire: RFC 3339, UTC, milliseconds."""

from datetime import UTC, datetime
from functools import lru_cache

# The last one that RFC 3339 can write: the end of the year 9999. The first is that of the epoch:
# nothing here was sent before there were clocks that count from it.
LAST_TIME_MS = 253_402_300_799_999


def is_time(time_ms: int) -> bool:
    """Say whether a record can bear this time. Where senders stamp, it may be any number."""
    return 0 <= time_ms <= LAST_TIME_MS


def nearest_time(time_ms: int) -> int:
    """Return the time that a record can bear which is nearest to this one."""
    return min(max(0, time_ms), LAST_TIME_MS)


@lru_cache(maxsize=1024)  # a batch of the log shares one time
def rfc3339(time_ms: int) -> str:
    """Return milliseconds since the Unix epoch as e.g. `2026-01-02T03:04:05.678Z`.

    Never raises: what cannot be written becomes the nearest that can. Rows with such a time may be
    in a store for long, and their recipients must still get them.
    """
    seconds, milliseconds = divmod(nearest_time(time_ms), 1000)
    return f"{_to_the_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
