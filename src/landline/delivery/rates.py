"""How much a user may send: token buckets, in messages and in bytes. Sans-I/O: `now` goes in.

A bucket holds `burst` tokens at most and fills by `rate` a second. Who finds too few is told when
there will be enough, and takes none: what was refused costs nothing, so whoever waits as they were
told is not refused again, unless they have sent something else meanwhile.
"""

from typing import Final

from landline.config.limits import BYTES_BURST, MESSAGES_BURST, Limits

# By so much a sum of many durations, on a clock that has run for months, may be wrong.
_ROUNDING_SECONDS: Final = 1e-6


class Bucket:
    """One bucket, full at first. All that it keeps is when it will be full again."""

    __slots__ = ("_burst_seconds", "_each_seconds", "_full_at")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """`rate`: tokens a second, 0 for as many as anybody wants; `burst`: how many it holds."""
        self._each_seconds = 1 / rate if rate else 0.0
        self._burst_seconds = burst * self._each_seconds
        self._full_at = now

    def seconds_until(self, cost: float, now: float) -> float:
        """Return how long it takes until there are so many; 0.0 where there are. Where it never
        holds so many, until it is full: `take` then leaves a debt.
        """
        cost_seconds = min(cost * self._each_seconds, self._burst_seconds)
        missing_seconds = self._full_at - now + cost_seconds - self._burst_seconds
        return missing_seconds if missing_seconds > _ROUNDING_SECONDS else 0.0

    def take(self, cost: float, now: float) -> None:
        """Take so many, once `seconds_until` has said 0.0."""
        self._full_at = max(self._full_at, now) + cost * self._each_seconds

    def is_full(self, now: float) -> bool:
        """Say whether it is as if nothing was ever taken."""
        return self._full_at <= now


class Rates:
    """The buckets of the users who have sent something of late. Empty when idle."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.are_limited = bool(limits.messages or limits.bytes)
        self._users: dict[str, tuple[Bucket, Bucket]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def missing(self, user: str, size_bytes: int, now: float, messages: int = 1) -> float:
        """Return how many seconds a user has to wait before a message of this size may be sent, or
        what counts as so many; 0.0 where it may be at once, and then `take` has to follow.
        """
        in_messages, in_bytes = self._of(user, now)
        return max(
            in_messages.seconds_until(messages, now), in_bytes.seconds_until(size_bytes, now)
        )

    def take(self, user: str, size_bytes: int, now: float, messages: int = 1) -> None:
        """A user sends a message of this size, or what counts as so many."""
        in_messages, in_bytes = self._of(user, now)
        in_messages.take(messages, now)
        in_bytes.take(size_bytes, now)

    def _of(self, user: str, now: float) -> tuple[Bucket, Bucket]:
        buckets = self._users.get(user)
        if buckets is None:
            buckets = self._users[user] = self._full(now)
        return buckets

    def _full(self, now: float) -> tuple[Bucket, Bucket]:
        messages, size_bytes = self._limits.messages, self._limits.bytes
        return (
            Bucket(messages, messages * MESSAGES_BURST, now),
            Bucket(size_bytes, size_bytes * BYTES_BURST, now),
        )

    def forget_idle(self, now: float) -> None:
        """Forget users who may send as if they never had: their buckets would be full anew."""
        for user in [
            user
            for user, buckets in self._users.items()
            if all(bucket.is_full(now) for bucket in buckets)
        ]:
            del self._users[user]
