"""The store is the fold of the log, nothing missing and nothing made up: I9, I10."""

from collections import defaultdict
from collections.abc import Iterator

from landline_verify.checker.audience import called
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.fold import Mailbox
from landline_verify.checker.messages import Message
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import (
    DeviceRecord,
    ForeignRecord,
    MessageRow,
    ReadRecord,
    ReceiptsRecord,
    Record,
    Said,
)


def is_fold(evidence: Evidence) -> Iterator[Violation]:
    """I9: messages, what is pending, who is in which conversation, how far they have seen it, and
    quarantine equal the fold of the log; every offset of the log is there once.
    """
    yield from _messages(evidence)
    yield from _pending(evidence)
    yield from _statuses(evidence)
    yield from _members(evidence)
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


def _difference(record: Said, row: MessageRow) -> str | None:
    for name in ("sender", "conversation", "digest", "partition", "offset"):
        logged, stored = getattr(record, name), getattr(row, name)
        if logged != stored:
            return f"{name} {logged} and {stored}"
    return None


def _index(message: Message, record: Said) -> int:
    return next(at for at, each in message.records if each is record)


def _pending(evidence: Evidence) -> Iterator[Violation]:
    """Compare what each mailbox is owed, and whether it was received."""
    for message in evidence.messages.values():
        record = evidence.dumped.fold.messages.get(message.id)
        logged = evidence.dumped.fold.owed.get(message.id, {})
        owed = {each: state for each, state in logged.items() if each.user in evidence.users}
        seen = [at for at, _ in [*message.records, *message.receipts]]
        for at, row in message.pending_rows:
            mailbox = Mailbox(row.user, row.device)
            if row.user not in evidence.users:
                continue
            is_received = owed.pop(mailbox, None)
            if is_received is None:
                had = (message.id, row.user) in evidence.dumped.fold.receipts
                why = "has a receipt" if had else "does not"
                yield message.violates(
                    "I9", f"the store owes it to {called(mailbox)}, the log {why}", *seen, at
                )
            elif is_received != row.is_received:
                logged_as = "received" if is_received else "not received"
                yield message.violates(
                    "I9",
                    f"the store owes it to {called(mailbox)} as if it were otherwise: by the log it"
                    f" is {logged_as} by that user",
                    *seen,
                    at,
                )
            elif record is None or (row.partition, row.offset) != (record.partition, record.offset):
                yield message.violates("I9", "it is owed at another position than its own", at)
        for mailbox in sorted(owed, key=called):
            yield message.violates(
                "I9", f"the log owes it to {called(mailbox)}, the store does not", *seen
            )
    for at, row in evidence.dumped.groundless:
        yield _nameless(
            f"the store owes {called(Mailbox(row.user, row.device))} what stands at"
            f" {row.partition}/{row.offset}, and has no message there",
            at,
        )


def _statuses(evidence: Evidence) -> Iterator[Violation]:
    """Compare what the store says of a message to its recipients."""
    for message in evidence.messages.values():
        record = evidence.dumped.fold.messages.get(message.id)
        if record is None or not message.rows:
            continue  # that is told as it is
        expected = evidence.dumped.fold.recipients(record) & evidence.users
        seen = [at for at, _ in [*message.records, *message.receipts]]
        for at, row in message.status_rows:
            if row.recipient not in expected:
                if row.recipient in evidence.users:
                    yield message.violates(
                        "I9", f"the store has {row.recipient} as its recipient, the log has not", at
                    )
                continue
            expected.discard(row.recipient)
            is_delivered = evidence.dumped.fold.is_delivered(message.id, row.recipient)
            if (row.status == "DELIVERED") != is_delivered:
                logged = "received" if is_delivered else "owed"
                yield message.violates(
                    "I9", f"the store has it {row.status}, by the log it is {logged}", *seen, at
                )
        for recipient in sorted(expected):
            yield message.violates(
                "I9", f"the log has {recipient} as its recipient, the store has not", *seen
            )


def _members(evidence: Evidence) -> Iterator[Violation]:
    """Compare who is in which conversation, as what, since when, and how far they have seen it."""
    logged = {
        (name, each.user): (each.role, each.joined, each.read)
        for name, conversation in evidence.dumped.fold.conversations.items()
        for each in conversation.members.values()
        if each.user in evidence.users
    }
    for at, row in evidence.dumped.members:
        if row.user not in evidence.users:
            continue
        known = logged.pop((row.conversation, row.user), None)
        stored = (row.role, row.joined, row.read)
        if known is None:
            yield _nameless(f"the store has {row.user} in {row.conversation}, the log has not", at)
        elif known != stored:
            for name, one, other in zip(("role", "joined", "read"), known, stored, strict=True):
                if one != other:
                    yield _nameless(
                        f"{row.user} in {row.conversation}: {name} is {one} by the log, {other} in"
                        " the store",
                        at,
                    )
    for conversation, user in logged:
        event = evidence.dumped.fold.conversations[conversation].events[0]
        at = _index(evidence.messages[event.id], event)
        yield _nameless(f"the log has {user} in {conversation}, the store has not", at)


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
    if isinstance(record, Said):
        return record.sender in evidence.users
    if isinstance(record, ReceiptsRecord | ReadRecord):
        return any(user in evidence.users for user, *_ in record.entries)
    return isinstance(record, DeviceRecord) and record.user in evidence.users


def _about(evidence: Evidence, record: Record, sentence: str, *events: int) -> Violation:
    if isinstance(record, Said):
        return evidence.messages[record.id].violates("I9", sentence, *events)
    what = {ReceiptsRecord: "receipts", ReadRecord: "read marks"}.get(type(record), "a device")
    return _nameless(f"{sentence}: {what} at {_place(record)}", *events)


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
