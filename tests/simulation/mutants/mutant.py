"""A rule of the project with a switch that turns it off, and the table of all of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

Switch = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mutant:
    """A rule, its switch, the invariants that must break without it, and a seed that shows it.

    `source`: rows of docs/failure-catalogue.md that the rule answers, or the module that keeps it.
    """

    name: str
    rule: str
    source: str
    breaks: frozenset[str]
    seed: int
    switch: Switch


MUTANTS: list[Mutant] = []


def mutant(rule: str, source: str, breaks: str, seed: int) -> Callable[[Switch], Switch]:
    """Enter a switch into the table. `breaks`: any of these; `seed`: a schedule that shows it."""

    def enter(switch: Switch) -> Switch:
        name = switch.__name__.replace("_", " ")
        MUTANTS.append(Mutant(name, rule, source, frozenset(breaks.split()), seed, switch))
        return switch

    return enter


def patch(target: Any, name: str, value: Any) -> AbstractContextManager[Any]:
    """Put something in the place of an attribute for a while."""
    return mock.patch.object(target, name, value)
