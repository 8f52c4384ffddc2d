"""How far people have seen conversations, and how much they have not: I17."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import inf
from typing import Final

from landline_verify.checker.checks.calm import HEALING_SECONDS
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import Listed, Marked, ReadRecord

# Beyond that unread events are not counted, and no more of the newest events are looked at.
UNREAD: Final = 100
UNREAD_EVENTS: Final = 1_000
# What was told so long before a question is in its answer, while all is well.
FRESH_SECONDS: Final = 5.0

_Key = tuple[str, str]  # user and conversation


def honest_marks(evidence: Evidence) -> Iterator[Violation]:
    """I17: a mark that is told was set by that user before, and a user's own is in the log.

    A list never has a mark that is behind one that was listed or told to the user long before, and
    what it counts as unread is what the log has behind the mark, without what is the user's own.
    """
    yield from _told(evidence)
    yield from _listed(evidence)
    if evidence.has_log:
        yield from _counted(evidence)


def _told(evidence: Evidence) -> Iterator[Violation]:
    steps: defaultdict[_Key, list[tuple[int, int]]] = defaultdict(list)  # index and furthest mark
    for at, mark in evidence.marks:
        known = steps[mark.user, mark.conversation]
        known.append((at, max(mark.offset, known[-1][1] if known else 0)))
    logged: defaultdict[_Key, int] = defaultdict(int)
    for _, record in evidence.dumped.records:
        if not isinstance(record, ReadRecord):
            continue
        for user, offset in record.entries:
            logged[user, record.conversation] = max(offset, logged[user, record.conversation])
    for at, told in evidence.marked:
        for user, offset in told.entries:
            if user not in evidence.users:
                continue
            key = (user, told.conversation)
            before = bisect_right(steps[key], (at, 0))
            furthest = steps[key][before - 1][1] if before else -1
            where = f"in {told.conversation}"
            if offset > furthest:
                yield Violation(
                    "I17", f"{user} is said to have seen {offset} {where} and never said so", (at,)
                )
            elif evidence.has_log and user == told.user and offset > logged[key]:
                yield Violation(
                    "I17", f"{user} was told their mark {offset} {where}; the log has none", (at,)
                )


def _listed(evidence: Evidence) -> Iterator[Violation]:
    """A mark that was listed or told stays."""
    known: defaultdict[_Key, list[tuple[int, int]]] = defaultdict(list)  # index and furthest mark
    events: list[tuple[int, Marked | Listed]] = [*evidence.marked, *evidence.listed]
    for at, event in sorted(events, key=lambda each: each[0]):
        asked = evidence.asks.get((event.c, event.request)) if isinstance(event, Listed) else None
        for conversation, offset in _own_marks(event):
            before = known[event.user, conversation]
            if asked is not None:
                seen = _seen(evidence, before, asked[0])
                if (
                    seen is not None
                    and seen[1] > offset
                    and not _is_excused(evidence, seen[0], asked[0], event.user, conversation)
                ):
                    yield Violation(
                        "I17",
                        f"{event.user} had seen {seen[1]} in {conversation}, and {offset} was"
                        " listed later",
                        (seen[0], asked[0], at),
                    )
            before.append((at, max(offset, before[-1][1]) if before else offset))


def _own_marks(event: Marked | Listed) -> list[tuple[str, int]]:
    if isinstance(event, Listed):
        return [(conversation, read) for conversation, _, read, _ in event.items]
    return [(event.conversation, offset) for user, offset in event.entries if user == event.user]


def _seen(
    evidence: Evidence, known: Sequence[tuple[int, int]], asked_at: int
) -> tuple[int, int] | None:
    """Return the furthest mark that an answer has to have: one that was listed before its question,
    or told long before.
    """
    asked = evidence.events[asked_at].t
    for at, furthest in reversed(known):
        event = evidence.events[at]
        is_listed = isinstance(event, Listed) and at < asked_at
        if is_listed or evidence.stalls.after(event.t, FRESH_SECONDS) < asked:
            return at, furthest
    return None


def _is_excused(evidence: Evidence, at: int, asked_at: int, user: str, conversation: str) -> bool:
    """Say whether the store may be late, or the user has a mark of a new membership."""
    since, until = evidence.events[at].t, evidence.events[asked_at].t
    known = evidence.dumped.fold.conversations.get(conversation)
    return any(
        each.start <= until and each.stop + HEALING_SECONDS >= since for each in evidence.faults
    ) or (known is not None and any(each.left != inf for each in known.memberships(user)))


def _counted(evidence: Evidence) -> Iterator[Violation]:
    offsets: dict[str, list[int]] = {}
    for at, listed in evidence.listed:
        for conversation, last, read, unread in listed.items:
            known = evidence.dumped.fold.conversations.get(conversation)
            if known is None:
                yield Violation(
                    "I17", f"{conversation} is listed, the log has nothing of it", (at,)
                )
                continue
            places = offsets.setdefault(conversation, [each.offset for each in known.events])
            end = bisect_right(places, last)
            begin = max(bisect_right(places, read), end - UNREAD_EVENTS)
            if not end or places[end - 1] != last:
                yield Violation(
                    "I17", f"{conversation} is listed with {last} as its last event", (at,)
                )
                continue
            others = sum(each.sender != listed.user for each in known.events[begin:end])
            if unread != min(others, UNREAD):
                yield Violation(
                    "I17",
                    f"{listed.user} is told {unread} unread in {conversation} between {read} and"
                    f" {last}, where the log has {others}",
                    (at,),
                )
