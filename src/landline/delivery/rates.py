"""How much a user may send: token buckets, in messages and in bytes. Sans-I/O: `now` goes in.

A bucket holds `burst` tokens at most and fills by `rate` a second. Who finds too few is told when
there will be enough, and takes none: what was refused costs nothing, so whoever waits as they were
told is not refused again, unless they have sent something else meanwhile.
"""

from landline.config.limits import BYTES_BURST, MESSAGES_BURST, Limits


class Bucket:
    """One bucket, full at first."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """`rate`: tokens a second, more than 0; `burst`: how many it holds."""
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def seconds_until(self, cost: float, now: float) -> float:
        """Return how long it takes until there are so many; 0.0 where there are. Where it never
        holds so many, until it is full: `take` then leaves a debt.
        """
        self._fill(now)
        return max(0.0, min(cost, self._burst) - self._level) / self._rate

    def take(self, cost: float, now: float) -> None:
        """Take so many, once `seconds_until` has said 0.0."""
        self._fill(now)
        self._level -= cost

    def is_full(self, now: float) -> bool:
        """Say whether it is as if nothing was ever taken."""
        self._fill(now)
        return self._level >= self._burst

    def _fill(self, now: float) -> None:
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now


class Rates:
    """The buckets of the users who have sent something of late. Empty when idle."""

    def __init__(self, limits: Limits) -> None:
        self._kinds = [
            (rate, rate * burst)
            for rate, burst in ((limits.messages, MESSAGES_BURST), (limits.bytes, BYTES_BURST))
        ]
        self.are_limited = any(rate for rate, _ in self._kinds)
        self._users: dict[str, tuple[Bucket | None, ...]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def take(self, user: str, size_bytes: int, now: float) -> float:
        """Let a user send a message of this size. Returns 0.0, or how many seconds they have to
        wait, and then nothing was taken.
        """
        buckets = self._users.get(user)
        if buckets is None:
            buckets = tuple(Bucket(*kind, now) if kind[0] else None for kind in self._kinds)
            self._users[user] = buckets
        costs = [
            (bucket, cost)
            for bucket, cost in zip(buckets, (1, size_bytes), strict=True)
            if bucket is not None
        ]
        wait_seconds = max((bucket.seconds_until(cost, now) for bucket, cost in costs), default=0.0)
        if not wait_seconds:
            for bucket, cost in costs:
                bucket.take(cost, now)
        return wait_seconds

    def forget_idle(self, now: float) -> None:
        """Forget users who may send as if they never had: their buckets would be full anew."""
        for user in [
            user
            for user, buckets in self._users.items()
            if all(bucket is None or bucket.is_full(now) for bucket in buckets)
        ]:
            del self._users[user]
