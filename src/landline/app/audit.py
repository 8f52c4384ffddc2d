"""`landline audit`: log and store behind the audit's ports, and its report on the screen."""

import asyncio
import errno
import os
import sys
import time
from pathlib import Path

from landline.audit import Difference, Kind, Report, audit
from landline.config import Settings
from landline.errors import LogLost, StartupError, Unavailable
from landline.observability.metrics import AUDIT_METRICS, Measured, series, textfile

_PROGRESS_SECONDS = 0.2


def run(settings: Settings, *, limit: int, metrics: Path | None) -> int:
    """Compare, print and count. Returns 0 when log and store agree, otherwise 1.

    Raises: StartupError when it could not be found out.
    """
    if metrics is not None:
        _check_writable(metrics)
    began = time.monotonic()
    screen = _Screen(limit)
    try:
        report = asyncio.run(_audit(settings, screen))
    except (Unavailable, LogLost) as error:
        raise StartupError(f"the audit could not be finished: {error}") from error
    finally:
        screen.clear()
    seconds = time.monotonic() - began
    screen.summarise(report, seconds)
    if metrics is not None:
        _write(metrics, _measured(report, seconds))
    return 1 if report.counts else 0


async def _audit(settings: Settings, screen: "_Screen") -> Report:
    if settings.kafka is None or settings.postgres is None:
        from landline.adapters.sqlite.audit import open_audit_file  # noqa: PLC0415 - one of two

        with open_audit_file(settings.data_dir) as file:
            return await audit(file, file, screen.tell, screen.progress)
    from landline.adapters.kafka.audit import KafkaAuditLog  # noqa: PLC0415
    from landline.adapters.kafka.topics import find_topic  # noqa: PLC0415
    from landline.adapters.postgres.audit import open_audit_store  # noqa: PLC0415
    from landline.app.cluster import check_log, kafka_cluster  # noqa: PLC0415

    cluster = kafka_cluster(settings, "audit")
    topic = await find_topic(cluster)
    async with open_audit_store(settings.postgres) as store:
        identity, _topic = check_log(settings, await store.identity(), topic)
        log = KafkaAuditLog(cluster, identity)
        return await audit(log, store, screen.tell, screen.progress, identity.base)


class _Screen:
    """Differences and summary on standard output; how far it is, on a terminal's."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._told = 0
        self._is_terminal = sys.stderr.isatty()
        self._shown_at = 0.0
        self._shown = 0

    def tell(self, difference: Difference) -> None:
        """Print a difference, unless there were enough of them."""
        self._told += 1
        if self._told <= self._limit:
            self.clear()
            print(difference)

    def progress(self, text: str) -> None:
        """Show how far it is, now and then."""
        now = time.monotonic()
        if self._is_terminal and now - self._shown_at > _PROGRESS_SECONDS:
            self.clear()
            sys.stderr.write(text)
            sys.stderr.flush()
            self._shown_at, self._shown = now, len(text)

    def clear(self) -> None:
        """Clear the progress."""
        if self._shown:
            sys.stderr.write("\r" + " " * self._shown + "\r")
            self._shown = 0

    def summarise(self, report: Report, seconds: float) -> None:
        """Print where every partition stands, and how many differences there are."""
        if self._told > self._limit:
            print(f"... and {self._told - self._limit} more")
        print(f"{'partition':>9} {'first':>20} {'applied':>20} {'end':>20}")
        for partition, (span, applied) in report.partitions.items():
            print(f"{partition:>9} {span.first:>20} {applied:>20} {span.end:>20}")
        print(
            f"compared {report.records} records of the log with {report.messages} messages and"
            f" {report.pending} pending rows of the store in {seconds:.1f} s"
        )
        if not report.counts:
            print("log and store agree")
            return
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(report.counts.items()))
        total = report.counts.total()
        print(f"{total} difference{'s' if total > 1 else ''}: {counts}")


def _measured(report: Report, seconds: float) -> Measured:
    differences = {
        series("landline_audit_differences", kind=kind): report.counts[kind] for kind in Kind
    }
    return {
        **differences,
        series("landline_audit_records"): report.records,
        series("landline_audit_messages"): report.messages,
        series("landline_audit_pending"): report.pending,
        series("landline_audit_duration_seconds"): seconds,
        series("landline_audit_timestamp_seconds"): time.time(),
    }


def _check_writable(path: Path) -> None:
    """Find out now, not after hours of comparing. Leaves nothing, and the last numbers alone.

    Raises: StartupError.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _new(path).write_bytes(b"")
        _new(path).unlink()
    except OSError as error:
        raise _not_written(path, error) from error


def _new(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")  # the collector reads *.prom


def _not_written(path: Path, error: OSError) -> StartupError:
    return StartupError(
        f"--metrics {path}: cannot be written ({error.strerror}); give a file in a directory that"
        " is there and may be written"
    )


def _write(path: Path, measured: Measured) -> None:
    """Put the numbers there at once: the collector may read at any moment."""
    try:
        _new(path).write_bytes(textfile(measured, AUDIT_METRICS))
        _new(path).replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
