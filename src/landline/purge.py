"""What is old goes, in small steps and off the delivery path: `--keep-messages`, `--keep-log`.

A message goes when it is older than the store is to keep and owed to nobody any more. An entry of
the embedded log goes when it is older than the log is to keep and the store has applied it; Kafka
looks after its own. Age is the log's time of a record.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from landline.errors import LogUnavailable, StoreUnavailable
from landline.model import Position, Positions
from landline.observability.logging import get_logger
from landline.ports import Clock

# A walk begins as often as this, and takes so many rows together with a pause between: it is in no
# hurry, and others write to the same tables.
WALK_SECONDS: Final = 600.0
WALKS: Final = 4  # at least, in the time that is kept
ROWS: Final = 500
PAUSE_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 20.0

# `purge(before_ms, after, limit)` of a store, `purge(before_ms, applied_offset, limit)` of a log.
PurgeMessages = Callable[[int, Position, int], Awaitable[tuple[int, Position | None]]]
PurgeLog = Callable[[int, int, int], Awaitable[int]]

log = get_logger(__name__)


class Purge:
    """Walks along what is stored for as long as it runs."""

    def __init__(
        self,
        clock: Clock,
        applied: Callable[[], Awaitable[Positions]],
        *,
        messages: PurgeMessages,
        keep_messages_seconds: float | None,
        entries: PurgeLog | None = None,
        keep_log_seconds: float | None = None,
    ) -> None:
        """`applied`: how far the store has come. What is kept None seconds is kept for ever."""
        self._clock = clock
        self._applied = applied
        self._messages = messages
        self._keep_messages_seconds = keep_messages_seconds
        self._entries = entries
        self._keep_log_seconds = keep_log_seconds

    async def run(self) -> None:
        """Walk again and again, until cancelled."""
        kept = [each for each in (self._keep_messages_seconds, self._keep_log_seconds) if each]
        seconds = min(WALK_SECONDS, *(each / WALKS for each in kept), WALK_SECONDS)
        while True:
            # Jitter, so that servers do not walk at the same time.
            await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311
            try:
                await self.walk()
            except (StoreUnavailable, LogUnavailable, TimeoutError) as error:
                log.info("not_purged", reason=str(error) or "no answer in time")

    async def walk(self) -> None:
        """Take away once what is old by now. Raises: StoreUnavailable, LogUnavailable,
        TimeoutError.
        """
        if self._keep_messages_seconds is not None:
            await self._walk_messages(self._before_ms(self._keep_messages_seconds))
        if self._keep_log_seconds is not None and self._entries is not None:
            await self._walk_log(self._entries, self._before_ms(self._keep_log_seconds))

    def _before_ms(self, kept_seconds: float) -> int:
        return self._clock.wall_ms() - int(kept_seconds * 1000)

    async def _walk_messages(self, before_ms: int) -> None:
        removed = 0
        after: Position | None = Position(0, -1)
        while after is not None:
            async with asyncio.timeout(ANSWER_SECONDS):
                count, after = await self._messages(before_ms, after, ROWS)
            removed += count
            await asyncio.sleep(PAUSE_SECONDS)
        if removed:
            log.info("messages_purged", count=removed)

    async def _walk_log(self, purge: PurgeLog, before_ms: int) -> None:
        removed, count = 0, ROWS
        while count == ROWS:
            async with asyncio.timeout(ANSWER_SECONDS):
                applied = await self._applied()
                count = await purge(before_ms, applied.get(0, 0), ROWS)
            removed += count
            await asyncio.sleep(PAUSE_SECONDS)
        if removed:
            log.info("log_purged", count=removed)
