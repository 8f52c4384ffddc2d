"""The store is the fold of the log, nothing missing and nothing made up: I9, I10."""

from collections import defaultdict
from collections.abc import Iterator

from landline_verify.checker.evidence import Evidence
from landline_verify.checker.messages import Message
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import (
    DeliveryRow,
    ForeignRecord,
    MessageRecord,
    MessageRow,
    ReceiptsRecord,
    Record,
)


def is_fold(evidence: Evidence) -> Iterator[Violation]:
    """I9: messages, receipts and quarantine equal the fold of the log; every offset of the log is
    there once.
    """
    yield from _messages(evidence)
    yield from _deliveries(evidence)
    yield from _quarantine(evidence)
    yield from _offsets(evidence)


def _messages(evidence: Evidence) -> Iterator[Violation]:
    first = evidence.dumped.fold.messages
    for message in evidence.messages.values():
        record = first.get(message.id)
        if record is not None and record.sender in evidence.users and not message.rows:
            yield message.violates(
                "I9", "the log holds it, the store does not", _index(message, record)
            )
        for at, row in message.rows:
            if record is None:
                yield message.violates("I9", "the store holds it, the log does not", at)
            elif (difference := _difference(record, row)) is not None:
                yield message.violates(
                    "I9", f"log and store disagree: {difference}", _index(message, record), at
                )


def _difference(record: MessageRecord, row: MessageRow) -> str | None:
    for name in ("sender", "conversation", "digest", "partition", "offset"):
        logged, stored = getattr(record, name), getattr(row, name)
        if logged != stored:
            return f"{name} {logged} and {stored}"
    return None


def _index(message: Message, record: MessageRecord) -> int:
    return next(at for at, each in message.records if each is record)


def _deliveries(evidence: Evidence) -> Iterator[Violation]:
    receipts = evidence.dumped.fold.receipts
    for message in evidence.messages.values():
        record = evidence.dumped.fold.messages.get(message.id)
        owed = set() if record is None else set(record.recipients)
        owed |= {each.recipient for _, each in message.receipts}
        owed &= evidence.users
        seen = [at for at, _ in [*message.records, *message.receipts]]
        for at, row in message.deliveries:
            if row.recipient not in owed:
                yield message.violates(
                    "I9", f"the store owes it to {row.recipient}, the log does not", *seen, at
                )
                continue
            owed.discard(row.recipient)
            is_delivered = (message.id, row.recipient) in receipts
            if (row.status == "DELIVERED") != is_delivered:
                logged = "a receipt" if is_delivered else "no receipt"
                yield message.violates(
                    "I9", f"the store has it {row.status}, the log has {logged}", *seen, at
                )
            if record is not None and not _is_at(row, record):
                yield message.violates("I9", "it is owed at another position than its own", at)
        for recipient in sorted(owed):
            yield message.violates(
                "I9", f"the log owes it to {recipient}, the store does not", *seen
            )


def _is_at(row: DeliveryRow, record: MessageRecord) -> bool:
    # Only a recipient is owed the message; others are there for their receipt, without a position.
    position = (record.partition, record.offset) if row.recipient in record.recipients else ()
    return position == (() if row.offset is None else (row.partition, row.offset))


def _quarantine(evidence: Evidence) -> Iterator[Violation]:
    put_aside = {(row.partition, row.offset): at for at, row in evidence.dumped.quarantine}
    for at, record in evidence.dumped.records:
        row_at = put_aside.pop((record.partition, record.offset), None)
        if isinstance(record, ForeignRecord):
            if record.garbage and row_at is None:
                yield _nameless(f"garbage at {_place(record)} is not in quarantine", at)
        elif row_at is not None and _is_ours(evidence, record):
            yield _about(evidence, record, "it is in quarantine, but can be applied", at, row_at)
    for (partition, offset), at in put_aside.items():
        yield _nameless(f"quarantine has {partition}/{offset}, the log has nothing there", at)


def _is_ours(evidence: Evidence, record: Record) -> bool:
    if isinstance(record, MessageRecord):
        return record.sender in evidence.users
    return isinstance(record, ReceiptsRecord) and record.recipient in evidence.users


def _about(evidence: Evidence, record: Record, sentence: str, *events: int) -> Violation:
    if isinstance(record, MessageRecord):
        return evidence.messages[record.id].violates("I9", sentence, *events)
    return _nameless(f"{sentence}: receipts at {_place(record)}", *events)


def _offsets(evidence: Evidence) -> Iterator[Violation]:
    for partition, records in _partitions(evidence).items():
        expected = records[0][1].offset
        for at, record in records:
            if record.offset < expected:
                yield _nameless(f"{_place(record)} stands in the log twice", at)
            elif record.offset > expected:
                yield _nameless(
                    f"offsets {expected} to {record.offset - 1} of partition {partition} are "
                    "unaccounted for",
                    at,
                )
            expected = max(expected, record.offset + 1)


def applied(evidence: Evidence) -> Iterator[Violation]:
    """I10: the writer never goes back, and is at the log's end after the drain."""
    for what, samples in evidence.samples.items():
        if what.partition(":")[0] == "applied":
            highest = samples[0]
            for at, sample in samples:
                if sample.value < highest[1].value:
                    yield _nameless(
                        f"{what} went back from {highest[1].value:.0f} to {sample.value:.0f}",
                        highest[0],
                        at,
                        invariant="I10",
                    )
                else:
                    highest = (at, sample)
    if not (evidence.has_log and evidence.has_store):
        return
    ends = {
        partition: (records[-1][0], records[-1][1].offset + 1)
        for partition, records in _partitions(evidence).items()
    }
    nexts = {row.partition: (at, row.next) for at, row in evidence.dumped.applied}
    for partition, (at, end) in ends.items():
        row_at, next_offset = nexts.get(partition, (at, 0))
        if next_offset != end:
            yield _nameless(
                f"partition {partition} ends at {end}, applied is {next_offset}",
                at,
                row_at,
                invariant="I10",
            )


def _partitions(evidence: Evidence) -> dict[int, list[tuple[int, Record]]]:
    """Return the records of each partition in the order of the log."""
    partitions: defaultdict[int, list[tuple[int, Record]]] = defaultdict(list)
    for each in evidence.dumped.records:
        partitions[each[1].partition].append(each)
    for records in partitions.values():
        records.sort(key=lambda each: each[1].offset)
    return partitions


def _place(record: Record) -> str:
    return f"{record.partition}/{record.offset}"


def _nameless(sentence: str, *events: int, invariant: str = "I9") -> Violation:
    return Violation(invariant, sentence, tuple(sorted(set(events))))
