"""Repeats: what became of their originals, and which position of a message counts.

The store knows, once it has applied what lies in the partition of the send's own conversation. So
each partition has lines of its own: one that stands still holds up only those who wait for it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from landline.delivery import Delivery
from landline.delivery.decisions import ConfirmPosition, FindOriginal
from landline.delivery.flights import Flight
from landline.errors import Unavailable
from landline.model import Appended, Positions
from landline.ports import EventLog, MessageStore

FIND_SECONDS = 10.0
# While others wait behind a message that is confirmed, and are to be live all the same.
CONFIRM_SECONDS = 3.0
FOUND_TOGETHER = 1_000
# How often it is looked whether a sender is here for certain, where the store has not answered.
LOOK_SECONDS = 0.1

_NO_ANSWER = "the store does not answer; repeat with the same ref and retry: true"

K = TypeVar("K")
T = TypeVar("T")


class Repeats:
    """Carries out `FindOriginal` and `ConfirmPosition`."""

    def __init__(
        self,
        *,
        event_log: EventLog,
        store: MessageStore,
        delivery: Delivery,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        happened: Callable[[], None],
        repeat_seconds: float,
    ) -> None:
        """`spawn` makes a task that the hub owns; `happened` is told after answers were given.

        `repeat_seconds`: how long a repeat lets its original arrive before that is looked for; 0
        where no other server may still be at it (see `landline.delivery.sends`).
        """
        self._event_log = event_log
        self._store = store
        self._delivery = delivery
        self._spawn = spawn
        self._happened = happened
        self._repeat_seconds = repeat_seconds
        self._finding: dict[int, list[Flight]] = {}
        self._confirming: dict[tuple[int, float], list[ConfirmPosition]] = {}
        # The store answers one request at a time. Its deadline is shorter than ours and starts with
        # the request, so many at once would time out in its queue.
        self._asking = asyncio.Lock()

    def find(self, decision: FindOriginal) -> None:
        """Take a decision. Never blocks: the sends in flight are bounded."""
        partition = self._event_log.partition_of(decision.flight.record.conversation)
        if (waiting := self._finding.get(partition)) is not None:
            waiting.append(decision.flight)
            return
        self._finding[partition] = [decision.flight]
        self._spawn(self._find_originals(partition))

    def confirm(self, decision: ConfirmPosition) -> None:
        """Take a decision. Never blocks: the sends in flight are bounded."""
        seconds = CONFIRM_SECONDS if decision.is_urgent else FIND_SECONDS - CONFIRM_SECONDS
        line = (decision.position.partition, seconds)
        if (waiting := self._confirming.get(line)) is not None:
            waiting.append(decision)
            return
        self._confirming[line] = [decision]
        self._spawn(self._confirm_positions(*line))

    # A line is served by one task, for as long as somebody waits in it -----------------------

    async def _find_originals(self, partition: int) -> None:
        while flights := _take(self._finding, partition):
            await self._let_originals_arrive()
            try:
                async with asyncio.timeout(FIND_SECONDS):
                    target = await self._event_log.ends({partition})
                    stored = await self._look_up(target, flights)
            except (TimeoutError, Unavailable):
                # Those behind them do not wait for a deadline of their own, one after the other.
                flights += _empty(self._finding[partition])
                for flight in flights:
                    self._delivery.original_unknown(flight, _NO_ANSWER)
            else:
                for flight in flights:
                    self._delivery.original_found(flight, stored.get(flight.record.message_id))
            self._happened()

    async def _let_originals_arrive(self) -> None:
        """See `landline.delivery.sends`."""
        await asyncio.sleep(self._repeat_seconds)

    async def _confirm_positions(self, partition: int, seconds: float) -> None:
        line = (partition, seconds)
        while decisions := _take(self._confirming, line):
            end = 1 + max(decision.position.offset for decision in decisions)
            flights = [decision.flight for decision in decisions]
            deadline = asyncio.get_running_loop().time() + seconds
            try:
                async with asyncio.timeout_at(deadline):
                    stored = await self._look_up({partition: end}, flights)
            except (TimeoutError, Unavailable):
                await self._decide_without_store(line, flights, deadline)
            else:
                for flight in flights:
                    self._delivery.position_confirmed(flight, stored.get(flight.record.message_id))
            self._happened()

    async def _decide_without_store(
        self, line: tuple[int, float], flights: list[Flight], deadline: float
    ) -> None:
        """Nobody can say which position counts, for these and for those behind them.

        A store that is away may have said so at once. Right after this process has stood still it
        is not known who has left, and what is sent then would not be pushed live: it is waited for.
        """
        loop = asyncio.get_running_loop()
        while True:
            flights += [each.flight for each in _empty(self._confirming[line])]
            waiting = []
            for flight in flights:
                if loop.time() < deadline and self._delivery.may_be_known_soon(flight):
                    waiting.append(flight)
                else:
                    self._delivery.position_unknown(flight, _NO_ANSWER)
            if not waiting:
                return
            if len(waiting) < len(flights):
                self._happened()
            flights = waiting
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_up(
        self, target: Positions, flights: Sequence[Flight]
    ) -> Mapping[str, Appended]:
        await self._store.wait_applied(target)
        async with self._asking:
            return await self._store.find({flight.record.message_id for flight in flights})


def _take(lines: dict[K, list[T]], line: K) -> list[T]:
    """Take those that have waited longest in a line. An empty line is forgotten, so the next send
    gets a new task.
    """
    waiting = lines[line]
    taken = waiting[:FOUND_TOGETHER]
    del waiting[:FOUND_TOGETHER]
    if not taken:
        del lines[line]
    return taken


def _empty(waiting: list[T]) -> list[T]:
    """Take all that wait."""
    taken = waiting.copy()
    waiting.clear()
    return taken
