"""A session that is too fast: how long it has nothing taken."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landline.config.limits import Limits
from landline.delivery.intake import TOO_FAST_SECONDS, Intake
from landline.delivery.rates import Rates

STEP = 1e-6
LIMITS = st.builds(Limits, messages=st.floats(0.5, 50), bytes=st.floats(500, 50_000))
# Pauses and sizes.
SENDS = st.lists(st.tuples(st.floats(0, 0.6), st.integers(1, 16_384)), min_size=1, max_size=60)


class Session:
    """One of a user, who is limited so."""

    def __init__(self, limits: Limits) -> None:
        self.rates = Rates(limits)
        self.intake = Intake()

    def take(self, size_bytes: int, now: float) -> float:
        wait = self.intake.pace(self.rates.missing("alice", size_bytes, now), now)
        if not wait:
            self.rates.take("alice", size_bytes, now)
        return wait

    def refusals(self, sends: list[tuple[float, int]]) -> Iterator[tuple[float, float]]:
        """Send all. Yields when each was sent, and how long it has to wait, 0.0: it was taken."""
        now = 0.0
        for pause, size_bytes in sends:
            now += pause
            yield now, self.take(size_bytes, now)


@given(LIMITS, SENDS)
def test_what_is_behind_the_first_that_is_refused_is_refused_for_a_while(
    limits: Limits, sends: list[tuple[float, int]]
) -> None:
    """Until the first may come again, and for half a second at least, whatever the limit."""
    until = float("-inf")
    for now, wait in Session(limits).refusals(sends):
        if now < until:
            assert now + wait >= until - STEP
        elif wait:
            assert wait >= TOO_FAST_SECONDS - STEP
        until = max(until, now + wait) if wait else until


@given(LIMITS, SENDS)
def test_who_waits_as_they_were_told_last_is_not_refused_again(
    limits: Limits, sends: list[tuple[float, int]]
) -> None:
    session, now = Session(limits), 0.0
    for pause, size_bytes in sends:
        now += pause
        if wait := session.take(size_bytes, now):
            now += wait + STEP
            assert session.take(size_bytes, now) == 0.0


@settings(max_examples=20)
@given(st.floats(1, 50), st.integers(2, 10))
def test_over_a_minute_as_much_passes_as_is_allowed(rate: float, times: int) -> None:
    """Within a twentieth, also of those who never wait."""
    session = Session(Limits(messages=rate))
    count = int(60 * rate * times)
    sends = [(1 / (rate * times), 1)] * count
    passed = sum(not wait for _now, wait in session.refusals(sends))
    assert rate * 60 * 0.95 - 2 <= passed <= rate * 62 * 1.05 + 2


def test_another_session_of_the_same_user_does_not_wait_for_it() -> None:
    first, second = Session(Limits(bytes=1_000)), Session(Limits(bytes=1_000))
    second.rates = first.rates
    assert first.take(7_900, 0.0) == 0.0
    assert first.take(2_000, 0.0) == pytest.approx(1.9)
    assert first.take(1, 0.1) == pytest.approx(1.8)
    assert second.take(1, 0.1) == 0.0


def test_who_is_never_too_fast_never_waits() -> None:
    waits = list(Session(Limits(messages=20)).refusals([(0.05 + STEP, 100)] * 200))
    assert not any(wait for _now, wait in waits)
    assert all(later > now for (now, _), (later, _) in pairwise(waits))
