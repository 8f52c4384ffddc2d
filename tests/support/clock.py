"""Time that a test moves."""


class Clock:
    """See `landline.ports.Clock`. It stands still by itself."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.step = 0.0  # so much it goes on by, each time somebody looks

    def monotonic(self) -> float:
        """Return virtual seconds."""
        self.now += self.step
        return self.now

    def wall_ms(self) -> int:
        """Return virtual milliseconds."""
        return int(self.now * 1000)
