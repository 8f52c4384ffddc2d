"""The routing bus in memory; see `simulation.weather`. Bad weather repeats and reorders hints."""

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field, replace

from simulation.weather import LATE_SECONDS, OUTSIDE, Weather


@dataclass
class Exchange:
    """The routing topic: who listens where."""

    weather: Weather
    seed: int = 0
    ears: dict[str, tuple[Callable[[bytes], None], Context | None]] = field(default_factory=dict)
    _chances: dict[str, random.Random] = field(default_factory=dict)

    def towards(self, address: str) -> Weather:
        """Return the weather on the way there. Its chances are its own: a server takes the
        addresses of a hint from a set, and their order must not decide about anything else.
        """
        rng = self._chances.get(address)
        if rng is None:
            rng = self._chances[address] = random.Random(f"{self.seed} {address}")
        return replace(self.weather, rng=rng)


class ModelRoutingBus:
    """See `landline.ports.RoutingBus`. One per process."""

    def __init__(self, exchange: Exchange, address: str, context: Context | None = None) -> None:
        self._exchange = exchange
        self._address = address
        self._context = context
        self._arrives_at: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()

    def publish(self, address: str, hint: bytes) -> None:
        """Send a hint: in bad weather never, twice, or behind later ones."""
        weather = self._exchange.towards(address)
        if weather.strikes("hints", 0.3):
            return
        for _ in range(2 if weather.strikes("hints", 0.1) else 1):
            at = self._loop.time() + weather.delay()
            if "hints" not in weather.faults:
                at = self._arrives_at[address] = max(at, self._arrives_at.get(address, 0))
            elif weather.rng.random() < 0.1:
                at += LATE_SECONDS * weather.rng.random()
            self._loop.call_at(at, self._arrive, address, hint, context=OUTSIDE)

    def publish_to_all(self, hint: bytes) -> None:
        """Send it to everybody who listens now."""
        for address in list(self._exchange.ears):
            self.publish(address, hint)

    def _arrive(self, address: str, hint: bytes) -> None:
        ear = self._exchange.ears.get(address)
        if ear is not None:
            receive, context = ear
            self._loop.call_soon(receive, hint, context=context)

    async def listen(self, receive: Callable[[bytes], None]) -> None:
        """Hear from now on."""
        self._exchange.ears[self._address] = receive, self._context

    def health(self) -> str | None:
        """Return nothing: the weather is not announced."""
        return None

    async def close(self) -> None:
        """Hear nothing more."""
        self.die()

    def die(self) -> None:
        """Hear nothing more."""
        self._exchange.ears.pop(self._address, None)
