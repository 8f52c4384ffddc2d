"""With a rule switched off the simulation must say so; with it on, the same schedule passes."""

import pytest

from simulation.mutants import MUTANTS, Mutant
from simulation.plan import Plan
from simulation.run import outcome


@pytest.mark.timeout(900)  # where a seed has moved, some hundred schedules are tried
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_a_rule_that_is_switched_off_is_missed(mutant: Mutant) -> None:
    """At its known seed; a change of the server may move it, then within so many others."""
    assert any(is_shown(mutant, seed) for seed in (mutant.seed, *others(mutant)))


def is_shown(mutant: Mutant, seed: int) -> bool:
    """Say whether a schedule that passes with the rule reports its invariant without it."""
    with mutant.switch():
        broken = outcome(Plan.of(seed)).invariants
    return bool(mutant.breaks.intersection(broken)) and not outcome(Plan.of(seed)).violations


def others(mutant: Mutant) -> range:
    """Return more seeds. Promptness is judged where there are no faults: in every tenth."""
    return range(0, 3_000, 10) if mutant.breaks == {"I2p"} else range(300)


def test_there_are_enough_of_them() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25
