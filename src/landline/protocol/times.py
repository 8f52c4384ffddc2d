"""Times on the wire: RFC 3339, UTC, milliseconds."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

# The last one that RFC 3339 can write: the end of the year 9999. The first is that of the epoch:
# nothing here was sent before there were clocks that count from it.
LAST_TIME_MS = 253_402_300_799_999

_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.IGNORECASE,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def is_time(time_ms: int) -> bool:
    """Say whether a record can bear this time. Where senders stamp, it may be any number."""
    return 0 <= time_ms <= LAST_TIME_MS


def nearest_time(time_ms: int) -> int:
    """Return the time that a record can bear which is nearest to this one."""
    return min(max(0, time_ms), LAST_TIME_MS)


def read_rfc3339(text: str) -> int:
    """Return milliseconds since the Unix epoch; a time before it is negative.

    Raises: ValueError for what is no date and time of RFC 3339, section 5.6, or a leap second.
    """
    try:
        # Python takes more than RFC 3339 has.
        read = datetime.fromisoformat(text.upper()) if _RFC3339.fullmatch(text) else None
    except ValueError:
        read = None
    if read is None:
        raise ValueError("no date and time of RFC 3339, such as 2026-01-02T03:04:05Z")
    return (read - _EPOCH) // timedelta(milliseconds=1)


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
