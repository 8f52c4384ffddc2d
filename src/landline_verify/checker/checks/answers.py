"""Every try is answered, once, and the answers do not contradict each other: I12."""

from collections.abc import Iterator
from typing import Final

from landline_verify.checker.evidence import Evidence
from landline_verify.checker.messages import Send, Try
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import Ok, Rejected

GRACE_SECONDS: Final = 1.0
# Codes that never answer a repeat with `retry: true`: an earlier try may be in the log.
FOR_NOW: Final = ("busy", "too_fast")


def final_answers(evidence: Evidence) -> Iterator[Violation]:
    """I12: each try is answered in time, or its connection is closed; ok and rejected exclude each
    other. A repeat without `retry` may be refused for now, though the message was accepted.
    """
    for at, answer, send in evidence.surplus:
        if send is None:
            yield Violation(
                "I12",
                f"`{answer.kind}` answers what {answer.user} never sent",
                (at,),
                sender=answer.user,
                ref=answer.ref,
            )
        else:
            first = [each.answered_at for each in send.tries if each.answered_at is not None]
            yield send.violates(
                "I12", f"`{answer.kind}` in {answer.c}, where no try waited for it", *first, at
            )
    for send in evidence.sends.values():
        yield from _contradictions(send)
        for attempt in send.tries:
            yield from _late(evidence, send, attempt)


def _contradictions(send: Send) -> Iterator[Violation]:
    oks = [each.answered_at for each in send.tries if isinstance(each.answer, Ok)]
    for attempt in send.tries:
        if isinstance(attempt.answer, Rejected) and attempt.is_retry:
            assert attempt.answered_at is not None  # it has an answer
            before = [at for at in oks if at is not None and at < attempt.at]
            if before:
                yield send.violates(
                    "I12", "accepted, then rejected", before[0], attempt.answered_at
                )
            elif attempt.answer.code in FOR_NOW:
                yield send.violates(
                    "I12",
                    f"a retry was rejected as {attempt.answer.code}; an earlier try may count",
                    attempt.at,
                    attempt.answered_at,
                )


def _late(evidence: Evidence, send: Send, attempt: Try) -> Iterator[Violation]:
    if evidence.run is None:
        return
    sent = attempt.invoke.t
    limit = evidence.stalls.after(sent, evidence.run.deadline + GRACE_SECONDS)
    if attempt.answer is not None and attempt.answer.t <= limit:
        return
    if not any(each.start <= limit and each.stop >= sent for each in evidence.faults):
        # Our own client waits no longer: where nothing was wrong, that it gave up is enough.
        limit = evidence.stalls.after(sent, evidence.run.deadline)
    session = evidence.sessions.get(attempt.invoke.c)
    ends = evidence.end if session is None else min(session.ends, evidence.end)
    if ends > limit:
        yield send.violates(
            "I12",
            f"no answer within {evidence.run.deadline:.0f} s, and {attempt.invoke.c} stayed open",
            attempt.at,
        )
