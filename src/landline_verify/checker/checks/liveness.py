"""The deployment stays bounded, comes back to life, and enough happened to tell: I14, I15, I16."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from landline_verify.checker.checks.calm import STORE, calm
from landline_verify.checker.checks.prompt import doubtful
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.fold import is_room
from landline_verify.checker.sessions import Session
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import AGAIN_CODES, Answer, Ok, Recv, Sample, Unknown

ALIVE_SECONDS: Final = 10.0
# Until each single send is answered for good, also in the conversation that was hit worst.
ANSWERED_SECONDS: Final = 20.0
WRITER_LAG_SECONDS: Final = 1.0
# Ids and receipts are remembered for a while. During a short run there are ever more of them.
RSS_SLACK: Final = 32 * 1024 * 1024
COUNT_SLACK: Final = 16
GROWTH: Final = 1.1
MIN_SAMPLES: Final = 10
MIN_OK: Final = 500
# Clients that stood still for more of the run than this cannot tell which server was late.
STALLED_SHARE: Final = 0.2
_SOME: Final = 3
_AFTER: Final = f"{ALIVE_SECONDS:.0f} s after a fault was over, or another part could stand in"


def bounded(evidence: Evidence) -> Iterator[Violation]:
    """I14: memory reaches a plateau; files and tasks are back to where they began in the end."""
    for what, samples in evidence.samples.items():
        kind = what.partition(":")[0]
        if kind == "rss" and len(samples) >= MIN_SAMPLES:
            plateau = max(sample.value for _, sample in samples[: len(samples) // 2])
            yield from _grown(what, plateau * GROWTH + RSS_SLACK, samples[-_SOME:])
        elif kind in ("fds", "tasks"):
            left = [each for each in samples if each[1].t >= evidence.end]
            yield from _grown(what, samples[0][1].value * GROWTH + COUNT_SLACK, left)


def _grown(what: str, limit: float, samples: Sequence[tuple[int, Sample]]) -> Iterator[Violation]:
    """Judge the lowest of some samples: one may have caught a peak that is about to go."""
    at, lowest = min(samples, key=lambda each: each[1].value, default=(0, None))
    if lowest is not None and lowest.value > limit:
        yield Violation(
            "I14", f"{what} is {lowest.value:.0f} in the end; up to {limit:.0f} was allowed", (at,)
        )


def live_again(evidence: Evidence) -> Iterator[Violation]:
    """I15: 10 s after the last fault every session is live, sends succeed, the writer is close.

    So it is after every other fault that is followed by 10 s without one, and in those during which
    another part can stand in.
    """
    for since, until in calm(evidence):
        yield from _alive_between(evidence, since, until)
    for since, until in calm(evidence, but=STORE):
        yield from _sends_fail_between(evidence, since, until)
    stuck = {
        session.connect.user: session
        for session in evidence.sessions.values()
        if _is_stuck(evidence, session, evidence.healed, evidence.end)
    }
    places: defaultdict[tuple[str, str], list[Session]] = defaultdict(list)
    for session in evidence.sessions.values():
        places[session.connect.user, session.connect.url].append(session)
    for (user, _), sessions in places.items():
        if user not in stuck and (came := _came_in_vain(evidence, sessions)) is not None:
            stuck[user] = came
    for user, session in stuck.items():
        yield Violation(
            "I15",
            f"{user} was not live {ALIVE_SECONDS:.0f} s after the last fault",
            (session.at,),
        )
    yield from _sends_fail(evidence)
    for what, samples in evidence.samples.items():
        if what.partition(":")[0] == "lag":
            late = [
                (at, sample)
                for at, sample in samples
                if sample.t > evidence.healed + ALIVE_SECONDS and sample.value >= WRITER_LAG_SECONDS
            ]
            if late:
                yield Violation(
                    "I15",
                    f"{what} was {late[0][1].value:.1f} s when all had been healed for "
                    f"{ALIVE_SECONDS:.0f} s",
                    (late[0][0],),
                )


def _alive_between(evidence: Evidence, since: float, until: float) -> Iterator[Violation]:
    due = evidence.stalls.after(since, ALIVE_SECONDS)
    if due > until:
        return
    for session in evidence.sessions.values():
        if _is_stuck(evidence, session, since, until):
            user = session.connect.user
            yield Violation("I15", f"{user} was not live {_AFTER}", (session.at,))
    for what, samples in evidence.samples.items():
        kind, _, server = what.partition(":")
        last = (
            [(at, each) for at, each in samples if due <= each.t <= until]
            if kind == "ready"
            else []
        )
        if len(last) >= _SOME and not any(each.value for _, each in last):
            yield Violation("I15", f"{server} was not ready {_AFTER}", (last[0][0],))


def _sends_fail_between(evidence: Evidence, since: float, until: float) -> Iterator[Violation]:
    tries = [
        each
        for send in evidence.sends.values()
        for each in send.tries
        if since <= each.invoke.t <= until
    ]
    first = min(tries, key=lambda each: each.at, default=None)
    if first is None or (latest := evidence.stalls.after(first.invoke.t, ALIVE_SECONDS)) > until:
        return
    if not any(isinstance(each.answer, Ok) and each.answer.t <= latest for each in tries):
        yield Violation("I15", f"no send succeeded until {_AFTER}", (first.at,))


def _is_stuck(evidence: Evidence, session: Session, since: float, end: float) -> bool:
    """Say whether a session had its time to become live, made no progress, and did not."""
    progress = [recv.t for _, recv in session.recvs if recv.replay and recv.t <= end][-1:]
    since = max([since, session.connect.t, *progress])
    until = evidence.stalls.after(since, ALIVE_SECONDS)
    if min(session.ends, end) < until:
        return False
    is_live = session.live is not None and session.live[1].t <= until
    return not is_live and not session.is_nearly_full(since, until)


def _came_in_vain(evidence: Evidence, sessions: Sequence[Session]) -> Session | None:
    """Return a user's first session of the final phase, if they came again and again in vain."""
    final = evidence.phases.get("final")
    if final is None:
        return None
    last = [each for each in sessions if each.connect.t >= max(final, evidence.healed)]
    if not last or any(each.live is not None for each in last):
        return None
    return last[0] if evidence.end - last[0].connect.t >= ALIVE_SECONDS else None


def _sends_fail(evidence: Evidence) -> Iterator[Violation]:
    """Soon one send succeeds, and a while later every one has its last answer."""
    later = [
        (send, [each for each in send.tries if each.invoke.t >= evidence.healed])
        for send in evidence.sends.values()
    ]
    later = [(send, tries) for send, tries in later if tries]
    if not later:
        return
    send, tries = min(later, key=lambda each: each[1][0].at)
    until = evidence.stalls.after(tries[0].invoke.t, ALIVE_SECONDS)
    answers = [each.answer for _, tries in later for each in tries if isinstance(each.answer, Ok)]
    if evidence.end >= until and not any(ok.t <= until for ok in answers):
        yield send.violates(
            "I15",
            f"no send succeeded within {ALIVE_SECONDS:.0f} s after all was healed",
            tries[0].at,
        )
        return
    for send, tries in later:
        until = evidence.stalls.after(tries[0].invoke.t, ANSWERED_SECONDS)
        if evidence.end >= until and not any(_is_last(each.answer, until) for each in tries):
            yield send.violates(
                "I15",
                f"not accepted within {ANSWERED_SECONDS:.0f} s after all was healed",
                tries[0].at,
            )


def _is_last(answer: Answer | None, until: float) -> bool:
    """Say whether a client asks no more."""
    is_open = isinstance(answer, Unknown) and answer.code in AGAIN_CODES
    return answer is not None and not is_open and answer.t <= until


def vacuous(evidence: Evidence) -> Iterator[str]:
    """I16: yield the reasons why this history, if nothing is wrong in it, still proves nothing."""
    for phase in ("final", "end"):
        if phase not in evidence.phases:
            yield f"the run stopped before its phase `{phase}`"
            break
    accepted = sum(len(message.oks) > 0 for message in evidence.messages.values())
    if accepted < MIN_OK:
        yield f"only {accepted} messages were accepted, {MIN_OK} are needed"
    stalled = evidence.stalls.between(0.0, evidence.end)
    if stalled > STALLED_SHARE * evidence.end:
        yield (
            f"the clients themselves stood still for {stalled:.0f} of {evidence.end:.0f} s: "
            "this machine is too busy"
        )
    yield from _absent(evidence)
    for what, complete in evidence.dumped.is_complete.items():
        if not complete:
            yield f"the {what} could not be read to its end"
    if evidence.reused_refs:
        yield f"a ref was used for two messages, {len(evidence.reused_refs)} times"
    yield from _untried(evidence)
    yield from _faultless(evidence)
    yield from doubtful(evidence)


def _absent(evidence: Evidence) -> Iterator[str]:
    final = evidence.phases.get("final", evidence.end)
    recipients = {send.to for send in evidence.sends.values() if send.is_direct}
    missing, once = [], []
    for user in sorted(recipients):
        sessions = evidence.sessions_of.get(user, [])
        if not evidence.is_live_at_last(user):
            missing.append(user)
        elif sessions[0].connect.t < final and sum(each.live is not None for each in sessions) < 2:
            once.append(user)
    if missing and "final" in evidence.phases:
        yield f"{_names(missing)} did not become live in the final phase"
    if once:
        yield f"{_names(once)} became live only once"


def _untried(evidence: Evidence) -> Iterator[str]:
    """What was asked for besides messages between two has to have happened."""
    options = {} if evidence.run is None else evidence.run.options
    if options.get("rooms"):
        if not any(is_room(message.conversation) for message, *_ in evidence.accepted):
            yield "nothing was accepted in a room"
        if not evidence.listed or not any(page.complete for _, page in evidence.paged):
            yield "nobody read a conversation to its beginning"
        if not evidence.marked:
            yield "nobody was told how far a conversation was seen"
    if options.get("devices") and not any(
        each.connect.device for each in evidence.sessions.values()
    ):
        yield "no device was connected"


def _names(users: Sequence[str]) -> str:
    more = f" and {len(users) - _SOME} more" if len(users) > _SOME else ""
    return ", ".join(users[:_SOME]) + more


def _faultless(evidence: Evidence) -> Iterator[str]:
    happened = Counter(each.name for each in evidence.faults)
    planned = Counter([] if evidence.run is None else evidence.run.options.get("faults") or [])
    for name, missing in (planned - happened).items():
        times = "" if planned[name] == 1 else f", {missing} of {planned[name]} times"
        yield f"the fault {name} was planned and did not happen{times}"
    if any(each.startswith(("kafka", "log", "disk")) for each in happened):
        doubtful = [
            send
            for send in evidence.sends.values()
            if any(each.answer is None or isinstance(each.answer, Unknown) for each in send.tries)
        ]
        if not any(send.id is not None for send in doubtful):
            yield "faults hit the log, but no send of unknown outcome was ever resolved"
    if "server-kill" in happened and not _redelivered(evidence):
        yield "a server was killed, but no message was delivered again"


def _redelivered(evidence: Evidence) -> bool:
    def sessions(recvs: Sequence[tuple[int, Recv]]) -> int:
        return len({recv.c for _, recv in recvs})

    return any(sessions(message.recvs) > 1 for message in evidence.messages.values())
