"""What is refused is counted, and a flood of it does not fill the log."""

from landline.gateway.refusals import LINES_BURST, LINES_PER_SECOND, Refusals
from support.clock import Clock


def test_a_flood_has_so_many_lines_and_each_says_how_many_had_none() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    told = [refusals.add() for _ in range(1_000)]
    lines = [each for each in told if each is not None]
    assert lines == [{}] * int(LINES_BURST)
    clock.now += 1 / LINES_PER_SECOND
    assert refusals.add() == {"untold": 1_000 - int(LINES_BURST)}
    assert refusals.add() is None
    clock.now += 1 / LINES_PER_SECOND
    assert refusals.add() == {"untold": 1}
    assert refusals.count == 1_003


def test_of_many_that_are_alike_one_a_second_has_a_line() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    assert [refusals.add_alike() for _ in range(3)] == [True, False, False]
    clock.now += 1.0
    assert refusals.add_alike()
    assert refusals.count == 4
