"""The fold turns a stretch of the log into batches. Pure: a repeat changes nothing."""

from collections.abc import Sequence

from landline.model import (
    Batch,
    DeviceChange,
    Entry,
    Mailbox,
    Message,
    Quarantined,
    Read,
    Receipt,
    Stretch,
)
from landline.protocol.events import change_of, event_of
from landline.protocol.records import (
    BadRecord,
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptRecord,
    Record,
    RoomRecord,
    decode_entry,
)


def fold(stretch: Stretch) -> Sequence[Batch]:
    """Return what a stretch adds up to, in the order of the log: at least one batch, which together
    cover the stretch. A record that decides who is owed what comes after it is a batch by itself.

    The first record of a message is the message. A record that can never be applied goes to
    quarantine.
    """
    batches: list[Batch] = []
    piece = _Piece(stretch.partition, stretch.start)
    for entry in stretch.entries:
        try:
            record = decode_entry(entry)
        except BadRecord as error:
            piece.quarantined.append(Quarantined(entry.position, entry.value, str(error)))
            continue
        if isinstance(record, RoomRecord | MemberRecord | DeviceRecord):
            offset = entry.position.offset
            if offset > piece.start:
                batches.append(piece.end(offset))
            batches.append(_change(entry, record))
            piece = _Piece(stretch.partition, offset + 1)
        else:
            piece.add(entry, record)
    if stretch.end > piece.start or not batches:
        batches.append(piece.end(stretch.end))
    return batches


class _Piece:
    """Entries between two changes."""

    def __init__(self, partition: int, start: int) -> None:
        self.partition = partition
        self.start = start
        self.quarantined: list[Quarantined] = []
        self._messages: dict[str, Message] = {}
        self._receipts: dict[tuple[str, Mailbox], Receipt] = {}
        self._reads: dict[tuple[str, str], Read] = {}

    def add(self, entry: Entry, record: Record) -> None:
        offset = entry.position.offset
        if isinstance(record, MessageRecord):
            message = event_of(record, entry.position, entry.time_ms)
            self._messages.setdefault(message.id, message)
        elif isinstance(record, ReceiptRecord):
            for recipient, device, ids in record.entries:
                mailbox = Mailbox(recipient, device)
                for id in ids:
                    known = self._receipts.get((id, mailbox))
                    time = record.delivered_at
                    if known is not None:  # the first time it was received, as in version 1
                        time = min(time, known.delivered_at)
                    self._receipts[id, mailbox] = Receipt(id, mailbox, time, offset)
        elif isinstance(record, ReadRecord):
            for user, seen in record.entries:
                key = (record.conversation, user)
                # Nobody has seen what comes after this record.
                read = Read(record.conversation, user, min(seen, offset))
                self._reads[key] = max(read, self._reads.get(key, read))

    def end(self, offset: int) -> Batch:
        return Batch(
            self.partition,
            self.start,
            offset,
            tuple(self._messages.values()),
            tuple(self._receipts.values()),
            tuple(self.quarantined),
            tuple(self._reads.values()),
        )


def _change(entry: Entry, record: RoomRecord | MemberRecord | DeviceRecord) -> Batch:
    partition, offset = entry.position
    if isinstance(record, DeviceRecord):
        device = DeviceChange(record.user, record.device, record.is_added, offset)
        return Batch(partition, offset, offset + 1, change=device)
    event = event_of(record, entry.position, entry.time_ms)
    return Batch(partition, offset, offset + 1, (event,), change=change_of(record))
