"""Nobody waits because somebody else sends as fast as a socket takes it: I12b."""

from collections.abc import Iterator
from typing import Final

from landline_verify.checker.checks.calm import HEALING_SECONDS
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.excuses import FaultSpan
from landline_verify.checker.messages import Send, Try
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import FLOOD_PREFIX

# Generous: beside a flood an answer takes a tenth of a second, also where one core is all there is.
PROMPT_SECONDS: Final = 2.0


def prompt_answers(evidence: Evidence) -> Iterator[Violation]:
    """I12b: each try at a server that is flooded is answered within 2 s."""
    for send, attempt, flood, waited in _late(evidence):
        # Time that our own pauses took is no server's fault.
        if (
            waited - evidence.stalls.between(attempt.invoke.t, attempt.invoke.t + waited)
            <= PROMPT_SECONDS
        ):
            continue
        yield send.violates(
            "I12b",
            f"beside the flood of {flood.name.removeprefix(FLOOD_PREFIX + '-')}"
            f" it waited {waited:.1f} s"
            f" for {'an answer' if attempt.answer is None else 'its answer'}",
            *(each for each in (attempt.at, attempt.answered_at) if each is not None),
        )


def doubtful(evidence: Evidence) -> Iterator[str]:
    """Yield why nobody can tell whether answers were prompt."""
    excused = sum(
        waited - evidence.stalls.between(attempt.invoke.t, attempt.invoke.t + waited)
        <= PROMPT_SECONDS
        for _, attempt, _, waited in _late(evidence)
    )
    if excused:
        yield f"{excused} answers were late beside a flood, but the clients stood still themselves"
    asked = None if evidence.run is None else evidence.run.options.get("flood")
    if asked is not None:
        sent = evidence.samples.get(f"{FLOOD_PREFIX}:{asked}", [])
        if not sent or sent[-1][1].value == 0:
            yield f"the flood of {asked} sent nothing"


def is_flooded(evidence: Evidence) -> bool:
    """Say whether there was a flood, and anybody beside it."""
    return next(_beside(evidence), None) is not None


def _late(evidence: Evidence) -> Iterator[tuple[Send, Try, FaultSpan, float]]:
    for send, attempt, flood in _beside(evidence):
        session = evidence.sessions[attempt.invoke.c]
        answered = evidence.end if attempt.answer is None else attempt.answer.t
        waited = min(answered, session.ends) - attempt.invoke.t
        if waited > PROMPT_SECONDS:
            yield send, attempt, flood, waited


def _beside(evidence: Evidence) -> Iterator[tuple[Send, Try, FaultSpan]]:
    """Yield what was tried at a server while it was flooded, and nothing else was wrong."""
    floods = [each for each in evidence.faults if each.name.startswith(FLOOD_PREFIX)]
    others = [each for each in evidence.faults if each not in floods]
    if not floods:
        return
    for send in evidence.sends.values():
        for attempt in send.tries:
            at, session = attempt.invoke.t, evidence.sessions.get(attempt.invoke.c)
            flood = next((each for each in floods if each.start <= at <= each.stop), None)
            if (
                flood is not None
                and session is not None
                and session.connect.url == flood.detail
                and not any(o.start <= at <= o.stop + HEALING_SECONDS for o in others)
            ):
                yield send, attempt, flood
