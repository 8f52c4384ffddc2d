"""The rules of the project, each with a switch that turns it off.

A check that cannot fail is no check: with a rule switched off, the simulation has to report one of
the invariants that the rule is for. A mutant patches the real code, or gives the models a mistake
that an adapter could have. `docs/mutants.md` is made from this table.
"""

from simulation.mutants import connecting, devices, rooms, sends, store
from simulation.mutants.mutant import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "connecting", "devices", "rooms", "sends", "store"]
