"""The verdict on a history, and the violations behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

VerdictOutcome = Literal["pass", "fail", "unknown"]
Finding = Literal["held", "violated", "not judged"]

# The invariants in the order in which a report lists them, each with its name.
INVARIANTS: Mapping[str, str] = {
    "I1": "Durable",
    "I2": "Delivered",
    "I2b": "Not stranded",
    "I2c": "Live without the store",
    "I3": "No phantom",
    "I4": "Unaltered",
    "I5": "No duplicates",
    "I6": "Order",
    "I7": "Agreement",
    "I8": "Honest receipts",
    "I9": "Store = fold of the log",
    "I10": "Applied",
    "I11": "Honest ok",
    "I12": "Final answers",
    "I12b": "Prompt answers",
    "I13": "Confidential",
    "I14": "Bounded",
    "I15": "Live again",
    "I16": "Not vacuous",
    "I17": "Read and unread",
    "I18": "Whole pages",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant violated once. A message is named by its id; by sender and ref where it has
    none, or these are known too.
    """

    invariant: str
    sentence: str
    events: tuple[int, ...]  # their indexes in the history, in the order of time
    id: str | None = None
    sender: str | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reasons` say why nothing can be told; they matter only where nothing is violated.

    `findings` has every invariant: one that is not judged lacked its evidence (a dump of log or
    store, samples, faults), which by itself is no reason.
    """

    outcome: VerdictOutcome
    violations: tuple[Violation, ...]
    counts: Mapping[str, int]
    reasons: tuple[str, ...]
    findings: Mapping[str, Finding]
