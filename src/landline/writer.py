"""The writer: applies the log to the store, in order, exactly once in effect.

It reads from the position that the store keeps, never from one of its own, and the store moves
rows and position in one step by compare-and-set. So any number of writers may run, crash, or wake
up from a long sleep: one that is not at the store's position changes nothing. One that finds itself
overtaken stands by, and takes over when the store stops moving although there is more to apply.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

from landline.backoff import Backoff
from landline.errors import LogUnavailable, StoreUnavailable, Unstorable
from landline.model import NOWHERE, Batch, Positions, Quarantined, Stretch, covers, join
from landline.observability.logging import get_logger
from landline.ports import EventLog, LogReader, MessageStore
from landline.protocol.fold import fold

BATCH_ENTRIES = 1_000
# A store that takes longer than this for one batch hangs. What became of the batch the store's
# own position will tell.
APPLY_SECONDS = 20.0
# A batch that was not applied is tried smaller, by half each time: a slow store gets on with little
# at a time, where the same large batch would fail for ever. One that was applied in less than this
# lets the next be larger again.
QUICK_SECONDS = 5.0
ANSWER_SECONDS = 5.0
# How often a writer that stands by looks whether it is needed. Messages to users who are connected
# do not wait for the writer; what others are owed waits two of these at the most.
STAND_BY_SECONDS = 1.0
# A partition that lags and has not moved for so many looks is applied by nobody: the writer that
# applies the others may be cut off from its broker.
STUCK_LOOKS = 10
# How often a writer that has nothing to apply looks whether the store is still where it left it,
# and where it was in trouble, whether that is over.
IDLE_LOOK_SECONDS = 5.0
LOOK_IN_TROUBLE_SECONDS = 0.5
_FIRST_BACKOFF_SECONDS = 0.05
_LAST_BACKOFF_SECONDS = 2.0

log = get_logger(__name__)


class Writer:
    """Follows the whole log for as long as it runs."""

    def __init__(self, event_log: EventLog, store: MessageStore) -> None:
        self._event_log = event_log
        self._store = store
        self._limit = BATCH_ENTRIES
        self.applied: Positions = NOWHERE
        self.quarantined = 0
        self.trouble: str | None = None

    async def run(self) -> None:
        """Apply for ever. Trouble with log or store is waited out; it never skips a record.

        Raises: LogLost.
        """
        backoff = Backoff(_FIRST_BACKOFF_SECONDS, _LAST_BACKOFF_SECONDS)
        while True:
            try:
                await self._follow()
                await self._stand_by()
                backoff.reset()
            except (LogUnavailable, StoreUnavailable, TimeoutError) as error:
                reason = str(error) or "no answer in time"
                if self.trouble is None:
                    log.warning("writer_waits", reason=reason)
                    backoff.reset()
                self.trouble = reason
                await backoff.wait()

    async def _follow(self) -> None:
        """Apply batch after batch. Returns when a position is not where we left it."""
        self.applied = await self._ask_applied()
        async with asyncio.timeout(APPLY_SECONDS):
            reader = await self._event_log.open_reader(self.applied)
        try:
            while True:
                stretches = await self._read(reader)
                if not stretches or not await self._apply_in_time(stretches):
                    return
                self.applied = join(self.applied, {each.partition: each.end for each in stretches})
                self._works()
        finally:
            await reader.close()

    async def _has_nothing_to_apply(self) -> bool:
        """Say whether the log is applied to its end; where it does not answer, that is not so."""
        with suppress(LogUnavailable, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                return covers(self.applied, await self._event_log.ends())
        return False

    @property
    def _look_seconds(self) -> float:
        return IDLE_LOOK_SECONDS if self.trouble is None else LOOK_IN_TROUBLE_SECONDS

    async def _read(self, reader: LogReader) -> Sequence[Stretch]:
        """Return what comes next, or nothing when the store has gone back meanwhile.

        A store that was restored from a backup lacks what has been in the log for long. While
        nobody writes, no batch of ours would ever run into that, and clients that connect would
        wait for it.
        """
        reading = asyncio.ensure_future(reader.read(self._limit))
        try:
            while not (await asyncio.wait({reading}, timeout=self._look_seconds))[0]:
                if not covers(await self._ask_applied(), self.applied):
                    return ()
                if self.trouble is not None and await self._has_nothing_to_apply():
                    self._works()
            return reading.result()
        finally:
            if reading.done():
                reading.exception()  # looked at, though the store's own may have come first
            else:
                reading.cancel()

    async def _stand_by(self) -> None:
        """Another writer applies. Returns when it has stopped before the end of the log, all in all
        or in one partition. A writer that takes over without need changes nothing.
        """
        log.info("writer_stands_by")
        self.applied = await self._ask_applied()
        stuck: dict[int, int] = {}  # partition that lags -> looks since it moved
        while True:
            self._works()
            await asyncio.sleep(STAND_BY_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311
            before, self.applied = self.applied, await self._ask_applied()
            async with asyncio.timeout(ANSWER_SECONDS):
                ends = await self._event_log.ends()
            stuck = {
                each: stuck.get(each, 0) + 1
                for each, end in ends.items()
                if before.get(each, 0) == self.applied.get(each, 0) < end
            }
            if stuck and (before == self.applied or max(stuck.values()) >= STUCK_LOOKS):
                log.info("writer_takes_over")
                return

    async def _ask_applied(self) -> Positions:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._store.applied()

    async def _apply_in_time(self, stretches: Sequence[Stretch]) -> bool:
        """Apply, and learn how much the store can take at once."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            is_applied = await self._apply(stretches)
        except (StoreUnavailable, TimeoutError):
            size = sum(len(stretch.entries) for stretch in stretches)
            self._limit = max(1, min(size, self._limit) // 2)
            raise
        if loop.time() - began < QUICK_SECONDS:
            self._limit = min(BATCH_ENTRIES, self._limit * 2)
        return is_applied

    async def _apply(self, stretches: Sequence[Stretch]) -> bool:
        try:
            return await self._apply_batches([batch for each in stretches for batch in fold(each)])
        except Unstorable:
            for stretch in stretches:
                if not await self._apply_what_can_be(stretch):
                    return False
            return True

    async def _apply_what_can_be(self, stretch: Stretch) -> bool:
        """Apply a stretch in which something can never be stored: halve it until that is alone."""
        try:
            return await self._apply_batches(fold(stretch))
        except Unstorable as error:
            if len(stretch.entries) <= 1:
                return await self._apply_batches([_quarantine(stretch, str(error))])
        middle = stretch.entries[len(stretch.entries) // 2].position.offset
        before = tuple(entry for entry in stretch.entries if entry.position.offset < middle)
        after = stretch.entries[len(before) :]
        return await self._apply_what_can_be(
            Stretch(stretch.partition, stretch.start, middle, before)
        ) and await self._apply_what_can_be(Stretch(stretch.partition, middle, stretch.end, after))

    async def _apply_batches(self, batches: Sequence[Batch]) -> bool:
        async with asyncio.timeout(APPLY_SECONDS):
            is_applied = await self._store.apply(batches)
        if is_applied:
            for bad in (bad for batch in batches for bad in batch.quarantined):
                self.quarantined += 1
                log.error("record_quarantined", position=bad.position, reason=bad.reason)
        return is_applied

    def _works(self) -> None:
        """Trouble is over. That the store answers is not enough: it has to take something."""
        if self.trouble is not None:
            log.info("writer_continues")
            self.trouble = None


def _quarantine(stretch: Stretch, reason: str) -> Batch:
    quarantined = tuple(
        Quarantined(entry.position, entry.value, reason) for entry in stretch.entries
    )
    return Batch(stretch.partition, stretch.start, stretch.end, quarantined=quarantined)
