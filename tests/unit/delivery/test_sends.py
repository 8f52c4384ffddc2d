"""Sends: each has one answer, a repeat the position that won, and the log is not flooded."""

import pytest

from landline.delivery import decisions as d
from landline.delivery import flights
from landline.delivery.sends import SLOW_SECONDS
from landline.model import Appended, NotAppended, Position
from support.bench import APPENDS, ASKS, Bench, alice_and_bob

SLOW = SLOW_SECONDS + 0.01
LOST = NotAppended(certain=False, reason="no answer")
REFUSED = NotAppended(certain=True, reason="the log is behind")


@pytest.fixture
def bench() -> Bench:
    return alice_and_bob()


def test_nothing_is_answered_or_pushed_before_the_log_has_answered(bench: Bench) -> None:
    bench.send("a", "bob", ref="r")
    assert not bench.of("a", "accepted")
    assert not bench.of("b", "message")
    bench.append()
    assert bench.of("a", "accepted")[0]["ref"] == "r"
    assert bench.of("b", "message")[0]["id"] == bench.of("a", "accepted")[0]["id"]
    assert bench.has(d.RouteMessage)


def test_a_message_without_a_ref_gets_a_fresh_id_each_time(bench: Bench) -> None:
    for _ in range(2):
        bench.deliver("a", "bob")
    first, second = bench.of("a", "accepted")
    assert first["id"] != second["id"]
    assert "ref" not in first


@pytest.mark.parametrize(
    ("result", "retry", "code", "outcome"),
    [
        (REFUSED, False, "busy", "rejected"),
        (LOST, False, "unavailable", "unknown"),
        (REFUSED, True, "unavailable", "unknown"),  # an earlier try may be in the log
        (LOST, True, "unavailable", "unknown"),
    ],
)
def test_the_fate_of_a_send(
    bench: Bench, result: NotAppended, retry: bool, code: str, outcome: str
) -> None:
    bench.send("a", "bob", ref="r", retry=retry)
    if retry:
        bench.find(None)
    bench.append(result)
    (error,) = bench.of("a", "error")
    assert (error["code"], error["outcome"], error["ref"]) == (code, outcome, "r")
    assert not bench.of("b", "message")


def test_the_work_goes_on_when_the_sender_has_left(bench: Bench) -> None:
    bench.send("a", "bob")
    bench.heart.disconnect("a")
    bench.append()
    assert len(bench.of("b", "message")) == 1


def test_after_its_sender_has_left_a_message_with_a_ref_is_confirmed_first(bench: Bench) -> None:
    bench.send("a", "bob", ref="r")
    bench.heart.disconnect("a")
    appended = bench.append()
    assert isinstance(appended, Appended)
    assert not bench.of("b", "message")
    bench.heart.position_confirmed(bench.pop(d.ConfirmPosition).flight, appended)
    assert len(bench.of("b", "message")) == 1


def test_a_repeat_that_is_in_the_log_is_answered_with_the_original(bench: Bench) -> None:
    bench.send("a", "bob", ref="r", retry=True)
    found = Appended(Position(0, 42), 1_000)
    bench.heart.original_found(bench.pop(d.FindOriginal).flight, found)
    (accepted,) = bench.of("a", "accepted")
    assert (accepted["offset"], accepted["time"]) == (42, "1970-01-01T00:00:01.000Z")
    assert not bench.of("b", "message")
    assert not bench.has(APPENDS)


def test_a_repeat_that_is_not_in_the_log_is_appended_and_confirmed(bench: Bench) -> None:
    bench.send("a", "bob", ref="r", retry=True)
    bench.find(None)
    appended = bench.append()
    assert isinstance(appended, Appended)
    assert not bench.of("a", "accepted")
    confirm = bench.pop(d.ConfirmPosition)
    assert confirm.position == appended.position
    bench.heart.position_confirmed(confirm.flight, appended)
    assert len(bench.of("a", "accepted")) == len(bench.of("b", "message")) == 1


def test_a_repeat_that_was_overtaken_takes_the_others_position(bench: Bench) -> None:
    bench.send("a", "bob", ref="r", retry=True)
    bench.find(None)
    bench.end = 9
    bench.append()
    bench.confirm(4)
    assert bench.of("a", "accepted")[0]["offset"] == 4
    assert not bench.of("b", "message"), "the server that appended the original pushes it"


def test_a_store_that_does_not_answer_leaves_a_repeat_unknown(bench: Bench) -> None:
    bench.send("a", "bob", ref="r", retry=True)
    bench.heart.original_unknown(bench.pop(d.FindOriginal).flight, "no answer")
    assert bench.of("a", "error")[0]["outcome"] == "unknown"


def test_the_same_send_twice_at_once_is_one_append(bench: Bench) -> None:
    for _ in range(3):
        bench.send("a", "bob", ref="r")
    bench.append()
    first, *others = bench.of("a", "accepted")
    assert others == [first, first]
    assert not bench.has(APPENDS)
    bench.send("a", "bob", ref="r")
    assert bench.of("a", "accepted") == [first] * 4
    assert not bench.has(APPENDS)


def test_a_repeat_that_joins_its_original_learns_which_position_won(bench: Bench) -> None:
    bench.send("a", "bob", ref="r")
    bench.send("a", "bob", ref="r", retry=True)
    bench.end = 9
    bench.append()
    assert not bench.of("a", "accepted"), "another server may have been faster"
    bench.confirm(4)
    assert bench.got("a", "offset", "accepted") == [4, 4]
    assert not bench.of("b", "message"), "the server that appended the original pushes it"


def test_what_only_the_log_has_said_is_no_answer_to_a_repeat(bench: Bench) -> None:
    bench.end = 9
    bench.deliver("a", "bob", ref="r")
    for _ in range(2):  # the second answer is remembered
        bench.send("a", "bob", ref="r", retry=True)
        if bench.has(d.FindOriginal):
            original = Appended(Position(0, 4), 0)
            bench.heart.original_found(bench.pop(d.FindOriginal).flight, original)
    assert bench.got("a", "offset", "accepted") == [9, 4, 4]
    assert not bench.has(d.FindOriginal)


def test_too_many_flights_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "FLIGHTS", 2)
    for ref in ("r1", "r2", "r3"):
        bench.send("a", "bob", ref=ref)
    (error,) = bench.of("a", "error")
    assert (error["code"], error["outcome"], error["ref"]) == ("busy", "rejected", "r3")
    bench.append()
    bench.send("a", "bob", ref="r3")
    assert len(bench.of("a", "error")) == 1


@pytest.mark.parametrize(("count", "size", "answers"), [(128, 4, 64), (16, 16_384, 9)])
def test_a_session_with_many_or_large_sends_in_flight_is_not_read_further(
    bench: Bench, count: int, size: int, answers: int
) -> None:
    """Its own memory is the smaller matter: a commit of 4 MiB makes everybody wait."""
    for number in range(count):
        bench.send("a", "bob", ref=f"r{number}", content="x" * size)
    assert bench.pop(d.PauseReading) == d.PauseReading("a")
    for _ in range(answers):
        assert not bench.has(d.ResumeReading)
        bench.append()
    assert bench.pop(d.ResumeReading) == d.ResumeReading("a")


def test_sends_that_are_refused_never_reach_the_log(bench: Bench) -> None:
    """The store is too far behind: `busy` for a first try, `unknown` for a repeat."""
    bench.join("a", "alice")
    bench.heart.refuse_sends("the store is too far behind")
    bench.send("a", "bob", ref="1")
    bench.send("a", "bob", ref="2", retry=True)
    assert not bench.has(APPENDS)
    assert not bench.has(ASKS)
    first, repeat = bench.of("a", "error")
    assert (first["code"], first["outcome"], first["ref"]) == ("busy", "rejected", "1")
    assert (repeat["code"], repeat["outcome"], repeat["ref"]) == ("unavailable", "unknown", "2")
    bench.heart.refuse_sends(None)
    bench.deliver("a", "bob", ref="1")
    assert bench.of("a", "accepted")[0]["ref"] == "1"
