"""Judges a history: finds what the contract promises and the history disproves.

The checks see no more than the clients did, and log and store where they were dumped. What the
contract leaves open is not flagged: docs/verification.md.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from landline_verify.checker.checks.answers import final_answers
from landline_verify.checker.checks.confidential import confidential
from landline_verify.checker.checks.delivery import (
    can_be_stranded,
    delivered,
    no_duplicates,
    no_phantom,
    not_stranded,
)
from landline_verify.checker.checks.durability import durable, honest_ok, unaltered
from landline_verify.checker.checks.liveness import bounded, live_again, vacuous
from landline_verify.checker.checks.marks import honest_marks
from landline_verify.checker.checks.meanwhile import is_watched, live_without_store
from landline_verify.checker.checks.order import agreed, in_order
from landline_verify.checker.checks.pages import whole_pages
from landline_verify.checker.checks.prompt import is_flooded, prompt_answers
from landline_verify.checker.checks.receipts import honest_receipts
from landline_verify.checker.checks.store import applied, is_fold
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.reading import read_evidence
from landline_verify.checker.verdict import INVARIANTS, Finding, Verdict, Violation
from landline_verify.history.events import Event, Ok, Rejected, Unknown


@dataclass(frozen=True, slots=True)
class _Check:
    """One invariant: its violations, and whether the history has what it takes to judge it."""

    violations: Callable[[Evidence], Iterable[Violation]]
    is_due: Callable[[Evidence], bool] = lambda _: True


def _has_samples(*kinds: str) -> Callable[[Evidence], bool]:
    return lambda evidence: any(each.partition(":")[0] in kinds for each in evidence.samples)


def _has_log_and_store(evidence: Evidence) -> bool:
    return evidence.has_log and evidence.has_store


_CHECKS: Final[Mapping[str, _Check]] = {
    "I1": _Check(durable, lambda evidence: evidence.has_log or evidence.has_store),
    "I2": _Check(delivered, lambda evidence: "final" in evidence.phases),
    "I2b": _Check(not_stranded, can_be_stranded),
    "I2c": _Check(live_without_store, is_watched),
    "I3": _Check(no_phantom),
    "I4": _Check(unaltered),
    "I5": _Check(no_duplicates),
    "I6": _Check(in_order),
    "I7": _Check(agreed),
    "I8": _Check(honest_receipts),
    "I9": _Check(is_fold, _has_log_and_store),
    "I10": _Check(applied, lambda each: _has_log_and_store(each) or _has_samples("applied")(each)),
    "I11": _Check(honest_ok, lambda evidence: evidence.has_log),
    "I12": _Check(final_answers),
    "I12b": _Check(prompt_answers, is_flooded),
    "I13": _Check(confidential),
    "I14": _Check(bounded, _has_samples("rss", "fds", "tasks")),
    "I15": _Check(live_again, lambda evidence: "final" in evidence.phases),
    "I17": _Check(honest_marks, lambda each: bool(each.marks or each.listed)),
    "I18": _Check(whole_pages, lambda each: bool(each.paged) and each.has_log),
}


def check(history: Sequence[Event]) -> Verdict:
    """Return the verdict: the worst of what was found, fail before unknown before pass."""
    evidence = read_evidence(history)
    violations: list[Violation] = []
    findings: dict[str, Finding] = dict.fromkeys(INVARIANTS, "not judged")
    for name, each in _CHECKS.items():
        if each.is_due(evidence):
            found = list(each.violations(evidence))
            findings[name] = "violated" if found else "held"
            violations += found
    reasons = tuple(vacuous(evidence))
    findings["I16"] = "violated" if reasons else "held"
    return Verdict(
        "fail" if violations else "unknown" if reasons else "pass",
        tuple(violations),
        _counts(evidence),
        reasons,
        findings,
    )


def _counts(evidence: Evidence) -> dict[str, int]:
    """Return what was tried and seen, in the order in which a report shows it."""
    answers = Counter(type(each.answer) for send in evidence.sends.values() for each in send.tries)
    tries = sum(answers.values())
    messages = evidence.messages.values()
    received = sum(len(message.recvs) for message in messages)
    first = sum(len({recv.user for _, recv in message.recvs}) for message in messages)
    return {
        "users": len(evidence.users),
        "sessions": len(evidence.sessions),
        "sends": len(evidence.sends),
        "repeats": tries - len(evidence.sends),
        "accepted": sum(len(message.oks) > 0 for message in messages),
        "ok": answers[Ok],
        "rejected": answers[Rejected],
        "unknown": answers[Unknown],
        "unanswered": answers[type(None)],
        "received": first,
        "received_again": received - first,
        "acknowledged": sum(len(message.acks) > 0 for message in messages),
        "marks": len(evidence.marks),
        "pages": len(evidence.paged),
        "statuses": sum(len(message.statuses) for message in messages),
        "records": len(evidence.dumped.records),
        "rows": sum(len(message.rows) + len(message.pending_rows) for message in messages),
        "faults": len(evidence.faults),
    }
