"""How many requests the application is given in one turn of the loop.

Requests have no limit of their own: a product's backend may send thousands a second from one
address. But each is worked on in one piece, so hundreds that have come together would keep the loop
from everybody's frames meanwhile. So the others wait for the next turns, in the order in which they
came; and when nobody else wants the loop, the next turn comes at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

# A request costs half a millisecond (see bench/RESULTS.md for the machine): together no more than
# the frames of one round of `landline.gateway.turns`.
AT_ONCE: Final = 4


class RequestTurns:
    """Says when a request begins."""

    def __init__(self) -> None:
        self._left = AT_ONCE
        self._is_turn_open = False
        self._waiting: deque[Callable[[], None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> bool:
        """Say whether a request may begin at once; otherwise `wait` is for it."""
        if not self._left or self._waiting:
            return False
        self._left -= 1
        self._open_turn()
        return True

    def wait(self, begin: Callable[[], None]) -> None:
        """Have it begin in one of the next turns, or do nothing where its connection is gone by
        then: so no more wait than there are connections.
        """
        self._waiting.append(begin)
        self._open_turn()

    def _open_turn(self) -> None:
        if not self._is_turn_open:
            self._is_turn_open = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._is_turn_open = False
        loop = asyncio.get_running_loop()
        begun = min(AT_ONCE, len(self._waiting))
        self._left = AT_ONCE - begun
        for _ in range(begun):
            loop.call_soon(self._waiting.popleft())  # a defect ends with its own connection
        if begun:
            self._open_turn()
