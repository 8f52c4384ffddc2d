"""Reads from the store what sessions are owed: pages for those that pull, the sweep for all.

Many mailboxes are asked for at once, in a bounded number of requests with a bounded answer. When a
request fails although the store answers others, one of its mailboxes is bad: its rows cannot be
read, or not in time. The request is divided until that one is found, but not for long: what has no
answer by then is asked for one by one. A bad mailbox is asked for by itself from then on (see
`slow_mailboxes`), and keeps nobody else waiting.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from landline.backoff import Backoff
from landline.delivery import Delivery
from landline.delivery.decisions import AwaitApplied, ReadPending
from landline.errors import StoreUnavailable
from landline.gateway.batcher import Batcher
from landline.gateway.slow_mailboxes import MailboxQueue, SlowMailbox, SlowMailboxes
from landline.model import NOWHERE, Mailbox, Pending, PendingQuery
from landline.observability.logging import get_logger
from landline.ports import MessageStore

STORE_SECONDS = 10.0
# For a part of a request that has failed, and for a mailbox by itself: long enough for a mailbox
# that is well, so short that sessions behind a bad mailbox hardly notice.
PART_SECONDS = 1.0
# For all the parts of a request.
DIVISION_SECONDS = 3.0

# So many answers are in memory at the same time: one to each reader, one to the sweep, and one to
# either line of slow mailboxes. REPLAY_LANES of the PostgreSQL store is their number, so that none
# waits for a request that hangs. Of a mailbox at least one message comes, whatever its size: at
# most 16 KiB more for each.
PAGE_READERS = 2
PAGES_AT_ONCE = 32
SWEEP_QUERIES = 256
ANSWER_BYTES = 4 * 1024 * 1024

_TROUBLE = (TimeoutError, StoreUnavailable)
# Nobody has this name: does the store answer at all?
_PROBE = ReadPending("", PendingQuery(Mailbox(""), NOWHERE, 1))

log = get_logger(__name__)


class Replay:
    """Carries out `ReadPending` and `AwaitApplied`, and sweeps."""

    def __init__(
        self,
        *,
        store: MessageStore,
        delivery: Delivery,
        is_connected: Callable[[str], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        happened: Callable[[], None],
        sweep_interval: float,
    ) -> None:
        """`is_connected` says whether a session is still there; `spawn` makes a task that the hub
        owns; `happened` is told after answers were given.
        """
        self._store = store
        self._delivery = delivery
        self._is_connected = is_connected
        self._spawn = spawn
        self._happened = happened
        self._sweep_interval = sweep_interval
        self._loop = asyncio.get_running_loop()
        self._pages = Batcher(self._read_pages, PAGES_AT_ONCE)
        self._slow = SlowMailboxes(is_connected)
        self._waits: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(PAGE_READERS):
                tasks.create_task(self._pages.run())
            tasks.create_task(self._read_apart_for_ever(self._slow.quick, PART_SECONDS))
            tasks.create_task(self._read_apart_for_ever(self._slow.patient, STORE_SECONDS))
            tasks.create_task(self._sweep_for_ever())

    def put(self, decision: ReadPending) -> None:
        """Take a `ReadPending`. Never blocks: a session waits for one page at a time."""
        if decision.query.mailbox in self._slow:
            self._slow.put(decision)
        else:
            self._pages.put(decision)

    def await_applied(self, decision: AwaitApplied) -> None:
        """Take an `AwaitApplied`. A session waits once at a time."""
        if self._is_connected(decision.session):
            self._waits[decision.session] = self._spawn(self._wait_applied(decision))

    def forget(self, session: str) -> None:
        """Wait for a session no more: it is gone."""
        if (wait := self._waits.pop(session, None)) is not None:
            wait.cancel()

    def forget_gone(self, count: int) -> None:
        """Forget sessions that are gone, if more wait than the `count` that are there."""
        if len(self._pages) > count:
            self._pages.keep(lambda decision: self._is_connected(decision.session))
        if len(self._slow) > count:
            self._slow.forget_gone()

    # Pages -----------------------------------------------------------------------------------

    async def _read_pages(self, decisions: list[ReadPending]) -> None:
        """Ask until the store answers. The sessions concerned wait; nothing is skipped."""
        backoff = Backoff()
        while decisions := self._together(decisions):
            try:
                await self._ask(decisions)
            except _TROUBLE as error:
                log.warning("waiting", what="replay", reason=str(error) or "no answer in time")
            else:
                return
            await backoff.wait()

    # Waiting for the writer ------------------------------------------------------------------

    async def _wait_applied(self, decision: AwaitApplied) -> None:
        # Not for ever: a partition that lags keeps nobody from what is applied of the others.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._sweep_interval):
                await self._until_applied(decision)
        self._waits.pop(decision.session, None)
        self._delivery.applied(decision.session)
        self._happened()

    async def _until_applied(self, decision: AwaitApplied) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._store.wait_applied(decision.target)
            except _TROUBLE as error:
                log.warning("waiting", what="catching_up", reason=str(error) or "no answer in time")
            else:
                return
            await backoff.wait()

    # The sweep -------------------------------------------------------------------------------

    async def _sweep_for_ever(self) -> None:
        spent = 0.0
        while True:
            # Jitter, so that servers do not ask at the same time.
            pause = self._sweep_interval * random.uniform(0.9, 1.1)  # noqa: S311
            # A store that takes its time is not asked without a pause.
            await asyncio.sleep(max(pause - spent, pause / 4))
            began = self._loop.time()
            try:
                await self._sweep()
            except _TROUBLE as error:
                log.warning("sweep_failed", reason=str(error) or "no answer in time")
            spent = self._loop.time() - began

    async def _sweep(self) -> None:
        """Ask for every session, those first that have waited longest: when the store stops
        answering in the middle, the next sweep goes on where this one stopped.
        """
        swept = self._together(self._delivery.sweep())
        self._happened()
        for start in range(0, len(swept), SWEEP_QUERIES):
            if chunk := self._together(swept[start : start + SWEEP_QUERIES]):
                await self._ask(chunk)

    # Asking for many -------------------------------------------------------------------------

    def _together(self, wanted: Sequence[ReadPending]) -> list[ReadPending]:
        """Return those that may be in one request; the others are asked for by themselves."""
        together = []
        for each in wanted:
            if not self._is_connected(each.session):
                continue
            if each.query.mailbox in self._slow:
                self._slow.put(each)
            else:
                together.append(each)
        return together

    async def _ask(self, wanted: Sequence[ReadPending]) -> None:
        """Give everybody an answer, or leave it to those who ask for them one by one.

        Raises: StoreUnavailable or TimeoutError when the store answers nobody.
        """
        try:
            answers = await self._try(wanted, STORE_SECONDS)
        except _TROUBLE:
            await self._try([_PROBE], PART_SECONDS)
            await self._divide(wanted)
        else:
            self._give(wanted, answers)

    async def _divide(self, wanted: Sequence[ReadPending]) -> None:
        """Ask for either half by itself, and so on; large parts first: most are in those that are
        well. One that is alone has another try.
        """
        end = self._loop.time() + DIVISION_SECONDS
        parts = deque(_halves(wanted))
        while parts:
            part = self._together(parts.popleft())
            if not part:
                continue
            if self._loop.time() >= end:
                for each in part:
                    self._slow.put(each)
                continue
            try:
                answers = await self._try(part, PART_SECONDS)
            except _TROUBLE as error:
                if len(part) > 1:
                    parts.extend(_halves(part))
                else:
                    _warn(part[0].query.mailbox, error)
                    self._slow.add_bad(part[0], needs_time=isinstance(error, TimeoutError))
            else:
                self._give(part, answers)

    async def _try(self, wanted: Sequence[ReadPending], seconds: float) -> Sequence[Pending]:
        share = ANSWER_BYTES // len(wanted)
        async with asyncio.timeout(seconds):
            return await self._store.pending(
                [each.query._replace(limit_bytes=share) for each in wanted]
            )

    def _give(self, wanted: Sequence[ReadPending], answers: Sequence[Pending]) -> None:
        for each, pending in zip(wanted, answers, strict=True):
            self._delivery.page(each.session, each.query, pending)
        self._happened()

    # Asking for one --------------------------------------------------------------------------

    async def _read_apart_for_ever(self, line: MailboxQueue, seconds: float) -> None:
        while True:
            await self._read_apart(*await self._slow.take(line), seconds)

    async def _read_apart(self, mailbox: SlowMailbox, wanted: ReadPending, seconds: float) -> None:
        began = self._loop.time()
        is_first = mailbox.backoff.is_fresh
        try:
            answers = await self._try([wanted], seconds)
        except _TROUBLE as error:
            if is_first:
                _warn(mailbox.mailbox, error)
            needs_time = seconds < STORE_SECONDS and isinstance(error, TimeoutError)
            self._slow.failed(mailbox, wanted, needs_time=needs_time)
        else:
            is_slow = self._loop.time() - began >= PART_SECONDS
            self._slow.answered(mailbox, is_slow=is_slow)
            self._give([wanted], answers)


def _halves(wanted: Sequence[ReadPending]) -> list[Sequence[ReadPending]]:
    middle = len(wanted) // 2
    return [part for part in (wanted[:middle], wanted[middle:]) if part]


def _warn(mailbox: Mailbox, error: BaseException) -> None:
    log.warning("mailbox_unreadable", user=mailbox.user, reason=str(error) or "no answer in time")
