"""When a client tries again: in time, and sooner where somebody waits for it."""

import asyncio
import random

import pytest

from landline.client import tries
from landline.client.reconnecting import LAST_SECONDS, LAST_SECONDS_HERE, ReconnectDelays
from landline.client.tries import HURRIED_SECONDS, Tries
from support.replays import in_virtual_time

LONG = 3_600.0


@in_virtual_time
async def test_who_hurries_does_not_wait_until_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tries, "HURRIED_SECONDS", 0.0)
    waiting = Tries()
    pause = asyncio.create_task(waiting.pause(LONG, 0.0))
    await asyncio.sleep(0)
    waiting.hurry()
    async with asyncio.timeout(60):
        await pause


@in_virtual_time
async def test_who_hurried_before_the_pause_is_not_forgotten_and_counts_once() -> None:
    waiting = Tries()
    waiting.hurry()
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(60):
        await waiting.pause(LONG, 0.0)
    assert asyncio.get_running_loop().time() - began >= HURRIED_SECONDS
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * HURRIED_SECONDS):
            await waiting.pause(LONG, 0.0)


@in_virtual_time
async def test_nobody_hurries_before_the_time_that_is_asked_for() -> None:
    waiting = Tries()
    waiting.hurry()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * HURRIED_SECONDS):
            await waiting.pause(LONG, LONG - 1)


@in_virtual_time
async def test_a_short_pause_is_not_made_longer() -> None:
    waiting = Tries()
    waiting.hurry()
    async with asyncio.timeout(60):
        await waiting.pause(0.0, 0.0)


def test_where_nothing_listens_on_this_machine_the_waits_stay_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    waits = ReconnectDelays()
    delays = [waits.next_seconds(longest=LAST_SECONDS_HERE) for _ in range(12)]
    assert delays == sorted(delays)
    assert delays[-1] == LAST_SECONDS_HERE
    # What answers then is not what was away: its waits go on from there.
    assert [waits.next_seconds() for _ in range(4)][-1] == LAST_SECONDS
