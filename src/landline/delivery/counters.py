"""What one server counts of its deliveries, for the metrics."""

from dataclasses import dataclass, field

from landline.protocol.codes import ErrorCode


@dataclass(slots=True)
class Counters:
    """What happened since the start, for the metrics."""

    sessions_opened: int = 0
    accepted: int = 0
    rejected: int = 0
    unknown: int = 0
    pushed_live: int = 0
    pushed_replay: int = 0
    pushed_sweep: int = 0
    acknowledged: int = 0
    receipts: int = 0
    bad_frames: int = 0
    # All from the start: a metric that appears with its first error has no rate over it.
    errors: dict[ErrorCode, int] = field(default_factory=lambda: dict.fromkeys(ErrorCode, 0))

    def error(self, code: ErrorCode) -> None:
        """Count an error frame."""
        self.errors[code] += 1
