"""How much a user may send: token buckets, in messages and in bytes. Sans-I/O: `now` goes in.

A bucket holds `burst` tokens at most and fills by `rate` a second. Who finds too few is told when
to come again, and takes none: what was refused costs nothing, so whoever waits as they were told is
not refused again, unless they have sent something else meanwhile.

Until then they are refused whatever they send: what was on its way behind the first that was
refused must not be accepted before it. So the wait is long enough for that, and what is saved up
meanwhile passes at once.
"""

from typing import Final

from landline.config.limits import BYTES_BURST, MESSAGES_BURST, Limits

# By so much a sum of many durations, on a clock that has run for months, may be wrong.
_ROUNDING_SECONDS: Final = 1e-6
# Who is too fast waits until so much has been saved up. What a client has on its way is read long
# before: 128 sends take some 20 ms.
SAVED_SECONDS: Final = 0.5


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


class _Allowance:
    """What one user may send."""

    __slots__ = ("bytes", "messages", "refused_until")

    def __init__(self, limits: Limits, now: float) -> None:
        self.messages = Bucket(limits.messages, limits.messages * MESSAGES_BURST, now)
        self.bytes = Bucket(limits.bytes, limits.bytes * BYTES_BURST, now)
        self.refused_until = now

    def is_full(self, now: float) -> bool:
        return self.messages.is_full(now) and self.bytes.is_full(now) and self.refused_until <= now


class Rates:
    """What the users may send who have sent something of late. Empty when idle."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.are_limited = bool(limits.messages or limits.bytes)
        self._users: dict[str, _Allowance] = {}

    def __len__(self) -> int:
        return len(self._users)

    def take(self, user: str, size_bytes: int, now: float) -> float:
        """Let a user send a message of this size. Returns 0.0, or how many seconds they have to
        wait, and then nothing was taken.
        """
        allowance = self._users.get(user)
        if allowance is None:
            allowance = self._users[user] = _Allowance(self._limits, now)
        missing_seconds = max(
            _wait(allowance.messages, 1, self._limits.messages, now),
            _wait(allowance.bytes, size_bytes, self._limits.bytes, now),
        )
        allowance.refused_until = max(allowance.refused_until, now + missing_seconds)
        wait_seconds = allowance.refused_until - now
        if wait_seconds > _ROUNDING_SECONDS:
            return wait_seconds
        allowance.messages.take(1, now)
        allowance.bytes.take(size_bytes, now)
        return 0.0

    def forget_idle(self, now: float) -> None:
        """Forget users who may send as if they never had: their buckets would be full anew."""
        for user in [user for user, each in self._users.items() if each.is_full(now)]:
            del self._users[user]


def _wait(bucket: Bucket, cost: float, rate: float, now: float) -> float:
    """Return how long to wait for so many tokens; 0.0 where they are there."""
    if not bucket.seconds_until(cost, now):
        return 0.0
    return bucket.seconds_until(max(cost, rate * SAVED_SECONDS), now)
