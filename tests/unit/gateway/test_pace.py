"""Frames of a session: what is above the limit waits, and the limit is what passes."""

import pytest

from landline.config.limits import FRAMES_BURST
from landline.gateway.pace import SAVED_SECONDS, Pace


@pytest.mark.parametrize("rate", [0.5, 3.0, 50.0, 10_000.0])
def test_over_a_minute_as_many_pass_as_are_allowed(rate: float) -> None:
    pace, now, passed = Pace(rate, 0.0), 0.0, 0
    while now < 60.0:
        now += pace.take(now)
        passed += 1
    assert passed == pytest.approx(rate * (60.0 + FRAMES_BURST), rel=0.01, abs=2)


@pytest.mark.parametrize("rate", [0.5, 50.0])
def test_who_has_to_wait_does_not_wait_long(rate: float) -> None:
    pace = Pace(rate, 0.0)
    waits = [pace.take(0.0) for _ in range(int(rate * FRAMES_BURST))]
    assert waits[:-1] == [0.0] * (len(waits) - 1), "all that may come at once"
    assert waits[-1] == pytest.approx(max(SAVED_SECONDS, 1 / rate))


def test_half_of_what_may_come_at_once_is_no_flood() -> None:
    pace = Pace(10, 0.0)
    for _ in range(int(10 * FRAMES_BURST / 2)):
        assert not pace.is_half_spent(0.0)
        pace.take(0.0)
    pace.take(0.0)
    assert pace.is_half_spent(0.0)
    assert not pace.is_half_spent(1.0)
