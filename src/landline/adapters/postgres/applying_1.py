"""Makes the arguments of `apply_1`: what batches come to in format 1, in `deliveries`."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from landline.adapters.postgres.rounds import columns, storable
from landline.adapters.statements import statement
from landline.errors import StoreUnavailable
from landline.model import Batch, EventKind

APPLY_1: Final = statement("postgres", "apply_1")


class NeedsFormat2(StoreUnavailable):
    """The log holds what only format 2 can keep. Nothing is wrong with the record: it was written
    in format 2, and the store was restored from a backup of before. It can wait.
    """


def ids_of_1(batch: Batch) -> Sequence[str]:
    """Return the messages of which a batch touches rows."""
    ids = [message.id for message in batch.messages]
    return ids + [receipt.message_id for receipt in batch.receipts]


def check_1(batches: Sequence[Batch]) -> None:
    """See that format 1 can say it. Raises: NeedsFormat2."""
    if not all(map(_is_of_version_1, batches)):
        raise NeedsFormat2(
            "the log holds records that only format 2 of the store can keep, and the store is in"
            " format 1; replace servers of the version before, then run `landline migrate`"
        )


def apply_arguments_1(batches: Sequence[Batch]) -> Sequence[Any]:
    """Return what `APPLY_1` takes."""
    facts = [
        (batch.partition, m.id, m.conversation, m.sender, m.content, m.time_ms, m.position.offset)
        for batch in batches
        for m in batch.messages
    ]
    facts.sort(key=itemgetter(1))
    quarantined = [
        (*each.position, each.value, storable(each.reason))
        for batch in batches
        for each in batch.quarantined
    ]
    positions = [(batch.partition, batch.start, batch.end) for batch in batches]
    *deliveries, conversations = columns(_deliveries(batches), 6)
    return (
        *columns(positions, 3),
        *columns(facts, 7),
        *deliveries,
        *columns(quarantined, 4),
        conversations,
    )


def _is_of_version_1(batch: Batch) -> bool:
    return (
        batch.change is None
        and not batch.reads
        and all(receipt.mailbox.device is None for receipt in batch.receipts)
        and all(
            message.recipients
            and message.kind is EventKind.MESSAGE
            and message.device is None
            and message.data is None
            for message in batch.messages
        )
    )


def _deliveries(
    batches: Sequence[Batch],
) -> list[tuple[int, str, str, int | None, str | None, str | None]]:
    """Return one row for each message and recipient, in the order of the primary key."""
    owed: dict[tuple[str, str], tuple[int, int | None, str | None]] = {}
    received: dict[tuple[str, str], str] = {}
    for batch in batches:
        for message in batch.messages:
            for user in message.recipients:
                place = (batch.partition, message.position.offset, message.conversation)
                owed[message.id, user] = place
        for receipt in batch.receipts:
            id, user = receipt.message_id, receipt.mailbox.user
            known = received.get((id, user), receipt.delivered_at)
            received[id, user] = min(known, receipt.delivered_at)
            owed.setdefault((id, user), (batch.partition, None, None))
    return [
        (partition, *key, offset, received.get(key), conversation)
        for key, (partition, offset, conversation) in sorted(owed.items(), key=itemgetter(0))
    ]
