"""Looks up in the store what became of sends: for repeats, and for who may have been overtaken.

What the store has to reach first lies in the partition of the send's own conversation, so each
partition has a line of its own: one that stands still holds up nobody but those who wait for it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from landline.delivery import Delivery
from landline.delivery.decisions import Find
from landline.errors import Unavailable
from landline.model import NOWHERE, Positions, join
from landline.ports import EventLog, MessageStore

FIND_SECONDS = 10.0
# While others wait behind a message that is confirmed, and are to be live all the same.
CONFIRM_SECONDS = 3.0
BATCH = 1_000


class _Line(NamedTuple):
    """Who waits for one partition, for so long at the most. Repeats that are looked for let their
    originals arrive first, so they have a line apart.
    """

    partition: int
    seconds: float
    is_repeats: bool


class Finder:
    """Carries out `Find`. Each line is served by one task, for as long as somebody waits in it."""

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
        """`spawn` makes a task that the hub owns; `happened` is told after answers were given."""
        self._event_log = event_log
        self._store = store
        self._delivery = delivery
        self._spawn = spawn
        self._happened = happened
        self._repeat_seconds = repeat_seconds
        self._lines: dict[_Line, list[Find]] = {}
        # The store answers one at a time, with a deadline for each that is shorter than ours and
        # counts from when it is asked: a crowd of lines would have it run out in the store's queue.
        self._asking = asyncio.Lock()

    def put(self, decision: Find) -> None:
        """Take a `Find`. Never blocks: the sends in flight are bounded."""
        if decision.target is None:
            conversation = decision.token.record.conversation
            partition = self._event_log.partition_of(conversation)
            line = _Line(partition, FIND_SECONDS, is_repeats=True)
        else:
            seconds = CONFIRM_SECONDS if decision.is_urgent else FIND_SECONDS - CONFIRM_SECONDS
            line = _Line(next(iter(decision.target)), seconds, is_repeats=False)
        if (waiting := self._lines.get(line)) is not None:
            waiting.append(decision)
            return
        self._lines[line] = [decision]
        self._spawn(self._serve(line))

    async def _serve(self, line: _Line) -> None:
        waiting = self._lines[line]
        while waiting:
            decisions = waiting[:BATCH]
            del waiting[: len(decisions)]
            if line.is_repeats:
                await self._let_originals_arrive()
            await self._find(line, decisions)
        del self._lines[line]

    async def _let_originals_arrive(self) -> None:
        """See `landline.delivery.sends`."""
        await asyncio.sleep(self._repeat_seconds)

    async def _find(self, line: _Line, decisions: list[Find]) -> None:
        flights = [decision.token for decision in decisions]
        try:
            async with asyncio.timeout(line.seconds):
                target: Positions = NOWHERE
                if line.is_repeats:
                    target = await self._event_log.ends({line.partition})
                for decision in decisions:
                    target = join(target, decision.target or NOWHERE)
                await self._store.wait_applied(target)
                async with self._asking:
                    ids = {flight.record.message_id for flight in flights}
                    stored = await self._store.find(ids)
        except (TimeoutError, Unavailable):
            why = "the store does not answer; repeat with the same ref and retry: true"
            # Those behind them do not wait for their own deadline too, one batch after the other.
            waiting = self._lines[line]
            flights += [decision.token for decision in waiting]
            waiting.clear()
            for flight in flights:
                self._delivery.find_failed(flight, why)
        else:
            for flight in flights:
                self._delivery.found(flight, stored.get(flight.record.message_id))
        self._happened()
