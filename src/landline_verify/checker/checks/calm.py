"""When a deployment has no excuse: between faults, and in those that it has to survive."""

from collections.abc import Iterator, Sequence
from typing import Final

from landline_verify.checker.evidence import Evidence
from landline_verify.checker.excuses import FaultSpan

# Log and store count as unhealthy for so long after a fault is over, as I15 allows.
HEALING_SECONDS: Final = 10.0
# These faults leave log and store alone. No server may be late because of a clock, or because one
# user sends too much.
HINTS_ONLY: Final = ("redis", "routing", "clock", "user", "flood")
# If another host can take over, it has to be found within the seconds above.
REPLACEABLE: Final = ("postgres-host",)
# One user or client sends too much: the others do not notice.
_NOBODY: Final = ("user", "flood")
# Sends need the log alone.
STORE: Final = ("postgres", "writer")


def unhealthy(fault: FaultSpan) -> tuple[float, float]:
    """Return from when until when a fault excuses, without the time to get over it."""
    if fault.name.startswith(REPLACEABLE):
        return fault.start, fault.start
    return fault.start, fault.stop


def calm(evidence: Evidence, *, but: Sequence[str] = ()) -> Iterator[tuple[float, float]]:
    """Yield the times under load, from the end of a fault to the next one, in which all has to
    come back to life; faults whose names begin with `but` do not count. What follows the last fault
    is not among them: `evidence.healed`.
    """
    end = evidence.phases.get("heal", evidence.phases.get("final", evidence.end))
    spans = sorted(
        unhealthy(each) for each in evidence.faults if not each.name.startswith((*_NOBODY, *but))
    )
    for number, (_, stop) in enumerate(spans):
        until = min([end, *(start for start, _ in spans[number + 1 :])])
        if all(other <= stop for _, other in spans[:number]) and stop < until:
            yield stop, until
