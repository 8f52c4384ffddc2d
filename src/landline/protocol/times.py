"""Times on the wire: RFC 3339, UTC, milliseconds."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=1024)  # a batch of the log shares one time
def rfc3339(time_ms: int) -> str:
    """Return milliseconds since the Unix epoch as e.g. `2026-01-02T03:04:05.678Z`."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
