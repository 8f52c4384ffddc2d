"""What a fault is: something that can be done to a deployment, and undone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from landline_verify.faults.deployments import Deployment, Equipment


@dataclass(frozen=True, slots=True)
class Rest:
    """What is still wrong for so many seconds when a fault is over, and began with it."""

    name: str
    seconds: float
    heal: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault aimed at its victim. Both functions block, and may raise StackError."""

    victim: str
    harm: Callable[[], object]
    heal: Callable[[], object]
    rest: Rest | None = None


# Chooses a victim by a number.
Aim = Callable[[Deployment, int], Strike]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that can be done.

    `seconds` is the shortest and the longest time between harm and heal, `heal_seconds` what the
    heal itself takes, about. `aim` chooses among several victims by a number. `needs` is what the
    deployment has to be started with.
    """

    name: str
    about: str
    fits: Sequence[str]
    seconds: tuple[float, float]
    heal_seconds: float
    aim: Aim
    obstacle: Callable[[], str | None] = lambda: None
    needs: Equipment | None = None
