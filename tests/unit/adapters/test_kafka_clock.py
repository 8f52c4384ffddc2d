"""The brokers' time, as a server knows it."""

import pytest

from landline.adapters.kafka import clock
from landline.adapters.kafka.clock import FRESH_SECONDS, BrokerClock
from landline.protocol.times import LAST_TIME_MS

SIX_DAYS = 6 * 86_400.0


class Time:
    """A broker that says what it is told to say, and a machine with clocks of its own."""

    def __init__(self) -> None:
        self.passed = 1_000.0
        self.stamp: int | None = None
        self.newest: int | None = None
        self.asked = 0

    def monotonic(self) -> float:
        return self.passed

    def time(self) -> float:
        raise AssertionError("the machine's own clock is nothing to go by")

    async def ask(self) -> int | None:
        self.asked += 1
        return self.stamp

    async def guess(self) -> int | None:
        return self.newest


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(clock, "time", made)
    return made


async def test_a_stamp_is_carried_on_by_the_seconds_that_pass(time: Time) -> None:
    brokers = BrokerClock(time.ask, time.guess)
    brokers.note(50_000)
    time.passed += 12.5
    assert (await brokers.now_ms(), time.asked) == (62_500, 0)


async def test_an_old_stamp_is_replaced_by_a_new_one(time: Time) -> None:
    """The machine has slept, or the broker's clock was set: what it says last counts."""
    brokers = BrokerClock(time.ask, time.guess)
    brokers.note(50_000)
    time.passed += FRESH_SECONDS + 1
    time.stamp = 10_000
    assert (await brokers.now_ms(), time.asked) == (10_000, 1)
    time.passed += 1
    assert (await brokers.now_ms(), time.asked) == (11_000, 1)


async def test_without_an_answer_the_old_one_is_carried_on_and_nobody_is_flooded(
    time: Time,
) -> None:
    brokers = BrokerClock(time.ask, time.guess)
    assert (await brokers.now_ms(), time.asked) == (None, 1)
    assert (await brokers.now_ms(), time.asked) == (None, 1)
    brokers.note(50_000)
    time.passed += FRESH_SECONDS + 1
    assert (await brokers.now_ms(), time.asked) == (50_000 + 31_000, 2)
    assert (await brokers.now_ms(), time.asked) == (50_000 + 31_000, 2)


@pytest.mark.parametrize("step", [SIX_DAYS, -SIX_DAYS])
async def test_a_count_of_seconds_that_jumps_is_found_out(time: Time, step: float) -> None:
    """As it does where something comes between a process and the kernel's clocks."""
    brokers = BrokerClock(time.ask, time.guess)
    brokers.note(50_000)
    time.passed += step
    time.stamp = 51_000
    assert (await brokers.now_ms(), time.asked) == (51_000, 1)


@pytest.mark.parametrize("newest", [10_000, 90_000, LAST_TIME_MS])
async def test_once_a_broker_has_stamped_the_newest_record_says_nothing(
    time: Time, newest: int
) -> None:
    """A hiccup is no reason to believe a record, of long ago or of the year 9999."""
    brokers = BrokerClock(time.ask, time.guess)
    brokers.note(50_000)
    time.newest = newest
    for seconds in (31, 62):
        time.passed += FRESH_SECONDS + 1
        assert await brokers.now_ms() == 50_000 + seconds * 1_000
    time.passed += FRESH_SECONDS + 1
    time.stamp = 40_000
    assert await brokers.now_ms() == 40_000


async def test_without_any_stamp_the_newest_record_is_carried_on(time: Time) -> None:
    """It is that late at the least, also when nothing newer comes."""
    brokers = BrokerClock(time.ask, time.guess)
    time.newest = 50_000
    assert await brokers.now_ms() == 50_000
    time.passed += FRESH_SECONDS + 1
    assert await brokers.now_ms() == 81_000
    time.passed += FRESH_SECONDS + 1
    time.newest = 200_000
    assert await brokers.now_ms() == 200_000
    brokers.note(190_000)
    assert await brokers.now_ms() == 190_000


@pytest.mark.parametrize("time_ms", [-(1 << 62), -1, LAST_TIME_MS + 1, (1 << 63) - 1])
async def test_what_is_no_time_is_not_believed_by_anybody(time: Time, time_ms: int) -> None:
    brokers = BrokerClock(time.ask, time.guess)
    time.newest = time.stamp = time_ms
    brokers.note(time_ms)
    assert await brokers.now_ms() is None
    brokers.note(50_000)
    brokers.note(time_ms)
    assert await brokers.now_ms() == 50_000
