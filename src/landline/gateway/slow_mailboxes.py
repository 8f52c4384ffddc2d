"""The mailboxes that are asked for by themselves, and whose turn it is.

There are two lines. In the quick one a mailbox is given little time, so that none waits long there.
In the patient one a mailbox is given what the store may take at all: its rows may come late, but
they come. A mailbox that fails goes to the back of the line.
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from landline.backoff import Backoff
from landline.delivery.decisions import ReadPending
from landline.model import Mailbox

# How often one that fails is tried.
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 10.0
# A mailbox that answers goes before those that fail, unless they have waited for so long.
WELL_FIRST_SECONDS = 300.0
# How long a mailbox stays by itself that was bad or slow, however well it does now: in the same
# request with others it would hold all of them up again.
APART_SECONDS = 60.0
# Mailboxes that are remembered although no session waits for them.
REMEMBERED = 1_000


@dataclass(eq=False)
class SlowMailbox:
    """One that is asked for by itself. Its backoff is fresh unless its last answer did not come."""

    mailbox: Mailbox
    waiting: dict[str, ReadPending] = field(default_factory=dict)  # by session: nobody waits twice
    asked: int = 0
    is_slow: bool = False
    backoff: Backoff = field(
        default_factory=lambda: Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
    )
    due: float = 0.0
    apart_until: float = 0.0


class MailboxQueue:
    """Mailboxes by the time at which they are to be asked for, each of them once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, SlowMailbox]] = []
        self._places: dict[SlowMailbox, float] = {}
        self._numbers = count()
        self._has_changed = asyncio.Event()

    def put(self, slow: SlowMailbox, at: float) -> None:
        """Add it, or move it forward. It never loses a place."""
        if at < self._places.get(slow, float("inf")):
            self._places[slow] = at
            heapq.heappush(self._heap, (at, next(self._numbers), slow))
            self._has_changed.set()

    async def take(self) -> SlowMailbox:
        """Return the first one, when its time has come."""
        while True:
            while self._heap and self._places.get(self._heap[0][2]) != self._heap[0][0]:
                heapq.heappop(self._heap)  # it was moved forward
            wait = self._heap[0][0] - self._loop.time() if self._heap else None
            if wait is not None and wait <= 0:
                slow = heapq.heappop(self._heap)[2]
                del self._places[slow]
                return slow
            self._has_changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._has_changed.wait()


class SlowMailboxes:
    """Both lines. The sessions bound the mailboxes that they wait for, `REMEMBERED` the others."""

    def __init__(self, is_connected: Callable[[str], bool]) -> None:
        """`is_connected` says whether a session is still there."""
        self._is_connected = is_connected
        self._loop = asyncio.get_running_loop()
        self._mailboxes: dict[Mailbox, SlowMailbox] = {}
        self._idle: OrderedDict[Mailbox, SlowMailbox] = (
            OrderedDict()
        )  # those for which nobody waits
        self.quick = MailboxQueue()
        self.patient = MailboxQueue()

    def __contains__(self, mailbox: Mailbox) -> bool:
        return mailbox in self._mailboxes

    def __len__(self) -> int:
        """Return how many sessions wait."""
        return sum(len(slow.waiting) for slow in self._mailboxes.values())

    def put(self, wanted: ReadPending) -> None:
        """Take what is to be asked for by itself."""
        slow = self._get(wanted.query.mailbox)
        _wait(slow, wanted)
        self._note_idle(slow)
        if not slow.asked:
            self._line_up(slow)

    def forget_gone(self) -> None:
        """Forget the sessions that are gone."""
        for slow in self._mailboxes.values():
            self._forget_gone(slow)

    async def take(self, line: MailboxQueue) -> tuple[SlowMailbox, ReadPending]:
        """Return whose turn it is in a line, and its session that has waited longest. One of
        `answered`, `failed` has to follow.
        """
        while True:
            slow = await line.take()
            self._forget_gone(slow)
            if slow.waiting:
                slow.asked += 1
                return slow, slow.waiting.pop(next(iter(slow.waiting)))

    def answered(self, slow: SlowMailbox, *, is_slow: bool) -> None:
        """The answer has come: one that is well for a while is asked for with others again."""
        now = self._loop.time()
        slow.asked -= 1
        if is_slow or not slow.backoff.is_fresh:
            slow.apart_until = now + APART_SECONDS
        slow.is_slow = is_slow
        slow.backoff.reset()
        self._line_up(slow)
        self._note_idle(slow)
        if slow.mailbox in self._idle and not is_slow and now >= slow.apart_until:
            self._forget(slow)

    def failed(self, slow: SlowMailbox, wanted: ReadPending, *, needs_time: bool) -> None:
        """No answer has come. `needs_time`: it may come in the patient line."""
        slow.asked -= 1
        if not wanted.is_sweep:  # the next sweep asks again
            _wait(slow, wanted)
        self._back_off(slow, needs_time)
        self._note_idle(slow)
        self._line_up(slow)

    def add_bad(self, wanted: ReadPending, *, needs_time: bool) -> None:
        """A mailbox was found in the request of many that had no answer."""
        slow = self._get(wanted.query.mailbox)
        if slow.backoff.is_fresh:
            self._back_off(slow, needs_time)
        self.put(wanted)

    # Inside ----------------------------------------------------------------------------------

    def _forget_gone(self, slow: SlowMailbox) -> None:
        for session in [each for each in slow.waiting if not self._is_connected(each)]:
            del slow.waiting[session]
        self._note_idle(slow)

    def _get(self, mailbox: Mailbox) -> SlowMailbox:
        slow = self._mailboxes.get(mailbox)
        if slow is None:
            slow = self._mailboxes[mailbox] = SlowMailbox(mailbox)
            if len(self._mailboxes) > REMEMBERED and self._idle:
                self._forget(next(iter(self._idle.values())))
        return slow

    def _note_idle(self, slow: SlowMailbox) -> None:
        """Keep the list of those for which nobody waits, the one that failed last at its end."""
        if slow.waiting or slow.asked:
            self._idle.pop(slow.mailbox, None)
        elif self._mailboxes.get(slow.mailbox) is slow:
            self._idle.setdefault(slow.mailbox, slow)

    def _forget(self, slow: SlowMailbox) -> None:
        del self._mailboxes[slow.mailbox]
        del self._idle[slow.mailbox]

    def _back_off(self, slow: SlowMailbox, needs_time: bool) -> None:
        slow.due = self._loop.time() + slow.backoff.next_seconds()
        slow.is_slow = needs_time
        self._idle.pop(slow.mailbox, None)  # it goes to the end

    def _line_up(self, slow: SlowMailbox) -> None:
        if not slow.waiting:
            return
        if slow.backoff.is_fresh:
            line = self.patient if slow.is_slow else self.quick
            line.put(slow, self._loop.time() - WELL_FIRST_SECONDS)
            return
        if slow.is_slow:
            self.patient.put(slow, slow.due)
            # It may be well again long before its turn comes there.
            self.quick.put(slow, slow.due + LAST_RETRY_SECONDS)
        else:
            self.quick.put(slow, slow.due)


def _wait(slow: SlowMailbox, wanted: ReadPending) -> None:
    """Have a session wait. It waits for one thing, and for its page rather than for the sweep: the
    sweep comes again, but a session that waits for a page is not swept.
    """
    waits_for = slow.waiting.get(wanted.session)
    if waits_for is None or waits_for.is_sweep or not wanted.is_sweep:
        slow.waiting[wanted.session] = wanted
