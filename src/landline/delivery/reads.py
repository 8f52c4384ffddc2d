"""How far users have seen conversations, on its way into the log.

The first mark of a conversation goes at once, then one record every READ_SECONDS at the most, with
the furthest of each user. It is best effort until its echo: whoever hears none says it again.
"""

from landline.delivery.decisions import AppendReads, Decision
from landline.delivery.receipts import RETRY_SECONDS
from landline.ports import Clock
from landline.protocol.records import ReadRecord

READ_SECONDS = 2.0
# Marks that wait while the log is away; beyond that they are dropped.
QUEUED_READS = 10_000


class Reads:
    """Collects marks, and turns them into records, one in flight per conversation."""

    def __init__(self, out: list[Decision], clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._waiting: dict[str, dict[str, int]] = {}  # conversation -> user -> offset
        self._waiting_count = 0
        self._not_before: dict[str, float] = {}  # conversation -> when the next may go
        self._in_flight: set[str] = set()
        self._away_until = 0.0
        self.dropped = 0

    def is_empty(self) -> bool:
        """Say whether every mark that was taken is in the log."""
        return not self._waiting and not self._in_flight

    def take(self, user: str, conversation: str, offset: int) -> bool:
        """Take a mark. Returns whether there was room for it."""
        waiting = self._waiting.get(conversation)
        if waiting is None or user not in waiting:
            if self._waiting_count >= QUEUED_READS:
                self.dropped += 1
                return False
            waiting = self._waiting.setdefault(conversation, {})
            self._waiting_count += 1
        waiting[user] = max(offset, waiting.get(user, 0))
        return True

    def flush(self, *, is_over: bool = False) -> None:
        """Append what may go. `is_over`: all of it, since the server ends."""
        now = self._clock.monotonic()
        if not self._waiting or now < self._away_until:
            return
        for conversation in list(self._waiting):
            is_due = is_over or self._not_before.get(conversation, 0.0) <= now
            if is_due and conversation not in self._in_flight:
                entries = self._waiting.pop(conversation)
                self._waiting_count -= len(entries)
                self._in_flight.add(conversation)
                self._not_before[conversation] = now + READ_SECONDS
                record = ReadRecord(conversation, tuple(entries.items()))
                self._out.append(AppendReads(record, record.encode_2()))

    def appended(self, record: ReadRecord) -> None:
        """A record is in the log."""
        self._in_flight.discard(record.conversation)

    def not_appended(self, record: ReadRecord) -> None:
        """A record is perhaps not in the log: its marks are taken back. Twice does no harm."""
        self._in_flight.discard(record.conversation)
        self._away_until = self._clock.monotonic() + RETRY_SECONDS
        for user, offset in record.entries:
            self.take(user, record.conversation, offset)

    def forget_old(self) -> None:
        """Let time pass: forget when what is quiet was last told of."""
        now = self._clock.monotonic()
        if self._not_before:
            self._not_before = {
                each: until for each, until in self._not_before.items() if until > now
            }
