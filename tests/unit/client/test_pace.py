"""How fast it sends to a server that says `too_fast`."""

from landline.client.pace import Pace
from landline.client.reconnecting import LONGEST_ASKED_SECONDS
from landline.client.repeats import IN_FLIGHT


def test_it_pauses_for_as_long_as_the_server_asks() -> None:
    pace = Pace()
    assert pace.pause_seconds(10.0) == 0
    pace.too_fast(10.0, 2.0)
    pace.too_fast(10.5, 1.0)
    assert pace.pause_seconds(11.0) == 1.0
    assert pace.pause_seconds(12.0) == 0
    pace.too_fast(12.0, 1e9)
    assert pace.pause_seconds(12.0) == LONGEST_ASKED_SECONDS


def test_half_as_many_are_on_their_way_after_each_pause_and_more_as_they_are_taken() -> None:
    pace = Pace()
    pace.too_fast(0.0, 1.0)
    pace.too_fast(0.5, 1.0)  # it was on its way with the other
    assert pace.room == IN_FLIGHT // 2
    pace.accepted()
    assert pace.room == IN_FLIGHT // 2 + 1
    for when in range(10, 40):
        pace.too_fast(float(when), 0.5)
    assert pace.room == 1
    for _ in range(2 * IN_FLIGHT):
        pace.accepted()
    assert pace.room == IN_FLIGHT
