"""Runs a schedule, judges it, and makes a failing one small."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from landline.delivery import session
from simulation.bounds import (
    BOUNDS,
    DEAF_SECONDS,
    HEARD_SECONDS,
    PROMPT_SECONDS,
    STRANDED_SECONDS,
)
from simulation.invariants import INVARIANTS, Violation
from simulation.judge import Judge
from simulation.plan import Plan
from simulation.schedule import simulate
from simulation.weather import LATE_SECONDS

# Runs that shrinking may take.
TRIES = 400
_SHOWN = 80
# What makes a server go by what it has known of a room before, for as long as that lasts.
_KNOWN_BEFORE = frozenset({"away", "pause", "store"})


@dataclass
class Outcome:
    """What became of a schedule."""

    plan: Plan
    violations: list[Violation]
    history: list[dict[str, Any]]
    happened: Counter[str]
    turns: int

    @property
    def invariants(self) -> list[str]:
        """Return the invariants that do not hold, in the order of the table."""
        broken = {violation.invariant for violation in self.violations}
        return [each for each in INVARIANTS if each in broken]

    def summary(self) -> str:
        """Return one line: what is violated, and the first case of it."""
        first = self.violations[0]
        return f"{', '.join(self.invariants)}: {first.about} {first.what}"


def outcome(plan: Plan) -> Outcome:
    """Run a schedule and judge it. The history is kept only when it is needed."""
    world = simulate(plan)
    violations = [Violation("defect", "", defect) for defect in world.defects]
    violations += judge(plan, world.history)
    happened = world.happened + Counter(event["kind"] for event in world.history)
    return Outcome(
        plan, violations, world.history if violations else [], happened, world.loop.turns
    )


def judge(plan: Plan, history: Iterable[Mapping[str, Any]]) -> list[Violation]:
    """Judge a history by what its plan promises."""
    return Judge(
        window=BOUNDS[session]["WINDOW"],
        stranded=STRANDED_SECONDS,
        prompt=PROMPT_SECONDS,
        deaf=DEAF_SECONDS,
        heard=HEARD_SECONDS,
        keeps_order=plan.faults <= {"away"},
        is_fair=plan.is_fair,
        tells_once="cramped" not in plan.faults,
        sees_all="leader" not in plan.faults,
        hears_all="cramped" not in plan.faults
        and (plan.servers == 1 or plan.faults.isdisjoint({"directory", "hints"})),
        changes_late=_changes_late(plan),
    ).judge(dict(event) for event in history)


def _changes_late(plan: Plan) -> float | None:
    """Return how long hints of changes of rooms may be under way; None: there is no bound."""
    if not plan.faults.isdisjoint(_KNOWN_BEFORE):
        return None
    return LATE_SECONDS if "hints" in plan.faults else 0.0


def shrink(found: Outcome) -> Outcome:
    """Return the smallest schedule found that violates one of the same invariants."""
    wanted = set(found.invariants)
    tries = TRIES
    is_smaller = True
    while is_smaller and tries > 0:
        is_smaller = False
        for plan in found.plan.smaller():
            tries -= 1
            smaller = outcome(plan)
            if wanted.intersection(smaller.invariants):
                found, is_smaller = smaller, True
                break
    return found


def story(found: Outcome) -> str:
    """Return the violations, and what happened to the first message that is concerned."""
    lines = [f"{each.invariant} {each.about}: {each.what}" for each in found.violations[:10]]
    lines += [f"  ({each}: {INVARIANTS[each]})" for each in found.invariants]
    about = next((each.about for each in found.violations if each.about), "")
    lines += ["", f"What concerns {about or 'it'}:"]
    lines += [_line(event) for event in _concerning(found.history, about)][:_SHOWN]
    return "\n".join(lines)


def _concerning(history: list[dict[str, Any]], about: str) -> list[dict[str, Any]]:
    """Return the events of a message, and the comings and goings around it."""
    always = {"phase", "nemesis", "connect", "live", "disconnect", "sample"}
    refs = {event["ref"] for event in history if event["kind"] == "ok" and event["id"] == about}
    return [
        event
        for event in history
        if event["kind"] in always
        or about in (event.get("id"), event.get("c"), event.get("ref"))
        or about in event.get("ids", ())
        or event.get("ref") in refs
    ]


def _line(event: Mapping[str, Any]) -> str:
    shown = " ".join(
        f"{name}={value}"
        for name, value in event.items()
        if name not in ("t", "kind", "digest", "time", "url", "session", "durability")
    )
    return f"{event['t'] - 1_000:9.3f} {event['kind']:<10} {shown}"
