"""The server waits longer from try to try, up to a bound, and not in step with others."""

import pytest

from landline.backoff import Backoff


def test_it_doubles_up_to_the_longest_and_begins_again_after_a_success() -> None:
    backoff = Backoff(first_seconds=1.0, last_seconds=5.0)
    for _ in range(2):
        for longest in (1.0, 2.0, 4.0, 5.0, 5.0):
            assert longest / 2 <= backoff.next_seconds() <= longest
        backoff.reset()


def test_two_that_failed_together_do_not_come_back_together() -> None:
    assert len({Backoff().next_seconds() for _ in range(100)}) > 90


async def test_it_waits_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("landline.backoff.asyncio.sleep", sleep)
    await Backoff(first_seconds=8.0, last_seconds=8.0).wait()
    assert 4.0 <= slept[0] <= 8.0
