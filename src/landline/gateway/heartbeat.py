"""When a silent peer is pinged, and when it counts as gone."""

PING_AFTER_SECONDS = 20.0
PONG_WITHIN_SECONDS = 15.0


class Heartbeat:
    """When a peer was heard last, and whether it owes a pong. Times are of the monotonic clock."""

    __slots__ = ("_heard_at", "_pinged_at")

    def __init__(self) -> None:
        self._heard_at = 0.0
        self._pinged_at: float | None = None

    def heard(self, now: float) -> None:
        """The peer has said something: that answers a ping as well as a pong does."""
        self._heard_at = now
        self._pinged_at = None

    def is_gone(self, now: float) -> bool:
        """Say whether a ping was not answered in time."""
        return self._pinged_at is not None and now - self._pinged_at > PONG_WITHIN_SECONDS

    def is_ping_due(self, now: float) -> bool:
        """Say whether the peer has been silent for long, and was not pinged yet."""
        return self._pinged_at is None and now - self._heard_at > PING_AFTER_SECONDS

    def pinged(self, now: float) -> None:
        """A ping was sent."""
        self._pinged_at = now
