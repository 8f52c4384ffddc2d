"""Requests that come together begin a few at a time."""

import asyncio
from collections.abc import Callable

from landline.gateway.request_turns import AT_ONCE, RequestTurns
from support.waiting import until


async def test_a_few_begin_in_a_turn_and_the_others_in_their_order() -> None:
    turns, begun = RequestTurns(), list[int]()
    came = 3 * AT_ONCE + 1

    def noting(number: int) -> Callable[[], None]:
        return lambda: begun.append(number)

    for number in range(came):
        if turns.take():
            begun.append(number)
        else:
            turns.wait(noting(number))
    assert begun == list(range(AT_ONCE))
    before = len(begun)
    while len(turns):
        await asyncio.sleep(0)
        assert len(begun) - before <= AT_ONCE
        before = len(begun)
    await asyncio.sleep(0)
    assert begun == list(range(came))


async def test_who_comes_while_others_wait_is_behind_them() -> None:
    turns, begun = RequestTurns(), list[str]()
    for _ in range(AT_ONCE):
        assert turns.take()
    for _ in range(2 * AT_ONCE):
        turns.wait(lambda: begun.append("before"))
    await asyncio.sleep(0)
    assert not turns.take()
    turns.wait(lambda: begun.append("behind"))
    await until(lambda: "behind" in begun, "it has its turn")
    assert begun.index("behind") == 2 * AT_ONCE


async def test_one_alone_begins_at_once_turn_after_turn() -> None:
    turns = RequestTurns()
    for _ in range(10):
        assert turns.take()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_defect_of_one_leaves_the_others_alone() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    turns, begun = RequestTurns(), list[int]()

    def fails() -> None:
        raise AssertionError

    while turns.take():
        pass
    turns.wait(fails)
    turns.wait(lambda: begun.append(1))
    await until(lambda: bool(begun), "the other one has its turn")
