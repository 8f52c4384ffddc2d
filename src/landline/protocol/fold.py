"""The fold turns a stretch of the log into rows and receipts. Pure: a repeat changes nothing."""

from landline.model import Batch, Message, Quarantined, Receipt, Stretch
from landline.protocol.records import BadRecord, MessageRecord, decode_entry


def fold(stretch: Stretch) -> Batch:
    """Return what a stretch adds up to. The first record of a message is the message, the
    earliest receipt the receipt; a record that can never be applied goes to quarantine.
    """
    messages: dict[str, Message] = {}
    receipts: dict[tuple[str, str], Receipt] = {}
    quarantined: list[Quarantined] = []
    for entry in stretch.entries:
        try:
            record = decode_entry(entry)
        except BadRecord as error:
            quarantined.append(Quarantined(entry.position, entry.value, str(error)))
            continue
        if isinstance(record, MessageRecord):
            messages.setdefault(
                record.message_id,
                Message(
                    record.message_id,
                    record.conversation,
                    record.sender,
                    record.recipients,
                    record.content,
                    entry.position,
                    entry.time_ms,
                ),
            )
        else:
            for id in record.message_ids:
                receipt = Receipt(id, record.recipient, record.delivered_at)
                known = receipts.setdefault((id, record.recipient), receipt)
                if receipt.delivered_at < known.delivered_at:  # as the stores do across stretches
                    receipts[(id, record.recipient)] = receipt
    return Batch(
        stretch.partition,
        stretch.start,
        stretch.end,
        tuple(messages.values()),
        tuple(receipts.values()),
        tuple(quarantined),
    )
