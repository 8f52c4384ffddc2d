"""What log and store say of one message, and how they differ. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from landline.audit.sources import OffsetRange, StoredDelivery, StoredMessage
from landline.model import OFFSET_BITS, Position


class Kind(StrEnum):
    """What kind of difference it is. The values are labels of a metric."""

    MESSAGE_MISSING = "message_missing"  # accepted, or owed, but not stored
    MESSAGE_CHANGED = "message_changed"  # stored with other facts
    MESSAGE_MOVED = "message_moved"  # stored at another position than that of its first record
    MESSAGE_UNKNOWN = "message_unknown"  # stored, but not in the log
    RECEIPT_MISSING = "receipt_missing"  # in the log, but not stored
    RECEIPT_UNKNOWN = "receipt_unknown"  # stored as delivered, without a receipt in the log
    RECEIPT_STRAY = "receipt_stray"  # of a missing message, or by a user who is not its recipient
    QUARANTINED = "quarantined"  # a record that was not applied and is kept for a person
    UNREADABLE = "unreadable"  # a record that was passed over and is not in quarantine
    LOG_GAP = "log_gap"  # records are gone that were never applied
    LOG_WENT_BACK = "log_went_back"  # more was applied than the log holds


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; `text` names who and where, never a message's content."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class LoggedMessage(NamedTuple):
    """The first record of a message. Its content is known by its digest only."""

    id: str
    conversation: str
    sender: str
    digest: bytes
    recipients: frozenset[str]
    position: Position
    time_ms: int


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known of one message id. `receipts` are the recipients in the log's receipts."""

    id: str
    logged: LoggedMessage | None
    receipts: Collection[str]
    stored: StoredMessage | None
    deliveries: Sequence[StoredDelivery]


def digest(content: str) -> bytes:
    """Return what stands for a content."""
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def place(position: Position) -> str:
    """Return a position in words, as Kafka's tools show it."""
    epoch, offset = divmod(position.offset, 1 << OFFSET_BITS)
    suffix = f" of log epoch {epoch}" if epoch else ""
    return f"partition {position.partition} offset {offset}{suffix}"


def compare(case: Case, spans: Mapping[int, OffsetRange]) -> Iterator[Difference]:
    """Yield how log and store differ about one message."""
    yield from _compare_message(case, spans)
    yield from _compare_receipts(case, spans)


def _compare_message(case: Case, spans: Mapping[int, OffsetRange]) -> Iterator[Difference]:
    logged, stored = case.logged, case.stored
    debts = [each for each in case.deliveries if each.position is not None]
    if stored is None:
        if logged is not None:
            yield Difference(
                Kind.MESSAGE_MISSING,
                f"message {case.id} from {logged.sender} at {place(logged.position)}"
                " was accepted and is not stored",
            )
        elif debts:
            yield _owed_only(debts[0], spans)
        return
    if logged is None and is_within(stored.position, spans):
        yield Difference(
            Kind.MESSAGE_UNKNOWN,
            f"message {case.id} from {stored.sender} is stored at {place(stored.position)},"
            " where the log does not have it",
        )
    if logged is not None and _is_moved(logged.position, stored.position, spans):
        yield Difference(
            Kind.MESSAGE_MOVED,
            f"message {case.id} is stored at {place(stored.position)},"
            f" its first record is at {place(logged.position)}",
        )
    if changed := [*_changed(logged, stored), *_changed_debts(logged, stored, debts)]:
        yield Difference(
            Kind.MESSAGE_CHANGED,
            f"message {case.id} at {place(stored.position)} differs in {', '.join(changed)}",
        )


def _owed_only(debt: StoredDelivery, spans: Mapping[int, OffsetRange]) -> Difference:
    assert debt.position is not None
    is_unknown = is_within(debt.position, spans)
    return Difference(
        Kind.MESSAGE_UNKNOWN if is_unknown else Kind.MESSAGE_MISSING,
        f"message {debt.id} is owed to {debt.recipient} since {place(debt.position)} and is"
        f" {'neither stored nor in the log' if is_unknown else 'not stored'}",
    )


def _is_moved(logged: Position, stored: Position, spans: Mapping[int, OffsetRange]) -> bool:
    """Say whether a message is where it should not be.

    A lower position that the log does not reach (any more) is that of an earlier record.
    """
    is_earlier = stored[::-1] < logged[::-1]
    return stored != logged and not (is_earlier and not is_within(stored, spans))


def _changed(logged: LoggedMessage | None, stored: StoredMessage) -> Iterator[str]:
    if logged is None:
        return
    if stored.sender != logged.sender:
        yield f"sender ({stored.sender}, in the log {logged.sender})"
    if stored.conversation != logged.conversation:
        yield f"conversation ({stored.conversation}, in the log {logged.conversation})"
    if digest(stored.content) != logged.digest:
        yield "content"
    if stored.position == logged.position and stored.time_ms != logged.time_ms:
        yield "time"


def _changed_debts(
    logged: LoggedMessage | None, stored: StoredMessage, debts: Sequence[StoredDelivery]
) -> Iterator[str]:
    owed = {debt.recipient for debt in debts}
    if logged is not None and owed != logged.recipients:
        yield f"recipients ({_names(owed)}, in the log {_names(logged.recipients)})"
    elif not owed:
        yield "recipients (nobody)"
    for debt in debts:
        if debt.position != stored.position:
            yield f"where it is owed to {debt.recipient}"
        if debt.mailbox != debt.recipient:
            yield f"the mailbox of {debt.recipient} ({debt.mailbox})"


def _compare_receipts(case: Case, spans: Mapping[int, OffsetRange]) -> Iterator[Difference]:
    delivered = {each.recipient for each in case.deliveries if each.is_delivered}
    for recipient in sorted(set(case.receipts) - delivered):
        yield Difference(
            Kind.RECEIPT_MISSING,
            f"message {case.id} was received by {recipient}, and is not stored as delivered",
        )
    for each in case.deliveries:
        if each.position is None:
            why = "who is no recipient of it" if case.stored else "and there is no such message"
            yield Difference(
                Kind.RECEIPT_STRAY,
                f"message {case.id} was received by {each.recipient}, {why}",
            )
        elif (
            each.is_delivered
            and each.recipient not in case.receipts
            # A receipt stands behind its message: where the log has that, it has both.
            and is_within(each.position, spans)
        ):
            yield Difference(
                Kind.RECEIPT_UNKNOWN,
                f"message {case.id} is stored as delivered to {each.recipient},"
                " and the log has no receipt of it",
            )


def is_within(position: Position, spans: Mapping[int, OffsetRange]) -> bool:
    """Say whether the log reaches back to this position. Beyond its end it must not be either."""
    span = spans.get(position.partition)
    return span is not None and position.offset >= span.first


def _names(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"
