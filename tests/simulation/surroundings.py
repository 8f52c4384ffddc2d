"""What clients and servers share in a run: chance, weather, services, and the history."""

import random
from collections import Counter
from typing import Any

from simulation.bus import Exchange
from simulation.directory import Registry
from simulation.log import Log
from simulation.loop import SimulatedLoop
from simulation.plan import Plan
from simulation.revocations import RevocationTable
from simulation.store import Store
from simulation.weather import Weather


class Surroundings:
    """What there is before anybody comes, and the history of what is seen."""

    def __init__(self, plan: Plan, loop: SimulatedLoop, rng: random.Random) -> None:
        self.plan = plan
        self.rng = rng
        self.loop = loop
        self.history: list[dict[str, Any]] = []
        self.defects: list[str] = []
        self.happened: Counter[str] = Counter()
        self.weather = Weather(rng, plan.faults)
        self.log = Log(self.weather, plan.partitions)
        self.store = Store(partitions=plan.partitions, weather=self.weather)
        self.store.watch = lambda applied: self.note("sample", what="applied", value=applied)
        self.revocations = RevocationTable(self.weather, random.Random(plan.seed))
        self.registry = Registry(self.weather)
        self.exchange = Exchange(self.weather, plan.seed)
        self._names = 0

    def note(self, kind: str, **fields: Any) -> None:
        """Write an event into the history."""
        self.history.append({"t": self.loop.time(), "kind": kind, **fields})

    def token_seconds(self) -> float | None:
        """Return for how long a token of now is good; None: longer than the run."""
        return 0.5 + 3 * self.rng.random() if "expiry" in self.weather.faults else None

    def next_name(self, prefix: str) -> str:
        """Return a name that nothing else has."""
        self._names += 1
        return f"{prefix}{self._names}"
