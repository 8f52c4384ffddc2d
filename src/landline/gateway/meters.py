"""What the metrics show of connections and of the heart."""

from landline.delivery import Delivery
from landline.observability.metrics import (
    Histogram,
    Series,
    Value,
    close_code_label,
    series,
)
from landline.protocol.codes import CloseCode


class Meters:
    """What is measured here, beside what the heart counts itself."""

    __slots__ = ("_closes", "append_seconds", "loop_lag_seconds")

    def __init__(self) -> None:
        self.append_seconds = Histogram()
        self.loop_lag_seconds = 0.0
        self._closes = {close_code_label(code): 0 for code in CloseCode}

    def closed(self, code: int) -> None:
        """A connection has ended with this code, 1006 if there was none."""
        label = close_code_label(code)
        self._closes[label] = self._closes.get(label, 0) + 1

    def measure(self, delivery: Delivery) -> dict[Series, Value]:
        """Return both."""
        counters = delivery.counters
        measured: dict[Series, Value] = {
            series("landline_inflight_sends"): delivery.flight_count,
            series("landline_append_seconds"): self.append_seconds,
            series("landline_event_loop_lag_seconds"): self.loop_lag_seconds,
            series("landline_sessions_opened_total"): counters.sessions_opened,
            series("landline_sends_total", outcome="accepted"): counters.accepted,
            series("landline_sends_total", outcome="rejected"): counters.rejected,
            series("landline_sends_total", outcome="unknown"): counters.unknown,
            series("landline_pushes_total", path="live"): counters.pushed_live,
            series("landline_pushes_total", path="replay"): counters.pushed_replay,
            series("landline_pushes_total", path="sweep"): counters.pushed_sweep,
            series("landline_acks_total"): counters.acknowledged,
            series("landline_receipts_total"): counters.receipts,
            series("landline_receipts_dropped_total"): delivery.receipts_dropped,
            series("landline_reads_dropped_total"): delivery.reads_dropped,
            series("landline_bad_frames_total"): counters.bad_frames,
        }
        for error, count in counters.errors.items():
            measured[series("landline_errors_total", code=error)] = count
        for close, count in self._closes.items():
            measured[series("landline_closes_total", code=close)] = count
        return measured
