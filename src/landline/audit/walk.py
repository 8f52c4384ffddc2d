"""One audit: fold the log into the spool, then walk log and store side by side."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from landline.audit.comparison import Case, Difference, Kind, compare, place
from landline.audit.sources import AuditLog, AuditStore, OffsetRange
from landline.audit.spool import Spool
from landline.model import Position, Positions


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=_HasId)


@dataclass(slots=True)
class Report:
    """What was looked at, and how often each kind of difference was found.

    `partitions`: what the log holds of each, and how far it is applied.
    """

    partitions: Mapping[int, tuple[OffsetRange, int]] = field(default_factory=dict)
    records: int = 0
    messages: int = 0
    deliveries: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)


async def audit(
    log: AuditLog,
    store: AuditStore,
    tell: Callable[[Difference], None],
    progress: Callable[[str], None],
    base: int = 0,
) -> Report:
    """Compare everything up to what is applied in the store's snapshot; `tell` each difference.

    `base` is the offset at which the log's epoch starts. Memory is bounded; the log needs room in
    a temporary file, some hundred bytes a message. Raises: StartupError, LogUnavailable, LogLost.
    """
    report = Report()

    def found(differences: Iterator[Difference]) -> None:
        for difference in differences:
            report.counts[difference.kind] += 1
            tell(difference)

    # In this order: an end that was read after `applied` cannot lie before it.
    applied = await store.applied()
    spans = await log.spans()
    report.partitions = {
        partition: (span, applied.get(partition, base)) for partition, span in sorted(spans.items())
    }
    found(_compare_ends(report.partitions))
    spool = Spool()
    try:
        async for page in store.quarantined():
            spool.quarantine(page)
            found(
                Difference(Kind.QUARANTINED, f"{place(row.position)}: {row.reason}") for row in page
            )
        start, end = _to_read(report.partitions)
        total = sum(end.values()) - sum(start.values())
        async for entries in log.entries(start, end):
            report.records += len(entries)
            progress(f"read {report.records} of {total} records")
            found(_unreadable(spool.add(entries)))
        async for case in _cases(spool, store):
            report.messages += case.stored is not None
            report.deliveries += len(case.deliveries)
            if report.messages % 1_000 == 0:
                progress(f"compared {report.messages} messages")
            found(compare(case, spans))
    finally:
        spool.close()
    return report


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


def _to_read(partitions: Mapping[int, tuple[OffsetRange, int]]) -> tuple[Positions, Positions]:
    """Return from where to where: what is not applied yet is nobody's fault."""
    start = {partition: span.first for partition, (span, _applied) in partitions.items()}
    end = {
        partition: max(span.first, min(applied, span.end))
        for partition, (span, applied) in partitions.items()
    }
    return start, end


def _unreadable(found: Iterator[tuple[Position, str]]) -> Iterator[Difference]:
    for position, reason in found:
        yield Difference(
            Kind.UNREADABLE,
            f"{place(position)}: {reason}; passed over, and not in quarantine",
        )


async def _cases(spool: Spool, store: AuditStore) -> AsyncIterator[Case]:
    """Yield what is known of each message id that occurs anywhere, in the order of the ids."""
    logged = _Pages(spool.messages())
    receipts = _Pages(spool.receipts())
    stored = _Pages(store.messages())
    deliveries = _Pages(store.deliveries())
    streams: Sequence[_Pages[_HasId]] = [logged, receipts, stored, deliveries]  # type: ignore[list-item]
    while True:
        ids = [id for stream in streams if (id := await stream.next_id()) is not None]
        if not ids:
            return
        id = min(ids)
        yield Case(
            id,
            next(iter(await logged.take(id)), None),
            {receipt.recipient for receipt in await receipts.take(id)},
            next(iter(await stored.take(id)), None),
            await deliveries.take(id),
        )


class _Pages(Generic[Row]):
    """Rows that come in pages, in the order of their ids, taken id by id."""

    def __init__(self, pages: AsyncIterator[Sequence[Row]]) -> None:
        self._pages = pages
        self._page: Sequence[Row] = ()
        self._next = 0

    async def next_id(self) -> str | None:
        """Return the id of the next row, None at the end."""
        if self._next == len(self._page):
            # A list: with an empty tuple for its default `anext` fails (CPython 3.11).
            self._page, self._next = await anext(self._pages, []), 0
        return self._page[self._next].id if self._page else None

    async def take(self, id: str) -> list[Row]:
        """Return the next rows, as far as they have this id."""
        rows = []
        while await self.next_id() == id:
            rows.append(self._page[self._next])
            self._next += 1
        return rows
