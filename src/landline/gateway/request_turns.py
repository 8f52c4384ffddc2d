"""When the application is given a request: a few in one turn of the loop.

Requests have no limit of their own: a product's backend may send thousands a second from one
address. But each is worked on in one piece, so hundreds that have come together would keep the loop
from everybody's frames meanwhile. So the others wait for the next turns, one address after the
other; and when nobody else wants the loop, the next turn comes at once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from landline.ports import Clock

# Where each takes half a millisecond, together a round of `landline.gateway.turns`.
AT_ONCE: Final = 4
# Where turns take long, because others have much to do, more of them; but so few that it is not
# they who make the next turn long, even where each takes some milliseconds.
PER_SECOND: Final = 250.0
MOST_AT_ONCE: Final = 16


class RequestTurns:
    """Whose request is next. Each connection waits once, and not beyond its end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = AT_ONCE
        self._is_turn_open = False
        self._opened_at = 0.0
        self._places: OrderedDict[str, OrderedDict[Hashable, Callable[[], None]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._places.values())

    def take(self) -> bool:
        """Say whether a request may begin at once; otherwise `wait` is for it."""
        if not self._left or self._places:
            return False
        self._left -= 1
        self._open_turn()
        return True

    def wait(self, place: str, who: Hashable, begin: Callable[[], None]) -> None:
        """Have a request of this address begin in one of the next turns. `begin` does not raise."""
        self._places.setdefault(place, OrderedDict())[who] = begin
        self._open_turn()

    def leave(self, place: str, who: Hashable) -> None:
        """Somebody is gone, or never waited."""
        waiting = self._places.get(place)
        if waiting is not None and waiting.pop(who, None) is not None and not waiting:
            del self._places[place]

    def _open_turn(self) -> None:
        if not self._is_turn_open:
            self._is_turn_open = True
            self._opened_at = self._clock.monotonic()
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        took_seconds = self._clock.monotonic() - self._opened_at
        self._is_turn_open = False
        self._left = max(AT_ONCE, min(MOST_AT_ONCE, int(took_seconds * PER_SECOND)))
        try:
            while self._left and self._places:
                self._left -= 1
                self._next()()
        finally:  # or all others would wait until somebody comes
            if self._left < AT_ONCE or self._places:
                self._open_turn()

    def _next(self) -> Callable[[], None]:
        place, waiting = self._places.popitem(last=False)
        _who, begin = waiting.popitem(last=False)
        if waiting:
            self._places[place] = waiting  # behind the others
        return begin
