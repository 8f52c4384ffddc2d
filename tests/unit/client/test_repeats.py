"""Sends that the server could not take: in line, one first, and more slowly each time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.client import Acceptance, repeats
from landline.client.outbox import Draft
from landline.client.reconnecting import LONGEST_ASKED_SECONDS
from landline.client.repeats import (
    FIRST_REPEAT_SECONDS,
    LAST_REPEAT_SECONDS,
    RepeatLines,
    UnansweredSend,
    repeat_delay,
)
from support.waiting import until


class Line:
    """Repeats, those that were let through, and the timers' delays; time passes by `pass_time`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.through: list[UnansweredSend] = []
        self.repeats = RepeatLines(self.through.append)
        self.delays: list[float] = []
        monkeypatch.setattr(repeats, "repeat_delay", self._delay)

    def _delay(self, refusals: int, asked_seconds: float = 0.0) -> float:
        self.delays.append(repeat_delay(refusals, asked_seconds))
        return 0.0

    async def next(self, count: int, *, are_written: bool = True) -> list[UnansweredSend]:
        """Return those that are let through next, in order."""
        await until(lambda: len(self.through) >= count, f"{count} are let through")
        taken, self.through[:] = self.through[:], []
        if are_written:
            assert not any(map(self.repeats.holds_back, taken))
        return taken


def a_send(place: int, to: str = "bob") -> UnansweredSend:
    answer: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
    return UnansweredSend(Draft(f"r{place}", to, "hello"), answer, place)


async def test_one_is_tried_first_and_then_more_and_in_the_order_of_the_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line(monkeypatch)
    one, two, three, four, five = (a_send(place) for place in range(5))
    for flying in (two, one, three):  # refused in any order
        line.repeats.refused(flying)
    assert line.repeats.holds_back(five)
    assert line.repeats.holds_back(four)
    assert await line.next(1) == [one]
    line.repeats.refused(one)
    assert await line.next(1) == [one]
    line.repeats.answered(one)
    assert await line.next(2) == [two, three]
    line.repeats.answered(two)
    line.repeats.answered(three)
    assert await line.next(2) == [four, five]
    for last in (four, five):
        line.repeats.answered(last)
    assert not line.repeats.holds_back(a_send(6))
    assert len(line.delays) == 2  # not one for each that was refused


async def test_what_was_tried_before_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks for it in the log, and what is new would overtake it meanwhile."""
    line = Line(monkeypatch)
    one, two, three, four = (a_send(place) for place in range(4))
    one.is_uncertain = two.is_uncertain = True
    for send in (one, two, three, four):
        assert line.repeats.holds_back(send)
    assert await line.next(2) == [one, two]
    line.repeats.answered(two)
    assert not line.through
    line.repeats.answered(one)
    assert await line.next(2) == [three, four]
    for send in (three, four):
        line.repeats.answered(send)
    assert not line.repeats.holds_back(a_send(5))


@pytest.mark.parametrize("is_late", [False, True])
async def test_what_was_let_through_behind_one_that_is_refused_waits_again(
    is_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not written yet: written later, it would be accepted before the other. `is_late`: the
    socket takes nothing until the first is tried again.
    """
    line = Line(monkeypatch)
    one, two, three, four = (a_send(place) for place in range(4))
    line.repeats.refused(one)
    assert all(map(line.repeats.holds_back, (two, three, four)))
    assert await line.next(1) == [one]
    line.repeats.answered(one)
    unwritten = await line.next(2, are_written=False)
    assert unwritten == [two, three]
    assert not line.repeats.holds_back(two)
    line.repeats.refused(two)
    if not is_late:
        assert line.repeats.holds_back(three)
    assert await line.next(1) == [two]
    assert line.repeats.holds_back(three)
    line.repeats.answered(two)
    assert await line.next(2) == [three, four]


@pytest.mark.parametrize("place", ["waiting", "let through", "tried"])
async def test_one_that_is_answered_keeps_nobody_waiting_wherever_it_was(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers twice, first that it is busy, does not stop the line."""
    line = Line(monkeypatch)
    one, two = a_send(0), a_send(1)
    line.repeats.refused(one)
    if place == "waiting":
        line.repeats.answered(one)
        assert line.repeats.holds_back(two)
    else:
        assert line.repeats.holds_back(two)
        assert await line.next(1, are_written=place == "tried") == [one]
        line.repeats.answered(one)
    assert await line.next(1) == [two]
    line.repeats.answered(two)
    assert not line.repeats.holds_back(a_send(2))


async def test_the_others_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)
    line.repeats.refused(a_send(0, "bob"))
    assert line.repeats.holds_back(a_send(1, "bob"))
    assert not line.repeats.holds_back(a_send(2, "carol"))


async def test_a_new_connection_begins_with_nobody_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)
    line.repeats.refused(a_send(0))
    line.repeats.clear()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not line.through
    assert not line.repeats.holds_back(a_send(1))


async def test_it_goes_on_more_slowly_while_only_some_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that takes one and refuses the next is asked for one at a time."""
    line = Line(monkeypatch)
    for place in range(10):
        line.repeats.refused(a_send(place))
    for _ in range(8):
        first, *_ = await line.next(1)
        line.repeats.answered(first)
        for refused in await line.next(1):
            line.repeats.refused(refused)
    assert len(line.delays) == 9


@given(st.integers(1, 10_000), st.floats(0, 1e9))
def test_a_delay_grows_up_to_the_longest_and_is_what_was_asked_for_at_least(
    refusals: int, asked: float
) -> None:
    ceiling = min(LAST_REPEAT_SECONDS, FIRST_REPEAT_SECONDS * 2 ** min(refusals - 1, 20))
    delay = repeat_delay(refusals, asked) - min(asked, LONGEST_ASKED_SECONDS)
    assert ceiling / 2 - 1e-9 <= delay <= ceiling + 1e-9
