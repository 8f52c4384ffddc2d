"""Connected users hear what is new although the store is away, however long: I2c."""

from collections import defaultdict
from collections.abc import Iterator
from math import inf
from typing import Final

from landline_verify.checker.checks.calm import HEALING_SECONDS, STORE
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.excuses import FaultSpan
from landline_verify.checker.messages import Message, Send
from landline_verify.checker.sessions import Session
from landline_verify.checker.verdict import Violation

# A session that has not caught up in 5 s is given live messages all the same. A message appended
# just before that is replayed; its `ok` may come a second later, on a busy machine another one.
CATCHING_UP_SECONDS: Final = 8.0
# It takes milliseconds. Under load, on a machine that does other things too, that is much longer.
LIVE_SECONDS: Final = 5.0
# A send that took longer met a log that was not healthy.
_SWIFT_SECONDS: Final = 1.0
# Pauses of the clients so near to a send may have been the whole machine's.
_NEAR_SECONDS: Final = 1.0
_CLIENTS: Final = ("client",)
_DIRECTORY: Final = ("redis", "routing")
_NOTHING_TO_DO: Final = (*STORE, "clock", "user", "flood")


def live_without_store(evidence: Evidence) -> Iterator[Violation]:
    """I2c: while only the store is away, what is accepted reaches users connected for 8 s."""
    for message, send, at, until, session in _watched(evidence):
        if any(recv.c == session.connect.c and recv.t <= until for _, recv in message.recvs):
            continue
        yield message.violates(
            "I2c",
            f"the store was away, {send.to} had been connected for"
            f" {evidence.events[at].t - session.connect.t:.0f} s and was not given it in"
            f" {LIVE_SECONDS:.0f} s",
            send.at,
            at,
            session.at,
        )


def is_watched(evidence: Evidence) -> bool:
    """Say whether anybody was written to while only the store was away."""
    return next(_watched(evidence), None) is not None


def _watched(evidence: Evidence) -> Iterator[tuple[Message, Send, int, float, Session]]:
    away = [each for each in evidence.faults if each.name.startswith(STORE)]
    if not away:
        return
    waits_for_room = _Waits(evidence)
    for message, send, at, ok in evidence.accepted:
        if not send.is_direct:
            continue
        # Nobody knows where a repeat was accepted, and the sweep delivers what was not pushed then.
        if len(send.tries) > 1 or ok.t - send.tries[0].invoke.t > _SWIFT_SECONDS:
            continue
        if waits_for_room(send.tries[0].at, ok.c):
            continue
        until = evidence.stalls.after(ok.t, LIVE_SECONDS)
        if not any(each.start <= ok.t and until <= each.stop for each in away):
            continue
        if evidence.stalls.between(send.tries[0].invoke.t - _NEAR_SECONDS, ok.t + _NEAR_SECONDS):
            continue  # the servers ask Redis with short deadlines, and may have stood still too
        if evidence.lost_hints(ok.c, send.tries[0].invoke.t - _NEAR_SECONDS, until):
            continue  # Redis was late: the sweep delivers, once the store is back
        if evidence.had_auto_session(send.to, send.at, None):
            continue  # it may have been lost with a connection, and counts as delivered
        for session in evidence.sessions_of.get(send.to, ()):
            if _has_to_hear(evidence, session, ok.t, until):
                yield message, send, at, until, session
                break


class _Waits:
    """Says whether something that a session has asked of a room waits for its answer, at an event.

    Who is in a room the store says. What the session sends behind that waits too, and a server that
    took it late asks the store whether it was repeated elsewhere before it pushes it.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._waits: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for send in evidence.sends.values():
            for each in send.tries if not send.is_direct else ():
                answered_at = inf if each.answered_at is None else each.answered_at
                self._waits[each.invoke.c].append((each.at, answered_at))

    def __call__(self, at: int, c: str) -> bool:
        return any(begin < at < end for begin, end in self._waits[c])


def _has_to_hear(evidence: Evidence, session: Session, since: float, until: float) -> bool:
    began = session.connect.t
    return (
        evidence.stalls.after(began, CATCHING_UP_SECONDS) <= since
        and session.ends >= until
        and not session.is_nearly_full(began, until)
        and not any(_disturbs(each, began, since, until) for each in evidence.faults)
    )


def _disturbs(fault: FaultSpan, began: float, since: float, until: float) -> bool:
    """Say whether a fault may keep a session from hearing, other than by taking the store away.

    A session's entry in the directory may be lost with it, until it is written again or another
    session begins.
    """
    if fault.name.startswith(_NOTHING_TO_DO):
        return False
    healing = 0.0 if fault.name.startswith(_CLIENTS) else HEALING_SECONDS
    healed_at = began if fault.name.startswith(_DIRECTORY) else since
    return fault.start <= until and fault.stop + healing >= healed_at
