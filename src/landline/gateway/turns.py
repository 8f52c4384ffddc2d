"""Turns: no connection may keep the event loop, whatever it sends and however fast.

Frames are taken as they arrive for as long as their connection's turn lasts. What arrives beyond
it waits in the connection, whose socket is not read meanwhile, and the connection joins a ring. The
ring is walked for a millisecond, a short turn for each, then it rests for as long. So clients that
flood share half of the event loop. The other half is for everything else: other clients, the log's
answers, and the thread that writes to the disk.

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
# frames that have just arrived, and for a walk along the ring.
ROUND_SECONDS = 0.001


class Taker(Protocol):
    """Somebody who takes turns: a connection with frames that wait."""

    turn_round: int
    turn_until: float

    def take_turn(self, until: float) -> bool:
        """Take what waits until the clock says `until`, one frame at least. Returns whether more
        waits. Does not raise.
        """


class Turns:
    """Whose turn it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._ring: deque[Taker] = deque()
        self._round = 0
        self._round_until = 0.0
        self._is_round_open = False
        self._is_walk_due = False

    def __len__(self) -> int:
        return len(self._ring)

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
        """Join the ring, once, with something to take."""
        self._ring.append(taker)
        if not self._is_walk_due:
            self._is_walk_due = True
            self._loop.call_soon(self._walk)

    def _end_round(self) -> None:
        self._is_round_open = False

    def _walk(self) -> None:
        self._is_walk_due = False
        now = self._clock.monotonic()
        until = now + ROUND_SECONDS
        while self._ring and now < until:
            taker = self._ring.popleft()
            if taker.take_turn(now + TURN_SECONDS):
                self._ring.append(taker)
            now = self._clock.monotonic()
        if self._ring:
            self._is_walk_due = True
            self._loop.call_later(ROUND_SECONDS, self._walk)
