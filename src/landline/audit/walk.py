"""One audit: store and log into the spool, then side by side."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from landline.audit.comparison import Difference, Horizon, Kind, place
from landline.audit.fold import Fold
from landline.audit.messages import compare_messages
from landline.audit.sources import (
    AuditLog,
    AuditStore,
    OffsetRange,
    StoredMessage,
    StoredPending,
    StoredQuarantine,
    StoredRow,
)
from landline.audit.spool import Spool
from landline.audit.tables import compare_tables
from landline.model import Position, Positions


@dataclass(slots=True)
class Report:
    """What was looked at, and how often each kind of difference was found.

    `partitions`: what the log holds of each, and how far it is applied.
    """

    partitions: Mapping[int, tuple[OffsetRange, int]] = field(default_factory=dict)
    records: int = 0
    messages: int = 0
    pending: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)


async def audit(
    log: AuditLog,
    store: AuditStore,
    tell: Callable[[Difference], None],
    progress: Callable[[str], None],
    base: int = 0,
) -> Report:
    """Compare everything up to what is applied in the store's snapshot; `tell` each difference.

    `base` is the offset at which the log's epoch starts. Memory is bounded; log and store need
    room in a temporary file, some hundred bytes for each record and each row.
    Raises: StartupError, LogUnavailable, LogLost.
    """
    report = Report()

    def found(differences: Iterable[Difference]) -> None:
        for difference in differences:
            report.counts[difference.kind] += 1
            tell(difference)

    spool = Spool()
    try:
        # In this order: an end that was read after `applied` cannot lie before it.
        applied = await store.applied()
        async for page in store.rows():
            spool.store(page)
            _count(report, page)
            found(_quarantined(page))
            progress(f"read {report.messages} messages and {report.pending} pending rows")
        spool.end_store()
        spans = await log.spans()
        report.partitions = {
            partition: (span, applied.get(partition, base))
            for partition, span in sorted(spans.items())
        }
        found(_compare_ends(report.partitions))
        horizon = _with_begins(Horizon(spans, base, await store.purged()), spool)
        start, applied, end = _to_read(report.partitions)
        total = sum(end.values()) - sum(start.values())
        async for entries in log.entries(start, end):
            counting = [each for each in entries if _is_below(each.position, applied)]
            report.records += len(counting)
            progress(f"read {report.records} of {total} records")
            spool.note_redriven(entries)
            found(_unreadable(spool.log(counting, horizon)))
        spool.end_log()
        progress("comparing messages")
        found(compare_messages(spool, horizon))
        found(Fold(spool, horizon).run(progress))
        progress("comparing what is pending")
        found(compare_tables(spool, horizon))
    finally:
        spool.close()
    return report


def _count(report: Report, page: Sequence[StoredRow]) -> None:
    report.messages += sum(isinstance(row, StoredMessage) for row in page)
    report.pending += sum(isinstance(row, StoredPending) for row in page)


def _quarantined(page: Sequence[StoredRow]) -> Iterator[Difference]:
    for row in page:
        if isinstance(row, StoredQuarantine):
            yield Difference(Kind.QUARANTINED, f"{place(row.position)}: {row.reason}")


def _with_begins(horizon: Horizon, spool: Spool) -> Horizon:
    """Find from where on records were applied at their present positions.

    After the partitions were raised the old ones go on where they were. What they held before that
    is read at new positions, though it was applied at those of the old epoch. The first message
    that is stored at a new position was applied there, and so was everything behind it.
    """
    begins = {partition: span.first for partition, span in horizon.spans.items()}
    if horizon.base:
        for partition, span in horizon.spans.items():
            first = spool.first_stored(partition, span.first)
            begins[partition] = max(span.first, span.end) if first is None else first
    return replace(horizon, begins=begins)


def _compare_ends(partitions: Mapping[int, tuple[OffsetRange, int]]) -> Iterator[Difference]:
    for partition, (span, applied) in partitions.items():
        at = place(Position(partition, applied))
        if applied < span.first:
            yield Difference(
                Kind.LOG_GAP,
                f"{at}: {span.first - applied} records from here on are gone and were not applied",
            )
        elif applied > span.end:
            yield Difference(
                Kind.LOG_WENT_BACK,
                f"{at}: applied up to here, {applied - span.end} more than the log holds",
            )


def _to_read(
    partitions: Mapping[int, tuple[OffsetRange, int]],
) -> tuple[Positions, Positions, Positions]:
    """Return from where to where what is read counts, and up to where it is read.

    What is not applied yet is nobody's fault. But it may say of others that they do not count.
    """
    start = {partition: span.first for partition, (span, _applied) in partitions.items()}
    counting = {
        partition: max(span.first, min(applied, span.end))
        for partition, (span, applied) in partitions.items()
    }
    end = {
        partition: span.first if applied < span.first else span.end
        for partition, (span, applied) in partitions.items()
    }
    return start, counting, end


def _is_below(position: Position, end: Positions) -> bool:
    return position.offset < end[position.partition]


def _unreadable(found: Iterator[tuple[Position, str]]) -> Iterator[Difference]:
    for position, reason in found:
        yield Difference(
            Kind.UNREADABLE,
            f"{place(position)}: {reason}; passed over, and not in quarantine",
        )
