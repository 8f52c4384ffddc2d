"""Turns: no connection may keep the event loop, whatever it sends and however fast.

Frames are taken as they arrive for as long as their connection's turn lasts. What arrives beyond
it waits in the connection, whose socket is not read meanwhile, and the connection joins a queue.
The queues are walked for a moment, a short turn for each; then other clients, the log's answers and
the thread that writes to the disk have the event loop.

There are two queues, as in fq_codel (RFC 8290, section 4.1). In the first one are those who had no
turn of late. In the second one are those who come back for more, and those who have sent more than
half of what they may send at once; it rests after each walk for as long as one may last. So whoever
says little does not wait until all who say much have had a turn.

A turn is measured in time, not in frames: a frame may cost a microsecond or a millisecond, and
only the clock knows which.
"""

import asyncio
from collections import deque
from typing import Protocol

from landline.ports import Clock

# One connection, at a stretch. The dearest frame costs more than that; then it is one frame.
TURN_SECONDS = 0.000_5
# All connections together, before sockets, timers and the log's answers are looked at again: for
# frames that have just arrived, and for a walk along the queues.
ROUND_SECONDS = 0.002
# Whoever had a turn within this time comes back for more.
LATELY_SECONDS = 0.1


class Taker(Protocol):
    """Somebody who takes turns: a connection with frames that wait."""

    turn_round: int
    turn_until: float
    turned_at: float

    def is_busy(self, now: float) -> bool:
        """Say whether it has sent so much of late that others come first, when it has to wait."""

    def take_turn(self, until: float) -> bool:
        """Take what waits until the clock says `until`, one frame at least. Returns whether more
        waits. Does not raise.
        """


class Turns:
    """Whose turn it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._first: deque[Taker] = deque()
        self._second: deque[Taker] = deque()
        self._round = 0
        self._round_until = 0.0
        self._is_round_open = False
        self._is_walk_due = False
        self._is_resting = False  # the second queue

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def may_take(self, taker: Taker, now: float) -> bool:
        """Say whether a frame that has just arrived may be taken at once."""
        if not self._is_round_open:
            self._is_round_open = True
            self._round += 1
            self._round_until = now + ROUND_SECONDS
            self._loop.call_soon(self._end_round)
        if taker.turn_round != self._round:
            taker.turn_round = self._round
            taker.turn_until = now + TURN_SECONDS
        return now < taker.turn_until and now < self._round_until

    def wait(self, taker: Taker) -> None:
        """Join a queue, once, with something to take."""
        now = self._clock.monotonic()
        if now - taker.turned_at < LATELY_SECONDS or taker.is_busy(now):
            self._second.append(taker)
        else:
            self._first.append(taker)
        self._plan()

    def _end_round(self) -> None:
        self._is_round_open = False

    def _plan(self) -> None:
        """Walk soon, unless nobody waits but in the queue that rests."""
        has_somebody = self._first or (self._second and not self._is_resting)
        if has_somebody and not self._is_walk_due:
            self._is_walk_due = True
            self._loop.call_soon(self._walk)

    def _walk(self) -> None:
        self._is_walk_due = False
        now = self._clock.monotonic()
        until = now + ROUND_SECONDS
        try:
            now = self._serve(self._first, now, until)
            if not self._is_resting:
                self._is_resting = True
                self._loop.call_later(ROUND_SECONDS, self._rested)
                self._serve(self._second, now, max(until, now + TURN_SECONDS))
        finally:  # or whoever waits would do so for ever
            if self._first:
                self._is_walk_due = True
                self._loop.call_later(ROUND_SECONDS, self._walk)
            else:
                self._plan()

    def _rested(self) -> None:
        self._is_resting = False
        self._plan()

    def _serve(self, queue: deque[Taker], now: float, until: float) -> float:
        """Give turns until then. Returns how late it is."""
        while queue and now < until:
            taker = queue.popleft()
            taker.turned_at = now
            if taker.take_turn(now + TURN_SECONDS):
                self._second.append(taker)
            now = self._clock.monotonic()
        return now
