"""What made-up histories consist of: virtual time, messages, sessions, sends."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field


class VirtualTime:
    """Something that happens in virtual seconds: what is due is done, in order."""

    def __init__(self) -> None:
        self._now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def _at(self, t: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (t, next(self._numbers), act))

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._at(self._now + seconds, act)

    def _pass(self) -> None:
        """Have time pass until nothing is due any more."""
        while self._agenda:
            self._now, _, act = heapq.heappop(self._agenda)
            act()


@dataclass
class Message:
    """A message as the deployment knows it: its content and its first position."""

    id: str
    sender: str
    to: str
    ref: str
    conversation: str
    partition: int
    offset: int

    @property
    def digest(self) -> str:
        return f"digest-of-{self.ref}"


@dataclass(eq=False)
class Session:
    """One connection, seen from both ends."""

    user: str
    c: str
    server: str
    is_auto: bool = False
    acks_after: float | None = 0.01
    is_open: bool = True
    pushed: set[str] = field(default_factory=set)
    received: int = 0
    line_free_at: float = 0.0


@dataclass(eq=False)
class Draft:
    """A send that waits for its answer."""

    user: str
    to: str
    ref: str
    is_answered: bool = False
    tries: int = 0
