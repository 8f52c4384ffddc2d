"""A page of a conversation is all there is between its ends, and nothing else: I18."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from landline_verify.checker.checks.calm import HEALING_SECONDS
from landline_verify.checker.checks.marks import FRESH_SECONDS
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import Ask, Paged, Said


def whole_pages(evidence: Evidence) -> Iterator[Violation]:
    """I18: a page has the events of the log between its ends that its reader may see, in order.

    The next older page joins it without a gap. The newest one has what was accepted long before.
    """
    timelines: dict[tuple[str, str], list[Said]] = {}
    for at, page in evidence.paged:
        asked = evidence.asks.get((page.c, page.request))
        conversation = evidence.dumped.fold.conversations.get(page.conversation)
        if asked is None or conversation is None:
            yield Violation(
                "I18", f"a page of {page.conversation} that nobody can have asked for", (at,)
            )
            continue
        key = (page.user, page.conversation)
        if key not in timelines:
            timelines[key] = conversation.visible_to(page.user)
        # Whoever is in it no more in the end: what they might see then is in what they could see.
        events = timelines[key] or conversation.events
        yield from _compare(evidence, at, page, asked, events, is_known=bool(timelines[key]))


def _compare(
    evidence: Evidence,
    at: int,
    page: Paged,
    asked: tuple[int, Ask],
    events: list[Said],
    *,
    is_known: bool,
) -> Iterator[Violation]:
    asked_at, ask = asked
    shown = [offset for _, offset, _ in page.messages]
    if shown != sorted(set(shown)):
        yield Violation("I18", f"a page of {page.conversation} is out of order", (asked_at, at))
        return
    places = [each.offset for each in events]
    first, last = page.first, page.last
    if ask.before is not None:
        last = ask.before - 1  # what is behind this page is known to its reader
    elif is_known:
        yield from _left_out(evidence, asked_at, at, page, events[bisect_right(places, last) :])
    if page.complete:
        first = 0
    there = events[bisect_left(places, first) : bisect_right(places, last)]
    wanted, found = {each.id for each in there}, {id for id, _, _ in page.messages}
    for each in there:
        if is_known and each.id not in found:
            yield evidence.messages[each.id].violates(
                "I18",
                f"{page.user} was shown {page.first} to {page.last} of {page.conversation}"
                " without it",
                asked_at,
                at,
            )
    for id, offset, _ in page.messages:
        if id not in wanted:
            yield evidence.messages[id].violates(
                "I18",
                f"{page.user} was shown it at {offset} of {page.conversation}, where the log does"
                " not have it",
                asked_at,
                at,
            )


def _left_out(
    evidence: Evidence, asked_at: int, at: int, page: Paged, later: list[Said]
) -> Iterator[Violation]:
    """Find what the newest page does not reach, though it had been accepted long before."""
    asked = evidence.events[asked_at].t
    for event in later:
        message = evidence.messages[event.id]
        if not message.oks:
            continue
        accepted_at, ok = message.oks[0]
        if evidence.stalls.after(ok.t, FRESH_SECONDS) < asked and not any(
            each.start <= asked and each.stop + HEALING_SECONDS >= ok.t for each in evidence.faults
        ):
            yield message.violates(
                "I18",
                f"{page.user} was shown the newest of {page.conversation} up to {page.last} without"
                f" it, {asked - ok.t:.0f} s after it was accepted",
                accepted_at,
                asked_at,
                at,
            )
