"""Writes docs/mutants.md: every rule that has a switch, and how its absence shows."""

from simulation.invariants import INVARIANTS
from simulation.mutants import MUTANTS

_TOP = """\
# Mutants

A check that cannot fail is no check. Each rule below has a switch that turns it off in the tests
(`tests/simulation/mutants/`). With the rule off, the deterministic simulation has to report one
of the invariants named here, and with the rule on the same schedule has to pass;
`tests/simulation/test_mutants.py` checks both. *Seed*: the schedule that shows it. A number such as
F05 is a row of the [failure catalogue](failure-catalogue.md).

`make docs` writes this page; a test compares it.

| rule | why, or where | without it | seed | reported |
|---|---|---|---|---|
"""

_BOTTOM = """
## The invariants

| name | says |
|---|---|
"""


def page() -> str:
    """Return the page."""
    rows = [
        f"| {each.rule} | {each.source} | {each.name} | {each.seed}"
        f" | {', '.join(sorted(each.breaks))} |"
        for each in MUTANTS
    ]
    invariants = [f"| {name} | {says} |" for name, says in INVARIANTS.items()]
    return _TOP + "\n".join(rows) + "\n" + _BOTTOM + "\n".join(invariants) + "\n"
