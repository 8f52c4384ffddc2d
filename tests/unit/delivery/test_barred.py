"""Sends that must not be appended: never in the log, and never a lie about an earlier try."""

from typing import Any

import pytest

from landline.delivery import decisions as d
from landline.delivery.flights import Bar
from landline.delivery.sends import SLOW_SECONDS
from landline.protocol.client_frames import Send
from landline.protocol.codes import ErrorCode
from support.bench import APPENDS, Bench, alice_and_bob

FORBIDDEN = Bar(ErrorCode.FORBIDDEN, "you may not")
UNANSWERED = Bar(ErrorCode.BUSY, "nobody knows")


@pytest.fixture
def bench() -> Bench:
    return alice_and_bob()


def bar(bench: Bench, why: Bar = FORBIDDEN, **fields: Any) -> None:
    bench.heart.bar_send("a", Send("bob", "text", "r", **fields), why)
    bench.take()


def said(bench: Bench) -> list[tuple[str, str, str]]:
    """Return code, outcome and ref of each error that alice got."""
    return [(each["code"], each["outcome"], each["ref"]) for each in bench.of("a", "error")]


@pytest.mark.parametrize(("why", "code"), [(FORBIDDEN, "forbidden"), (UNANSWERED, "busy")])
def test_a_first_try_is_rejected_before_the_log(bench: Bench, why: Bar, code: str) -> None:
    bar(bench, why)
    assert said(bench) == [(code, "rejected", "r")]
    assert not bench.has(APPENDS)
    assert bench.heart.flight_count == 0
    assert bench.heart.counters.rejected == bench.heart.counters.errors[why.code] == 1


def test_a_repeat_whose_original_is_in_the_log_is_accepted(bench: Bench) -> None:
    """It was allowed then, and its sender has a right to know."""
    bar(bench, retry=True)
    assert not said(bench)
    bench.find(7)
    assert bench.got("a", "offset", "accepted") == [7]


@pytest.mark.parametrize(("why", "code"), [(FORBIDDEN, "forbidden"), (UNANSWERED, "unavailable")])
def test_a_repeat_that_is_not_there_is_unknown(bench: Bench, why: Bar, code: str) -> None:
    """Its original may be on its way still, through another server that had the old answer."""
    bar(bench, why, retry=True)
    bench.find(None)
    assert said(bench) == [(code, "unknown", "r")]
    assert not bench.has(APPENDS)
    assert bench.heart.flight_count == 0
    assert bench.heart.counters.unknown == 1


def test_a_repeat_of_what_is_on_its_way_has_the_same_answer(bench: Bench) -> None:
    bench.send("a", "bob", ref="r")
    bar(bench, retry=True)
    bench.append()
    bench.confirm(0)
    assert len(bench.of("a", "accepted")) == 2
    assert not said(bench)


def test_a_repeat_that_is_allowed_by_now_is_appended(bench: Bench) -> None:
    """Though it joins one that was not, and is only looked for."""
    bar(bench, retry=True)
    bench.send("a", "bob", ref="r", retry=True)
    bench.find(None)
    bench.append()
    bench.confirm(0)
    assert len(bench.of("a", "accepted")) == 2


def test_one_that_is_not_allowed_any_more_does_not_stop_one_that_was(bench: Bench) -> None:
    bench.send("a", "bob", ref="r", retry=True)
    bar(bench, retry=True)
    bench.find(None)
    assert bench.has(d.AppendMessage)


def test_a_server_that_drains_refuses_as_ever(bench: Bench) -> None:
    bench.heart.drain()
    bar(bench, retry=True)
    assert not said(bench), "the close that follows makes the client repeat"
    bar(bench)
    assert said(bench) == [("busy", "rejected", "r")]
    assert bench.heart.is_drained()


def test_a_bar_for_a_session_that_has_left_is_nothing(bench: Bench) -> None:
    bench.heart.disconnect("a")
    bar(bench)
    assert not bench.of("a", "error")


@pytest.mark.parametrize("waited_seconds", [0.0, SLOW_SECONDS + 0.1])
def test_a_send_that_waited_for_an_answer_may_be_overtaken(
    bench: Bench, waited_seconds: float
) -> None:
    """Its sender may have repeated it meanwhile through another server."""
    since = bench.clock.monotonic()
    bench.heart.hold("a")
    bench.wait(waited_seconds)
    bench.heart.release("a", since)
    bench.deliver("a", "bob", ref="r")
    assert bench.has(d.ConfirmPosition) == bool(waited_seconds)


def test_a_session_that_is_held_is_not_certainly_there(bench: Bench) -> None:
    """Its end would not be read. So while the store is away the sweep pushes, not we."""
    bench.deliver("a", "bob", ref="r", seconds=SLOW_SECONDS + 0.1)
    bench.heart.hold("a")
    bench.confirm(None)
    bench.take()
    assert bench.of("a", "accepted")
    assert not bench.of("b", "message")
