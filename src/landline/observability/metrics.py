"""Metrics: one table of all there are, and the page that Prometheus reads.

To add a metric, add a line to `METRICS`, and let the `measure()` of the part that counts it return
the number under `series(name, label=value)`. What the table does not have is refused. A metric that
counts trouble needs an alert in docs/runbook.md as well; a test asks for it.

The hot path counts in plain integers of its own; nothing here is called per message but
`Histogram.observe`. When somebody asks for the page, each source says how far it has counted.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, product
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from landline.errors import LandlineError
from landline.protocol.codes import CloseCode, ErrorCode

# The format of the text that `MetricsRegistry.render` returns.
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# From a tenth of a millisecond (a group commit on a fast disk) to the seconds after which an
# append is answered with `unavailable`.
SECONDS_BOUNDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip


class UndeclaredMetric(LandlineError):
    """A source counts something that the table does not have: add a line there."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A line of the table.

    `labels` names each label with all its values. So no client can make up new ones, and each
    series stands at 0 from the start: a rate over the first error is then right.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


# Codes of RFC 6455, section 7.4.1 that are not ours to send, and everything that clients make up.
_CLOSE_CODES: Final = (*map(str, sorted({1000, 1005, 1006, *map(int, CloseCode)})), "other")


def close_code_label(code: int) -> str:
    """Return the `code` label of `landline_closes_total` for a close code from either side."""
    return str(code) if str(code) in _CLOSE_CODES else "other"


METRICS: Final = (
    Declaration("landline_connections", "gauge", "WebSocket connections that are open."),
    Declaration("landline_sessions_opened_total", "counter", "Sessions that were welcomed."),
    Declaration(
        "landline_upgrades_refused_total",
        "counter",
        "Requests that were refused: upgrades, and what is no request for a page.",
    ),
    Declaration(
        "landline_closes_total",
        "counter",
        "Connections that ended, by WebSocket close code.",
        {"code": _CLOSE_CODES},
    ),
    Declaration(
        "landline_sends_total",
        "counter",
        "Sends that were answered, by their outcome.",
        {"outcome": ["accepted", "rejected", "unknown"]},
    ),
    Declaration("landline_inflight_sends", "gauge", "Sends that the log has not answered yet."),
    Declaration(
        "landline_append_seconds", "histogram", "From a send to the log's acknowledgement."
    ),
    Declaration(
        "landline_errors_total",
        "counter",
        "Error frames sent to clients, by code.",
        {"code": [str(code) for code in ErrorCode]},
    ),
    Declaration("landline_bad_frames_total", "counter", "Frames that could not be taken."),
    Declaration(
        "landline_pushes_total",
        "counter",
        "Messages pushed to sessions, by the way they took: straight from the log's "
        "acknowledgement, read back from the store for a new session, or found by the sweep.",
        {"path": ["live", "replay", "sweep"]},
    ),
    Declaration("landline_acks_total", "counter", "Message ids that clients acknowledged."),
    Declaration("landline_receipts_total", "counter", "Receipts that were written to the log."),
    Declaration(
        "landline_receipts_dropped_total",
        "counter",
        "Receipts given up because too many waited for the log: those messages come again.",
    ),
    Declaration(
        "landline_directory_failures_total",
        "counter",
        "Times the directory gave no answer: those messages came with the sweep.",
    ),
    Declaration(
        "landline_hints_dropped_total",
        "counter",
        "Hints given up because too many waited for the directory; the sweep delivers.",
    ),
    Declaration(
        "landline_room_pushes_dropped_total",
        "counter",
        "Pushes to rooms given up because who is in them could not be found out in time; the sweep "
        "delivers.",
    ),
    Declaration(
        "landline_reads_dropped_total",
        "counter",
        "Marks of reading given up because too many waited for the log: clients set them again.",
    ),
    Declaration(
        "landline_authorize_asked_total",
        "counter",
        "Times the product was asked whether a user may write to another.",
    ),
    Declaration("landline_authorize_allowed_total", "counter", "Times it said yes."),
    Declaration("landline_authorize_refused_total", "counter", "Times it said no."),
    Declaration(
        "landline_authorize_failed_total",
        "counter",
        "Times there was no answer, or nobody was asked because there had been none.",
    ),
    Declaration(
        "landline_revocations_total",
        "counter",
        "Times this server learned that all sessions of a user are to end.",
    ),
    Declaration(
        "landline_usable",
        "gauge",
        "Whether log, store and routing can be used: what /readyz says.",
        {"part": ["log", "store", "routing"]},
    ),
    Declaration("landline_writer_lag_entries", "gauge", "Entries of the log that the store lacks."),
    Declaration(
        "landline_quarantined_total", "counter", "Records of the log that can never be applied."
    ),
    Declaration(
        "landline_event_loop_lag_seconds", "gauge", "How late the event loop's last timer was."
    ),
)

# What `landline audit --metrics` writes: the kinds are those of `landline.audit`.
AUDIT_METRICS: Final = (
    Declaration(
        "landline_audit_differences",
        "gauge",
        "Differences between log and store that the last audit found, by kind.",
        {
            "kind": [
                "message_missing", "message_changed", "message_moved", "message_unknown",
                "pending_missing", "pending_changed", "pending_unknown",
                "receipt_missing", "receipt_unknown", "receipt_stray",
                "conversation_missing", "conversation_changed", "conversation_unknown",
                "member_missing", "member_changed", "member_unknown",
                "device_missing", "device_changed", "device_unknown",
                "quarantined", "unreadable", "log_gap", "log_went_back",
            ]
        },
    ),
    Declaration("landline_audit_records", "gauge", "Records of the log that the audit has read."),
    Declaration("landline_audit_messages", "gauge", "Messages in the store."),
    Declaration("landline_audit_pending", "gauge", "Pending rows in the store."),
    Declaration("landline_audit_duration_seconds", "gauge", "How long the last audit took."),
    Declaration(
        "landline_audit_timestamp_seconds", "gauge", "When the last audit ended, as a Unix time."
    ),
)  # fmt: skip


class Histogram:
    """Counts how many observations fell under each bound; cheap enough for the hot path."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float] = SECONDS_BOUNDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def sum(self) -> float:
        """Return the sum of all observations."""
        return self._sum

    def buckets(self) -> list[tuple[str, float]]:
        """Return how many observations were at or below each bound, the last being `+Inf`."""
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))


class Series(NamedTuple):
    """What has a number of its own on the page: a metric with a value for each of its labels."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


def series(name: str, **labels: str) -> Series:
    """Return the series of a metric, e.g. `series("landline_sends_total", outcome="accepted")`."""
    return Series(name, tuple(sorted(labels.items())))


Value = float | Histogram
Measured = Mapping[Series, Value]
Source = Callable[[], Measured]


class MetricsRegistry:
    """Renders what the sources have counted, and what the process uses.

    Numbers of the same series from several sources add up; a histogram has one source.
    """

    def __init__(
        self, sources: Sequence[Source], declarations: Sequence[Declaration] = METRICS
    ) -> None:
        # Not the library's global registry: two servers in one process do not share counts.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Sources(sources, declarations))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return the page, in the format of `CONTENT_TYPE`. Raises: UndeclaredMetric."""
        return generate_latest(self._registry)


def textfile(measured: Measured, declarations: Sequence[Declaration]) -> bytes:
    """Return a page of these numbers alone, as the node exporter's textfile collector reads it.

    Raises: UndeclaredMetric.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Sources([lambda: measured], declarations))
    return generate_latest(registry)


class _Sources(Collector):
    def __init__(self, sources: Sequence[Source], declarations: Sequence[Declaration]) -> None:
        self._sources = sources
        self._declarations = declarations
        self._declared = {one for each in declarations for one in _series_of(each).values()}

    def collect(self) -> Iterable[Metric]:
        measured = self._measure()
        # What no source knows is left out: a 0 that nobody counts would be a lie.
        names = {each.name for each in measured}
        return [_family(each, measured) for each in self._declarations if each.name in names]

    def _measure(self) -> Measured:
        measured: dict[Series, Value] = {}
        for source in self._sources:
            for each, value in source().items():
                if each not in self._declared:
                    raise UndeclaredMetric(f"{each} is not in the table of metrics")
                before = measured.get(each, 0.0)
                if isinstance(value, Histogram) or isinstance(before, Histogram):
                    measured[each] = value
                else:
                    measured[each] = before + value
        return measured


def _series_of(declaration: Declaration) -> dict[tuple[str, ...], Series]:
    """Return all series of a metric, by the values of its labels in the table's order."""
    names = declaration.labels.keys()
    return {
        values: series(declaration.name, **dict(zip(names, values, strict=True)))
        for values in product(*declaration.labels.values())
    }


def _family(declaration: Declaration, measured: Measured) -> Metric:
    name, help_text, labels = declaration.name, declaration.help, list(declaration.labels)
    if declaration.kind == "histogram":
        histogram = measured.get(series(name), Histogram())
        assert isinstance(histogram, Histogram), f"{name} needs a Histogram"
        family = HistogramMetricFamily(name, help_text)
        family.add_metric([], histogram.buckets(), histogram.sum)
        return family
    kind = CounterMetricFamily if declaration.kind == "counter" else GaugeMetricFamily
    numbers = kind(name, help_text, labels=labels)
    for values, one in _series_of(declaration).items():
        number = measured.get(one, 0.0)
        assert not isinstance(number, Histogram), f"{name} needs a number"
        numbers.add_metric(values, number)
    return numbers
