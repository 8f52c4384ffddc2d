"""Receipts on their way into the log: batched, each message once, bounded while the log is away."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from landline.delivery.decisions import AppendReceipts, Decision
from landline.delivery.flights import ReceiptBatch
from landline.ports import Clock
from landline.protocol.records import RECEIPTS_PER_RECORD, ReceiptRecord
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
    """Collects acknowledgements and turns them into records, one in flight per conversation
    and recipient: while it is on its way the next one fills.
    """

    def __init__(self, out: list[Decision], clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._waiting: dict[tuple[str, str], dict[str, str]] = {}
        self._waiting_count = 0
        self._in_flight: set[tuple[str, str]] = set()
        # An OrderedDict: a dict gets slow at its front, where it is emptied (it skips holes).
        self._settled: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._not_before = 0.0
        self.dropped = 0

    def is_settled(self, message_id: str, recipient: str) -> bool:
        """Say whether this receipt was taken a moment ago."""
        return (message_id, recipient) in self._settled

    def is_empty(self) -> bool:
        """Say whether every receipt taken is in the log."""
        return not self._waiting and not self._in_flight

    def take(self, recipient: str, acknowledged: Iterable[tuple[str, str, str]]) -> None:
        """Take (id, conversation, sender) of messages that `recipient` has acknowledged."""
        for id, conversation, sender in acknowledged:
            key = (id, recipient)
            if key in self._settled:
                continue
            if self._waiting_count >= QUEUED_RECEIPTS:
                self.dropped += 1
                continue
            self._settled[key] = None
            waiting = self._waiting.setdefault((conversation, recipient), {})
            self._waiting_count += id not in waiting
            waiting[id] = sender
        while len(self._settled) > SETTLED_RECEIPTS:
            self._settled.popitem(last=False)

    def flush(self) -> None:
        """Append what waits, except where a record of the same key is still in flight."""
        if not self._waiting or self._clock.monotonic() < self._not_before:
            return
        for key in [key for key in self._waiting if key not in self._in_flight]:
            waiting = self._waiting[key]
            senders = dict(list(waiting.items())[:RECEIPTS_PER_RECORD])
            for id in senders:
                del waiting[id]
            if not waiting:
                del self._waiting[key]
            self._waiting_count -= len(senders)
            self._in_flight.add(key)
            conversation, recipient = key
            delivered_at = rfc3339(self._clock.wall_ms())
            record = ReceiptRecord(tuple(senders), conversation, recipient, delivered_at)
            batch = ReceiptBatch(conversation, recipient, senders, delivered_at)
            self._out.append(AppendReceipts(batch, record.encode()))

    def appended(self, batch: ReceiptBatch) -> None:
        """A record is in the log."""
        self._in_flight.discard((batch.conversation, batch.recipient))

    def not_appended(self, batch: ReceiptBatch) -> None:
        """A record is perhaps not in the log: take its receipts back, for another try. A record
        too many is harmless.
        """
        self._in_flight.discard((batch.conversation, batch.recipient))
        for id in batch.senders:
            self._settled.pop((id, batch.recipient), None)
        self.take(
            batch.recipient,
            ((id, batch.conversation, sender) for id, sender in batch.senders.items()),
        )
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
