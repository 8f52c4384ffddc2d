"""Receipts on their way into the log: batched, each message once, bounded while the log is away."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from landline.delivery.decisions import AppendReceipts, Decision
from landline.delivery.flights import ReceiptBatch
from landline.delivery.window import Acknowledged
from landline.model import Mailbox
from landline.ports import Clock
from landline.protocol.records import RECEIPTS_PER_RECORD, ReceiptEntry, ReceiptRecord
from landline.protocol.times import rfc3339

# Receipts that wait while the log is away. One that is dropped costs a duplicate later: the
# message is still pending and comes again in the recipient's next session.
QUEUED_RECEIPTS = 10_000
# Receipts remembered after they were taken, so that a second session's ack is not a second
# receipt, and a pull does not push what was acknowledged a moment ago.
SETTLED_RECEIPTS = 16_384
RETRY_SECONDS = 1.0
# Receipts that senders were told of, so that each is told once: as many, for as long as a second
# receipt of the same message may be behind the first.
TOLD_RECEIPTS = 16_384
TOLD_SECONDS = 120.0


class Receipts:
    """Collects acknowledgements and turns them into records, one in flight per conversation: while
    it is on its way the next one fills.
    """

    def __init__(
        self, out: list[Decision], clock: Clock, record_version: Callable[[], int]
    ) -> None:
        self._out = out
        self._clock = clock
        self._record_version = record_version
        self._waiting: dict[str, dict[Mailbox, dict[str, Acknowledged]]] = {}  # by conversation
        self._waiting_count = 0
        self._in_flight: set[str] = set()  # conversations
        # An OrderedDict: a dict gets slow at its front, where it is emptied (it skips holes).
        self._settled: OrderedDict[tuple[str, Mailbox], None] = OrderedDict()
        self._not_before = 0.0
        self.dropped = 0

    def is_settled(self, message_id: str, mailbox: Mailbox) -> bool:
        """Say whether this receipt was taken a moment ago."""
        return (message_id, mailbox) in self._settled

    def is_empty(self) -> bool:
        """Say whether every receipt taken is in the log."""
        return not self._waiting and not self._in_flight

    def take(self, mailbox: Mailbox, acknowledged: Iterable[Acknowledged]) -> None:
        """Take what a mailbox has acknowledged."""
        for each in acknowledged:
            key = (each.id, mailbox)
            if key in self._settled:
                continue
            if self._waiting_count >= QUEUED_RECEIPTS:
                self.dropped += 1
                continue
            self._settled[key] = None
            waiting = self._waiting.setdefault(each.conversation, {}).setdefault(mailbox, {})
            self._waiting_count += each.id not in waiting
            waiting[each.id] = each
        while len(self._settled) > SETTLED_RECEIPTS:
            self._settled.popitem(last=False)

    def flush(self) -> None:
        """Append what waits, except where a record of the same conversation is still in flight."""
        if not self._waiting or self._clock.monotonic() < self._not_before:
            return
        for conversation in [each for each in self._waiting if each not in self._in_flight]:
            self._in_flight.add(conversation)
            self._append(conversation)

    def _append(self, conversation: str) -> None:
        version = self._record_version()
        entries = self._take_waiting(conversation, 1 if version == 1 else RECEIPTS_PER_RECORD)
        delivered_at = rfc3339(self._clock.wall_ms())
        listed = tuple(
            ReceiptEntry(mailbox.user, mailbox.device, [each.id for each in acknowledged])
            for mailbox, acknowledged in entries
        )
        record = ReceiptRecord(conversation, listed, delivered_at)
        value = record.encode() if version == 1 else record.encode_2()
        self._out.append(AppendReceipts(ReceiptBatch(conversation, entries, delivered_at), value))

    def _take_waiting(
        self, conversation: str, mailboxes: int
    ) -> list[tuple[Mailbox, list[Acknowledged]]]:
        """Take what fits into one record, of so many mailboxes at the most."""
        waiting = self._waiting[conversation]
        entries = []
        room = RECEIPTS_PER_RECORD
        for mailbox in list(waiting)[:mailboxes]:
            if room <= 0:
                break
            of_mailbox = waiting[mailbox]
            taken = list(of_mailbox.values())[:room]
            for each in taken:
                del of_mailbox[each.id]
            if not of_mailbox:
                del waiting[mailbox]
            room -= len(taken)
            self._waiting_count -= len(taken)
            entries.append((mailbox, taken))
        if not waiting:
            del self._waiting[conversation]
        return entries

    def appended(self, batch: ReceiptBatch) -> None:
        """A record is in the log."""
        self._in_flight.discard(batch.conversation)

    def not_appended(self, batch: ReceiptBatch) -> None:
        """A record is perhaps not in the log: take its receipts back, for another try. A record
        too many is harmless.
        """
        self._in_flight.discard(batch.conversation)
        for mailbox, acknowledged in batch.entries:
            for each in acknowledged:
                self._settled.pop((each.id, mailbox), None)
            self.take(mailbox, acknowledged)
        self._not_before = self._clock.monotonic() + RETRY_SECONDS


class Told:
    """Which receipts the senders on this server have been told of. Bounded; empty when idle."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noted_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def note_new(self, message_ids: Iterable[str], recipient: str) -> Sequence[str]:
        """Note these receipts; return the ids of those that are news."""
        now = self._clock.monotonic()
        news = [id for id in message_ids if (id, recipient) not in self._noted_at]
        for id in news:
            self._noted_at[(id, recipient)] = now
        while len(self._noted_at) > TOLD_RECEIPTS:
            self._noted_at.popitem(last=False)
        return news

    def forget_old(self) -> None:
        """Forget what was told long ago."""
        horizon = self._clock.monotonic() - TOLD_SECONDS
        while self._noted_at and next(iter(self._noted_at.values())) <= horizon:
            self._noted_at.popitem(last=False)
