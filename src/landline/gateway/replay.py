"""Reads from the store what sessions are owed: pages for those that catch up, the sweep for all.

Many mailboxes are asked for at once, in a bounded number of requests with a bounded answer. When a
request fails although the store answers others, one of its mailboxes is bad: its rows cannot be
read, or not in time. The request is divided until that one is found. It is asked for by itself
from then on, and keeps nobody else waiting.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Sequence

from landline.delivery import Delivery
from landline.delivery.decisions import ReadPending
from landline.errors import StoreUnavailable
from landline.gateway.batcher import Batcher
from landline.model import NOWHERE, Pending, PendingQuery
from landline.observability.logging import get_logger
from landline.ports import MessageStore

STORE_SECONDS = 10.0
# For a part of a request that has failed: long enough for what is well, short enough that whoever
# is in the same request with a bad mailbox hardly notices.
PART_SECONDS = 1.0

# One answer to each reader is in memory at the same time, and one to the sweep. Of a mailbox at
# least one message comes, whatever its size: 16 KiB more for each at the most.
PAGE_READERS = 2
PAGES_AT_ONCE = 32
SWEEP_QUERIES = 256
ANSWER_BYTES = 4 * 1024 * 1024

# Bad mailboxes that are remembered, and how often they are tried.
BAD_MAILBOXES = 1_000
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 10.0
BAD_MAILBOXES_A_SWEEP = 8

_FIRST_BACKOFF_SECONDS = 0.1
_LAST_BACKOFF_SECONDS = 2.0
_TROUBLE = (TimeoutError, StoreUnavailable)
# Nobody has this name: does the store answer at all?
_PROBE = PendingQuery("", NOWHERE, 1)

log = get_logger(__name__)


class Replay:
    """Carries out `ReadPending`, and sweeps."""

    def __init__(
        self,
        *,
        store: MessageStore,
        delivery: Delivery,
        is_connected: Callable[[str], bool],
        happened: Callable[[], None],
        sweep_interval: float,
    ) -> None:
        """`is_connected` says whether a session is still there; `happened` is told after answers
        were given.
        """
        self._store = store
        self._delivery = delivery
        self._is_connected = is_connected
        self._happened = happened
        self._sweep_interval = sweep_interval
        self._loop = asyncio.get_running_loop()
        self._pages = Batcher(self._read_pages, PAGES_AT_ONCE)
        self._alone = Batcher(self._read_alone, 1)
        self._bad: OrderedDict[str, float] = OrderedDict()  # mailbox -> how long it waits next

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(PAGE_READERS):
                tasks.create_task(self._pages.run())
            tasks.create_task(self._alone.run())
            tasks.create_task(self._sweep_for_ever())

    def put(self, decision: ReadPending) -> None:
        """Take a `ReadPending`. Never blocks: a session waits for one page at a time."""
        is_bad = decision.query.mailbox in self._bad
        (self._alone if is_bad else self._pages).put(decision)

    def forget_gone(self, count: int) -> None:
        """Forget sessions that are gone, if more wait than the `count` that are there."""
        for waiting in (self._pages, self._alone):
            if len(waiting) > count:
                waiting.keep(lambda decision: self._is_connected(decision.session))

    # Pages -----------------------------------------------------------------------------------

    async def _read_pages(self, decisions: list[ReadPending]) -> None:
        wanted = [decision for decision in decisions if self._is_connected(decision.session)]
        if not wanted:
            return
        answers = await self._ask_until_answered([decision.query for decision in wanted])
        for decision, pending in zip(wanted, answers, strict=True):
            if pending is None:
                self._alone.put(decision)
            else:
                self._delivery.page(decision.session, pending)
        self._happened()

    async def _read_alone(self, decisions: list[ReadPending]) -> None:
        [decision] = decisions
        if not self._is_connected(decision.session):
            return
        mailbox = decision.query.mailbox
        try:
            [pending] = await self._try([decision.query], STORE_SECONDS)
        except _TROUBLE as error:
            self._note_bad(mailbox, error)
            wait = self._bad[mailbox] * random.uniform(0.5, 1.0)  # noqa: S311
            self._loop.call_later(wait, self._alone.put, decision)
        else:
            self._bad.pop(mailbox, None)
            self._delivery.page(decision.session, pending)
            self._happened()

    async def _ask_until_answered(self, queries: Sequence[PendingQuery]) -> list[Pending | None]:
        """Ask until the store answers. The sessions concerned wait; nothing is skipped."""
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            try:
                return await self._ask(queries)
            except _TROUBLE as error:
                log.warning("waiting", what="replay", reason=str(error) or "no answer in time")
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311
            backoff = min(backoff * 2, _LAST_BACKOFF_SECONDS)

    # The sweep -------------------------------------------------------------------------------

    async def _sweep_for_ever(self) -> None:
        while True:
            # Jitter, so that servers do not ask at the same time.
            await asyncio.sleep(self._sweep_interval * random.uniform(0.9, 1.1))  # noqa: S311
            try:
                await self._sweep()
            except _TROUBLE as error:
                log.warning("sweep_failed", reason=str(error) or "no answer in time")

    async def _sweep(self) -> None:
        """Ask for every session, those first that have waited longest: when the store stops
        answering in the middle, the next sweep goes on where this one stopped.
        """
        queries = self._delivery.sweep()
        self._happened()
        well = [each for each in queries if each[1].mailbox not in self._bad]
        for start in range(0, len(well), SWEEP_QUERIES):
            chunk = well[start : start + SWEEP_QUERIES]
            answers = await self._ask([query for _session, query in chunk])
            for (session, _query), pending in zip(chunk, answers, strict=True):
                if pending is not None:
                    self._delivery.swept(session, pending)
            self._happened()
        bad = [each for each in queries if each[1].mailbox in self._bad]
        for session, query in bad[:BAD_MAILBOXES_A_SWEEP]:
            await self._sweep_alone(session, query)

    async def _sweep_alone(self, session: str, query: PendingQuery) -> None:
        try:
            [pending] = await self._try([query], PART_SECONDS)
        except _TROUBLE:
            return
        self._bad.pop(query.mailbox, None)
        self._delivery.swept(session, pending)
        self._happened()

    # Asking ----------------------------------------------------------------------------------

    async def _ask(self, queries: Sequence[PendingQuery]) -> list[Pending | None]:
        """Return an answer to each query, None for a mailbox that is bad.

        Raises: StoreUnavailable or TimeoutError when the store answers nobody.
        """
        try:
            return [*await self._try(queries, STORE_SECONDS)]
        except _TROUBLE:
            await self._try([_PROBE], PART_SECONDS)
        return await self._divide(queries)

    async def _divide(self, queries: Sequence[PendingQuery]) -> list[Pending | None]:
        """Ask for either half by itself; one that is alone has another try."""
        answers: list[Pending | None] = []
        middle = len(queries) // 2
        for part in (queries[:middle], queries[middle:]):
            if not part:
                continue
            try:
                answers += await self._try(part, PART_SECONDS)
            except _TROUBLE as error:
                if len(part) > 1:
                    answers += await self._divide(part)
                else:
                    self._note_bad(part[0].mailbox, error)
                    answers.append(None)
        return answers

    async def _try(self, queries: Sequence[PendingQuery], seconds: float) -> Sequence[Pending]:
        share = ANSWER_BYTES // len(queries)
        async with asyncio.timeout(seconds):
            return await self._store.pending([each._replace(limit_bytes=share) for each in queries])

    def _note_bad(self, mailbox: str, error: BaseException) -> None:
        wait = self._bad.pop(mailbox, None)
        if wait is None:
            reason = str(error) or "no answer in time"
            log.warning("mailbox_unreadable", user=mailbox, reason=reason)
            wait = FIRST_RETRY_SECONDS / 2
        self._bad[mailbox] = min(wait * 2, LAST_RETRY_SECONDS)
        if len(self._bad) > BAD_MAILBOXES:
            self._bad.popitem(last=False)
