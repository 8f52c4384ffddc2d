"""The story of a message has every event that concerns it, and none of other people."""

from landline_verify.checker.check import check
from landline_verify.checker.verdict import Violation
from landline_verify.history import events as e
from landline_verify.report.story import tell
from support.histories import healthy
from support.room_tapes import ROOM, RoomTape


def lost_message() -> tuple[list[e.Event], e.Ok]:
    """Return a history without the deliveries of one message, and its ok."""
    events = healthy(2)
    ok = next(each for each in events if isinstance(each, e.Ok) and each.t > 5)
    return [x for x in events if not (isinstance(x, e.Recv) and x.id == ok.id)], ok


def test_a_lost_message_is_told_from_its_send_to_the_dumps() -> None:
    events, ok = lost_message()
    violation = next(each for each in check(events).violations if each.id == ok.id)
    story = tell(events, violation)
    expected = [
        f" ref={ok.ref} ",
        f" id={ok.id} conversation={ok.conversation} ",
        "nemesis      name=redis-flush phase=start",
        "row messages",
        "record message",
    ]
    assert [part for part in expected if not any(part in line for line in story)] == []
    assert sum(line.startswith(">") for line in story) == len(violation.events)
    assert not any(line.endswith(" ") or "\n" in line for line in story)


def test_others_are_not_in_it() -> None:
    events, ok = lost_message()
    violation = next(each for each in check(events).violations if each.id == ok.id)
    people = {ok.user, *ok.conversation.split(":")[1:]}
    others = {each.user for each in events if isinstance(each, e.Connect)} - people
    story = tell(events, violation)
    assert not [line for line in story if line.split()[2] in others]


def test_a_send_without_an_id_is_told_by_its_ref() -> None:
    events, ok = lost_message()
    at = next(n for n, x in enumerate(events) if isinstance(x, e.Invoke) and x.ref == ok.ref)
    violation = Violation("I12", "no answer", (at,), sender=ok.user, ref=ok.ref)
    assert any(f"id={ok.id}" in line for line in tell(events, violation))


def test_what_concerns_no_message_is_told_by_its_events() -> None:
    events, _ = lost_message()
    at = next(n for n, x in enumerate(events) if isinstance(x, e.Sample))
    (line,) = [x for x in tell(events, Violation("I14", "rss", (at,))) if x.startswith(">")]
    assert "what=rss:ws-1" in line


def test_pages_and_lists_are_told_in_few_words() -> None:
    tape = RoomTape()
    page, listed = tape.all(e.Paged)[0], tape.one(e.Listed, user="cid")
    hurt = page.messages[0][0]
    events = tuple(tape.events.index(each) for each in (page, listed))
    text = "\n".join(tell(tape.events, Violation("I18", "without it", events, hurt)))
    assert f"paged        request=page before None conversation={ROOM} messages={hurt}:" in text
    assert "listed       request=list of c-cid-None items=room:1:" in text
    assert max(map(len, text.splitlines())) < 400
