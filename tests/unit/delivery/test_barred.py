"""Sends that must not be appended: never in the log, and never a lie about an earlier try."""

from typing import Any

import pytest

from landline.config.limits import MESSAGES_BURST, Limits
from landline.delivery import decisions as d
from landline.delivery.flights import Bar
from landline.delivery.sends import SLOW_SECONDS
from landline.model import NotAppended
from landline.protocol.client_frames import Send
from landline.protocol.codes import ErrorCode
from support.bench import APPENDS, Bench, alice_and_bob

FORBIDDEN = Bar(ErrorCode.FORBIDDEN, "you may not")
UNANSWERED = Bar(ErrorCode.BUSY, "nobody knows")
# What a user may send at once, where a message a second is the limit.
BURST = int(MESSAGES_BURST)


@pytest.fixture
def bench() -> Bench:
    return alice_and_bob()


def bar(bench: Bench, why: Bar = FORBIDDEN, **fields: Any) -> None:
    bench.heart.send("a", Send("bob", "text", "r", **fields), why)
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
    send = Send("bob", "text", "r")
    held = bench.heart.hold("a", send)
    assert held is not None
    bench.wait(waited_seconds)
    bench.heart.let_go(held)
    bench.clock.now += 0.001  # some time goes by between two calls, always
    bench.heart.send("a", send, None, held.since)
    bench.append()
    assert bench.has(d.ConfirmPosition) == bool(waited_seconds)


def test_a_session_that_is_not_read_is_not_certainly_there(bench: Bench) -> None:
    """Its end would not be read. So while the store is away the sweep pushes, not we."""
    bench.deliver("a", "bob", ref="r", seconds=SLOW_SECONDS + 0.1)
    bench.heart.reading("a", False)
    bench.confirm(None)
    bench.take()
    assert bench.of("a", "accepted")
    assert not bench.of("b", "message")


@pytest.mark.parametrize(("why", "code"), [(FORBIDDEN, "forbidden"), (UNANSWERED, "busy")])
def test_without_others_a_repeat_that_is_not_there_never_will_be(why: Bar, code: str) -> None:
    bench = alice_and_bob(has_others=False)
    bar(bench, why, retry=True)
    bench.find(None)
    assert said(bench) == [(code, "rejected", "r")]
    assert bench.heart.flight_count == 0


def test_without_others_too_an_append_without_an_answer_may_come_late() -> None:
    bench = alice_and_bob(has_others=False)
    bench.send("a", "bob", ref="r")
    bench.append(NotAppended(False, "the disk hangs"))
    bar(bench, retry=True)
    bench.find(None)
    assert said(bench)[-1] == ("forbidden", "unknown", "r")


def test_without_others_too_what_is_held_may_be_appended_yet() -> None:
    """It may not be known yet whether it may, while an older answer forbids the same message."""
    bench = alice_and_bob(has_others=False)
    assert bench.heart.hold("a", Send("bob", "text", "r"))
    bar(bench)
    bar(bench, retry=True)
    bench.find(None)
    assert [outcome for _, outcome, _ in said(bench)] == ["unknown", "unknown"]


def test_what_is_on_its_way_or_accepted_is_never_called_rejected(bench: Bench) -> None:
    """Though the same message comes again without `retry`, and its sender may not write by now."""
    bench.send("a", "bob", ref="r")
    bar(bench)
    bench.append()
    bar(bench)
    bench.heart.refuse_sends("the log is away")
    bench.send("a", "bob", ref="r")
    assert not said(bench)
    assert bench.got("a", "offset", "accepted") == [0, 0, 0, 0]


def test_who_is_too_fast_with_what_is_on_its_way_is_not_told_that_it_is_rejected() -> None:
    bench = alice_and_bob(limits=Limits(messages=1))
    for _ in range(BURST + 1):
        bench.send("a", "bob", ref="r")
    bench.append()
    bench.send("a", "bob", ref="r")
    bench.send("a", "bob", ref="another")
    too_fast = [("too_fast", "unknown", "r")] * 2 + [("too_fast", "rejected", "another")]
    assert said(bench) == too_fast
    assert len(bench.of("a", "accepted")) == BURST


def test_what_is_refused_as_the_log_is_away_is_not_counted() -> None:
    """Its sender has to send it again, and is not to wait for that any longer than the log."""
    bench = alice_and_bob(limits=Limits(messages=1))
    bench.heart.refuse_sends("the log is away")
    for number in range(10):
        bench.send("a", "bob", ref=f"{number}")
    assert {code for code, _, _ in said(bench)} == {"busy"}
    bench.heart.refuse_sends(None)
    for number in range(BURST):
        bench.send("a", "bob", ref=f"{number}")
    assert {code for code, _, _ in said(bench)} == {"busy"}, "none is too fast"


def test_a_barred_repeat_is_not_allowed_by_one_that_nobody_has_asked_about(bench: Bench) -> None:
    bar(bench, retry=True)
    assert bench.heart.hold("a", Send("bob", "text", "r"))
    bench.find(None)
    assert not bench.has(APPENDS)
    assert said(bench) == [("forbidden", "unknown", "r")]


def test_a_request_is_never_certainly_here(bench: Bench) -> None:
    """That its client has left may not be seen. So while the store is away the sweep pushes."""
    bench.heart.begin_post("p", "alice")
    bench.heart.send("p", Send("bob", "text", "r"))
    bench.wait(SLOW_SECONDS + 0.1)
    bench.append()
    bench.confirm(None)
    assert bench.of("p", "accepted")
    assert not bench.of("b", "message")
