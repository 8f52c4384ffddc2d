"""The last word on a run: what the checker found, and whether the run was whole."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from landline_verify.checker.check import check
from landline_verify.checker.verdict import Verdict
from landline_verify.history.events import Connect, Error, Event, Phase, Run

# A run that was stopped earlier than this share of its duration is not what was asked for.
_WHOLE = 0.95


def judge(history: Sequence[Event]) -> Verdict:
    """Return the checker's verdict; a run that is not whole cannot pass."""
    verdict = check(history)
    missing = tuple(_missing(history))
    if not missing:
        return verdict
    outcome = "unknown" if verdict.outcome == "pass" else verdict.outcome
    return replace(verdict, outcome=outcome, reasons=(*missing, *verdict.reasons))


def _missing(history: Sequence[Event]) -> Iterator[str]:
    """Yield what keeps a history from being that of a whole run."""
    phases = {event.name: event.t for event in history if isinstance(event, Phase)}
    run = history[0] if history and isinstance(history[0], Run) else None
    if run is None:
        return
    if "load" in phases and (asked := run.options.get("duration")):
        lasted = phases.get("heal", history[-1].t) - phases["load"]
        if lasted < _WHOLE * asked:
            yield f"the load ended after {lasted:.1f} s of {asked:g} s: the run is partial"
    if "final" in phases:
        reached = {
            event.url
            for event in history
            if isinstance(event, Connect) and event.t >= phases["final"]
        }
        for url in run.urls:
            if url not in reached:
                yield f"{url} answered nobody at the end"
    for event in history:
        if isinstance(event, Error) and event.code == "not_landline":
            yield f"a server broke the protocol: {event.message}"
            break
