"""Token buckets: what passes is what the limit says, and who is refused is told until when."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landline.config.limits import BYTES_BURST, MESSAGES_BURST, Limits
from landline.delivery.rates import Bucket, Rates

STEP = 1e-6  # less than a millisecond, which is what people are told


def take(rates: Rates, user: str, size_bytes: int, now: float) -> float:
    """Send, where it may be. Returns how long to wait otherwise."""
    wait_seconds = rates.missing(user, size_bytes, now)
    if not wait_seconds:
        rates.take(user, size_bytes, now)
    return wait_seconds


def test_a_burst_passes_and_then_the_rate() -> None:
    rates = Rates(Limits(messages=20))
    assert sum(take(rates, "alice", 1, 0.0) == 0.0 for _ in range(100)) == 20 * MESSAGES_BURST
    assert take(rates, "alice", 1, 0.0) == pytest.approx(1 / 20)
    assert take(rates, "alice", 1, 1 / 20 + STEP) == 0.0
    assert take(rates, "alice", 1, 1 / 20 + STEP) > 0.0


@settings(max_examples=20)
@given(st.floats(1, 50), st.integers(2, 10))
def test_over_a_minute_as_much_passes_as_is_allowed(rate: float, times: int) -> None:
    """Within a twentieth, at any load above it."""
    rates, now, passed = Rates(Limits(messages=rate)), 0.0, 0
    while now < 60.0:
        passed += take(rates, "alice", 1, now) == 0.0
        now += 1 / (rate * times)
    assert rate * 60 * 0.95 - 2 <= passed <= rate * 60 * 1.05 + 2


def test_users_do_not_share() -> None:
    rates = Rates(Limits(messages=1))
    for user in ("alice", "bob"):
        assert [take(rates, user, 1, 0.0) == 0.0 for _ in range(3)] == [True, True, False]


def test_bytes_count_beside_messages_and_what_is_refused_costs_nothing() -> None:
    rates = Rates(Limits(messages=100, bytes=1_000))
    assert take(rates, "alice", int(1_000 * BYTES_BURST), 0.0) == 0.0
    for _ in range(1_000):
        assert take(rates, "alice", 500, 0.0) == pytest.approx(0.5)
    assert take(rates, "alice", 500, 0.5 + STEP) == 0.0
    assert sum(take(rates, "alice", 0, 0.5 + STEP) == 0.0 for _ in range(500)) == 199


def test_one_that_is_larger_than_the_burst_passes_at_a_full_bucket_and_leaves_a_debt() -> None:
    bucket = Bucket(10, 20, 0.0)
    assert bucket.seconds_until(100, 0.0) == 0.0
    bucket.take(100, 0.0)
    assert bucket.seconds_until(1, 0.0) == pytest.approx(8.1)
    assert bucket.seconds_until(100, 9.0) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 4_000)), max_size=50))
def test_who_waits_as_they_are_told_is_not_refused_again(sends: list[tuple[float, int]]) -> None:
    rates, now = Rates(Limits(messages=3, bytes=1_000)), 0.0
    for pause, size in sends:
        now += pause
        wait = take(rates, "alice", size, now)
        if wait:
            now += wait + STEP
            assert take(rates, "alice", size, now) == 0.0


def test_without_limits_everything_passes() -> None:
    rates = Rates(Limits())
    assert all(take(rates, "alice", 1 << 30, 0.0) == 0.0 for _ in range(1_000))


def test_users_who_are_idle_are_forgotten_and_nobody_gains_by_it() -> None:
    rates = Rates(Limits(messages=1))
    for _ in range(2):
        take(rates, "alice", 1, 0.0)
    take(rates, "bob", 1, 0.0)
    rates.forget_idle(1.5)
    assert len(rates) == 1
    assert take(rates, "alice", 1, 1.5) == 0.0
    assert take(rates, "alice", 1, 1.5) > 0.0
    rates.forget_idle(10.0)
    assert len(rates) == 0
