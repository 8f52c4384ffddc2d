"""The fold of a log, written from the contract alone: the store must hold this, nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from landline_verify.history.events import MessageRecord, ReceiptsRecord, Record


@dataclass(slots=True)
class Fold:
    """Every message with its first record, and every receipt as (id, recipient)."""

    messages: dict[str, MessageRecord] = field(default_factory=dict)
    receipts: set[tuple[str, str]] = field(default_factory=set)


def fold(records: Iterable[Record]) -> Fold:
    """Return the messages and receipts of the records, in whatever order they are given."""
    result = Fold()
    for record in sorted(records, key=lambda each: (each.partition, each.offset)):
        if isinstance(record, MessageRecord):
            result.messages.setdefault(record.id, record)
        elif isinstance(record, ReceiptsRecord):
            result.receipts.update((id, record.recipient) for id in record.ids)
    return result


def conversation_of(one: str, other: str) -> str:
    """Return the conversation of two users; Python compares texts by code point, as it must be."""
    return f"dm:{min(one, other)}:{max(one, other)}"
