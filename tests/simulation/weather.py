"""What every model shares: requests that are on their way for a while, and the weather that the
seed decides.

A request takes effect at one moment, and its answer is on its way for a while. The asker may be
gone by then, and what had left lands all the same. Bad weather loses requests and answers, and lets
answers come after every deadline.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from landline.errors import LandlineError
from simulation.loop import WORLD, lane_context

T = TypeVar("T")

# Longer than every deadline of the server, as `bounds` sets them.
LATE_SECONDS = 4.0
# Services and networks go on when a process that asked them is paused or gone.
OUTSIDE = lane_context(WORLD)


@dataclass
class Weather:
    """What may go wrong now, and how long things take."""

    rng: random.Random
    faults: frozenset[str] = frozenset()
    pace: float = 0.004
    # What is away, and the requests that stand in its sockets until it is back.
    away: dict[str, list[Callable[[], None]]] = field(default_factory=dict)

    def delay(self) -> float:
        """Return how long something is under way: mostly short, now and then not."""
        chance = self.rng.random()
        return chance * self.pace if chance < 0.9 else chance * self.pace * 25

    def leave(self, name: str) -> None:
        """A service is away from now on: refuses, or takes requests and does not answer them."""
        self.away.setdefault(name, [])

    def come_back(self, name: str) -> None:
        """It is back, and finds what stands in its sockets: who asked has long given up."""
        for arrive in self.away.pop(name, ()):
            asyncio.get_running_loop().call_later(self.delay(), arrive, context=OUTSIDE)

    def strikes(self, fault: str, probability: float) -> bool:
        """Say whether a fault happens now."""
        return fault in self.faults and self.rng.random() < probability

    async def ask(
        self, fault: str, error: Callable[[str], LandlineError], effect: Callable[[], T]
    ) -> T:
        """Ask a service: `effect` happens there, once or not at all, whatever becomes of us."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        fate = self.rng.random() if fault in self.faults else 1.0

        def arrive() -> None:
            if fault in self.away:
                if self.rng.random() < 0.5:
                    reply(error("nobody listens"), None)
                else:
                    self.away[fault].append(arrive)
                return
            if fate < 0.04:
                reply(error("the request was lost"), None)
                return
            try:
                result = effect()
            except LandlineError as refused:
                reply(refused, None)
                return
            if fate < 0.08:
                reply(error("the answer was lost"), None)
            elif fate < 0.11:
                loop.call_later(LATE_SECONDS, reply, None, result, context=OUTSIDE)
            elif self.rng.random() < 0.5:
                reply(None, result)
            else:
                loop.call_later(self.delay(), reply, None, result, context=OUTSIDE)

        def reply(failure: LandlineError | None, result: T | None) -> None:
            if answer.done():
                return
            if failure is not None:
                answer.set_exception(failure)
            else:
                answer.set_result(result)  # type: ignore[arg-type]  # there is one without failure

        late = LATE_SECONDS if 0.11 <= fate < 0.13 else 0.0
        loop.call_later(late + self.delay(), arrive, context=OUTSIDE)
        return await answer
