"""Requests that come together begin a few at a time, those of each address in turn."""

import asyncio
from collections.abc import Callable

from landline.adapters.clock import SystemClock
from landline.gateway.request_turns import AT_ONCE, MOST_AT_ONCE, RequestTurns
from support.waiting import until


def noting(begun: list[str], what: str) -> Callable[[], None]:
    return lambda: begun.append(what)


async def test_a_few_begin_in_a_turn_and_those_of_an_address_in_their_order() -> None:
    turns, begun = RequestTurns(SystemClock()), list[str]()
    came = [str(number) for number in range(10 * MOST_AT_ONCE)]
    for each in came:
        if turns.take():
            begun.append(each)
        else:
            turns.wait("here", each, noting(begun, each))
    assert begun == came[:AT_ONCE]
    before = len(begun)
    while len(turns):
        await asyncio.sleep(0)
        assert len(begun) - before <= MOST_AT_ONCE
        before = len(begun)
    assert begun == came


async def test_another_address_does_not_wait_behind_all_of_one() -> None:
    turns, begun = RequestTurns(SystemClock()), list[str]()
    while turns.take():
        pass
    for number in range(1_000):
        turns.wait("crowd", number, noting(begun, "crowd"))
    await asyncio.sleep(0)
    assert not turns.take()  # not before those who wait
    turns.wait("other", 0, noting(begun, "other"))
    await until(lambda: "other" in begun, "it has its turn")
    assert begun.index("other") <= 3 * MOST_AT_ONCE


async def test_whoever_is_gone_takes_no_room_and_no_turn() -> None:
    turns, begun = RequestTurns(SystemClock()), list[str]()
    while turns.take():
        pass
    for number in range(1_000):
        turns.wait("here", number, noting(begun, str(number)))
    for number in range(999):
        turns.leave("here", number)
    turns.leave("here", "nobody")
    turns.leave("nowhere", 0)
    assert len(turns) == 1
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (begun, len(turns)) == (["999"], 0)


async def test_one_alone_begins_at_once_turn_after_turn() -> None:
    turns = RequestTurns(SystemClock())
    for _ in range(10):
        assert turns.take()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_one_that_trips_does_not_keep_the_others_waiting() -> None:
    turns, begun = RequestTurns(SystemClock()), list[str]()
    while turns.take():
        pass

    def trip() -> None:
        raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: None)
    turns.wait("a", 1, trip)
    turns.wait("b", 2, noting(begun, "b"))
    await until(lambda: begun == ["b"], "the other has its turn")
