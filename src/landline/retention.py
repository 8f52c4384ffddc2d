"""Watches how far the store is behind the log, and refuses sends before anything can get lost.

The log forgets after its retention time, whether a record was applied or not. A writer that is
away for long must therefore stop the senders while there is still time to repair it (F25). The same
watch stops them when somebody changes the log's settings so that it does not keep its promise.
"""

import asyncio
from collections.abc import Callable

from landline.errors import LogLost, Unavailable
from landline.model import NOWHERE, Positions
from landline.observability.logging import get_logger
from landline.observability.metrics import Measured, series
from landline.ports import EventLog, MessageStore

# What somebody changes counts within 10 s; the log reads its settings every 3 s.
RETENTION_WATCH_SECONDS = 2.0
LOG_ANSWER_SECONDS = 10.0
# Shares of the retention time that the oldest record which is not applied has used up.
WARN_SHARE = 0.5
REFUSE_SHARE = 0.8
# A log whose end is below what was applied has gone back; a leader that was elected a moment ago
# may not know its end yet, so one look is not enough.
LOOKS = 3

log = get_logger(__name__)


class RetentionWatch:
    """Tells `refuse` why sends must not be taken, and None when they may be taken again."""

    def __init__(
        self,
        event_log: EventLog,
        store: MessageStore,
        refuse: Callable[[str | None], None],
        breach: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`breach` says why the log must not be trusted although it works (see `app.parts`)."""
        self._event_log = event_log
        self._store = store
        self._refuse = refuse
        self._breach = breach
        self._refusal: str | None = None  # what was told last
        self._applied: Positions | None = None
        self._lag_entries = 0
        self._is_warned = False
        self._is_refusing = False
        self._times_back = 0

    async def run(self) -> None:
        """Watch for ever. Raises: LogLost when the log has gone back."""
        while True:
            self._tell()  # whether or not log and store answer
            try:
                async with asyncio.timeout(LOG_ANSWER_SECONDS):
                    await self._look()
            except (Unavailable, TimeoutError):
                pass  # the parts that need log or store report it; the last finding still holds
            await asyncio.sleep(RETENTION_WATCH_SECONDS)

    def health(self) -> str | None:
        """Return why sends are refused, if so."""
        return REFUSAL if self._is_refusing else None

    def measure(self) -> Measured:
        """Return what the metrics show of the distance between log and store."""
        return {series("landline_writer_lag_entries"): self._lag_entries}

    async def _look(self) -> None:
        # In this order: an end that was read after `applied` cannot lie before it.
        is_asked = await self._ask_applied()
        applied = self._applied
        if applied is None:
            return
        ends = await self._event_log.ends()
        if is_asked:
            self._check_back(applied, ends)
        self._lag_entries = sum(
            max(0, end - applied.get(partition, 0)) for partition, end in ends.items()
        )
        is_behind = self._lag_entries > 0
        self._warn(is_behind and _is_below(applied, await self._event_log.aged(WARN_SHARE)))
        is_late = is_behind and _is_below(applied, await self._event_log.aged(REFUSE_SHARE))
        if is_late != self._is_refusing:
            self._is_refusing = is_late
            self._tell()
            if is_late:
                log.error("writer_too_late", reason=REFUSAL, lag_entries=self._lag_entries)
            else:
                log.info("writer_in_time_again", lag_entries=self._lag_entries)

    def _tell(self) -> None:
        """Tell why sends are refused, or that they are not, when that has changed."""
        refusal = self._breach() or self.health()
        if refusal != self._refusal:
            self._refusal = refusal
            self._refuse(refusal)

    async def _ask_applied(self) -> bool:
        """Ask the store where it is. While it is away, nothing is applied: what it said last holds,
        and the log gets older all the same.
        """
        try:
            async with asyncio.timeout(LOG_ANSWER_SECONDS / 2):
                self._applied = await self._store.applied()
        except (Unavailable, TimeoutError):
            return False
        return True

    def _warn(self, is_due: bool) -> None:
        if is_due and not self._is_warned:
            log.warning(
                "writer_is_late",
                lag_entries=self._lag_entries,
                advice=f"the log deletes what is not stored in less than {1 - WARN_SHARE:.0%} of"
                " its retention time: repair the writer or the store, or raise retention.ms",
            )
        self._is_warned = is_due

    def _check_back(self, applied: Positions, ends: Positions) -> None:
        back = [each for each, end in ends.items() if applied.get(each, 0) > end]
        self._times_back = self._times_back + 1 if back else 0
        if self._times_back >= LOOKS:
            partition = back[0]
            raise LogLost(
                f"the log went back: partition {partition} ends at {ends[partition]}, but"
                f" {applied[partition]} was applied. Stop all servers. See docs/failures.md"
            )


REFUSAL = "the store is too far behind the log: nothing more is taken until it has caught up"


def _is_below(applied: Positions, aged: Positions) -> bool:
    """Say whether something below `aged` is not applied."""
    return any(applied.get(each, 0) < offset for each, offset in (aged or NOWHERE).items())
