"""How far users have seen conversations, on its way into the log.

The first mark of a conversation goes at once, then one record every READ_SECONDS at the most, with
the furthest of each user. It is best effort until its echo: whoever hears none says it again.
"""

from collections import Counter
from heapq import heapify, heappop, heappush

from landline.delivery.decisions import AppendReads, Decision
from landline.delivery.receipts import RETRY_SECONDS
from landline.ports import Clock
from landline.protocol.records import ReadRecord

READ_SECONDS = 2.0
# Marks that wait, of all users and of one; beyond that they are dropped.
QUEUED_READS = 10_000
QUEUED_READS_OF_ONE = 256


class Reads:
    """Collects marks, and turns them into records, one in flight per conversation."""

    def __init__(self, out: list[Decision], clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._waiting: dict[str, dict[str, int]] = {}  # conversation -> user -> offset
        self._waiting_count = 0
        self._waiting_of: Counter[str] = Counter()  # user -> how many of them
        self._in_flight: set[str] = set()
        # Conversations with marks that wait, and none in flight, by when they may go.
        self._due: list[tuple[float, str]] = []
        self._not_before: dict[str, float] = {}  # conversation -> when the next may go
        self._retry_at: dict[str, float] = {}  # conversation -> the same, where the log has failed
        self.dropped = 0

    def is_empty(self) -> bool:
        """Say whether every mark that was taken is in the log."""
        return not self._waiting and not self._in_flight

    def take(self, user: str, conversation: str, offset: int) -> bool:
        """Take a mark. Returns whether there was room for it."""
        waiting = self._waiting.get(conversation)
        if waiting is None or user not in waiting:
            is_full = self._waiting_count >= QUEUED_READS
            if is_full or self._waiting_of[user] >= QUEUED_READS_OF_ONE:
                self.dropped += 1
                return False
            self._waiting_count += 1
            self._waiting_of[user] += 1
        if waiting is None:
            waiting = self._waiting[conversation] = {}
            if conversation not in self._in_flight:
                self._schedule(conversation)
        waiting[user] = max(offset, waiting.get(user, offset))
        return True

    def flush(self, *, is_over: bool = False) -> None:
        """Append what may go. `is_over`: all of it, since the server ends."""
        now = self._clock.monotonic()
        if is_over and self._due:
            self._due = [(self._retry_at.get(name, 0.0), name) for _, name in self._due]
            heapify(self._due)
        while self._due and self._due[0][0] <= now:
            _, conversation = heappop(self._due)
            entries = self._waiting.pop(conversation)
            self._waiting_count -= len(entries)
            for user in entries:
                self._waiting_of[user] -= 1
                if not self._waiting_of[user]:
                    del self._waiting_of[user]
            self._in_flight.add(conversation)
            self._not_before[conversation] = now + READ_SECONDS
            record = ReadRecord(conversation, tuple(entries.items()))
            self._out.append(AppendReads(record, record.encode_2()))

    def appended(self, record: ReadRecord) -> None:
        """A record is in the log."""
        self._land(record.conversation)

    def not_appended(self, record: ReadRecord) -> None:
        """A record is perhaps not in the log: its marks are taken back. Twice does no harm."""
        again_at = self._clock.monotonic() + RETRY_SECONDS
        self._not_before[record.conversation] = self._retry_at[record.conversation] = again_at
        self._land(record.conversation)
        for user, offset in record.entries:
            self.take(user, record.conversation, offset)

    def forget_old(self) -> None:
        """Let time pass: forget when what is quiet was last told of."""
        now = self._clock.monotonic()
        for known in (self._not_before, self._retry_at):
            for conversation in [each for each, until in known.items() if until <= now]:
                del known[conversation]

    def _land(self, conversation: str) -> None:
        if conversation in self._in_flight:
            self._in_flight.remove(conversation)
            if conversation in self._waiting:
                self._schedule(conversation)

    def _schedule(self, conversation: str) -> None:
        heappush(self._due, (self._not_before.get(conversation, 0.0), conversation))
