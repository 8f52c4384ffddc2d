"""Which faults are done when: a plan made from a seed, before the run begins."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from landline_verify.faults.fault import Fault

# Between two faults, and before the first one. Short ones find a deployment that still recovers.
_CALM_SECONDS: Final = (1.0, 6.0)
# The last fault leaves the load so long to go on.
_LAST_CALM_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault: `calm` seconds after the heal of the one before, for `seconds`, on a victim."""

    fault: Fault
    calm: float
    seconds: float
    victim: int


def make_plan(seed: int, faults: Sequence[Fault], duration_seconds: float) -> list[Planned]:
    """Return what fits into the time: every fault comes once before any comes again."""
    chance = random.Random(f"faults {seed}")  # noqa: S311 - reproducible, not secret
    plan: list[Planned] = []
    round_: list[Fault] = []
    left = duration_seconds - _LAST_CALM_SECONDS
    while faults:
        round_ = round_ or chance.sample(list(faults), len(faults))
        fault = round_.pop()
        calm, seconds = chance.uniform(*_CALM_SECONDS), chance.uniform(*fault.seconds)
        left -= calm + fault.heal_seconds
        if left < fault.seconds[0]:
            break
        seconds = min(seconds, left)
        left -= seconds
        plan.append(Planned(fault, round(calm, 3), round(seconds, 3), chance.randrange(1_000)))
    return plan
