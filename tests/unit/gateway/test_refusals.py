"""What is refused is counted, and a flood of it does not fill the log."""

from landline.gateway.refusals import LINES_OF_ALL, LINES_OF_ONE, Refusals
from support.clock import Clock


def test_a_flood_has_so_many_lines_and_each_says_how_many_had_none() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    rate, burst = LINES_OF_ONE
    told = [refusals.add("a") for _ in range(1_000)]
    assert [each for each in told if each is not None] == [{}] * int(burst)
    clock.now += 1 / rate
    assert refusals.add("a") == {"untold": 1_000 - int(burst)}
    assert refusals.add("a") is None
    clock.now += 1 / rate
    assert refusals.add("a") == {"untold": 1}
    assert refusals.count == 1_003


def test_a_flood_of_one_address_takes_no_line_of_another() -> None:
    refusals = Refusals(Clock())
    for _ in range(10_000):
        refusals.add("a")
    assert refusals.add("b") == {}


def test_all_together_have_so_many_lines_too() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    rate, burst = LINES_OF_ALL
    told = [refusals.add(f"{number}") for number in range(20_000)]
    assert sum(each is not None for each in told) == burst
    assert len(refusals._places) < 5_000, "who is told apart is bounded"
    clock.now += 1 / rate
    assert refusals.add("new") is not None
