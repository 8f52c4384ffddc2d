"""The table of switches fits the sources, and leaves no control out. `make controls` uses it."""

import pytest

from controls.switches import SWITCHES, Switch
from support.pages import ROOT
from support.security import ROWS


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: f"{switch.control} {switch.what}")
def test_a_switch_has_one_place_and_a_test_of_its_control(switch: Switch) -> None:
    assert (ROOT / switch.file).read_text().count(switch.on) == 1
    assert switch.test in ROWS[switch.control].tests


def test_every_control_has_a_switch() -> None:
    assert {each.control for each in SWITCHES} == set(ROWS)
