"""Messages of a conversation wait for the one before them, but not without end."""

from landline.delivery import lineup
from landline.delivery.lineup import LineUps
from landline.model import Message, Position


def message(offset: int, conversation: str = "dm:a:b") -> Message:
    return Message(str(offset), conversation, "a", ("b",), "text", Position(0, offset), 0)


def test_they_leave_in_order_behind_the_one_that_is_confirmed() -> None:
    lineups = LineUps()
    place = lineups.take_place("dm:a:b")
    other, later = message(1, "dm:a:c"), message(2)
    assert lineups.arrive(other) == [other]
    assert lineups.arrive(later) == []
    first = message(0)
    assert lineups.settle(place, first) == [first, later]
    assert lineups.arrive(message(3)) != []


def test_beyond_a_bound_they_are_left_to_the_sweep() -> None:
    lineups = LineUps()
    place = lineups.take_place("dm:a:b")
    for offset in range(3 * lineup.LINED_UP_MESSAGES):
        assert lineups.arrive(message(offset)) == []
    assert len(lineups._places["dm:a:b"]) == lineup.LINED_UP_MESSAGES
    assert len(lineups.settle(place, None)) == lineup.LINED_UP_MESSAGES - 1
