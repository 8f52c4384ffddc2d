"""What is shown: harmless, with its date where that is not today, and on any screen."""

import io
import unicodedata
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.terminal.screen import Screen, harmless, time_of_day


@given(st.text(st.characters()))
def test_nothing_that_others_write_can_steer_the_screen(text: str) -> None:
    shown = harmless(text)
    assert len(shown) == len(text)
    assert len(shown.splitlines()) <= 1
    for character in shown:
        assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(character) not in {
            "LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI",
        }  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-16", "koi8-r", "utf-8"])
@given(text=st.text())
def test_whatever_is_shown_is_shown_somehow(encoding: str, text: str) -> None:
    raw = io.BytesIO()
    screen = Screen(io.TextIOWrapper(raw, encoding=encoding))
    for mark in (screen.marks.accepted, screen.marks.delivered, screen.marks.refused):
        assert screen.show(f"{mark} {harmless(text)}")
    assert len(raw.getvalue().decode(encoding).splitlines()) == 3
    assert not screen.gone.is_set()


def test_the_marks_differ_on_every_screen() -> None:
    for encoding in ("ascii", "utf-8"):
        marks = Screen(io.TextIOWrapper(io.BytesIO(), encoding=encoding)).marks
        assert len({marks.accepted, marks.delivered, marks.refused}) == 3


def test_a_time_has_its_date_unless_that_is_today() -> None:
    now = datetime(2026, 3, 4, 12, 30).astimezone()
    assert time_of_day(now.astimezone(UTC), now.date()) == "12:30"
    assert time_of_day(now - timedelta(days=1), now.date()) == "2026-03-03 12:30"
    assert time_of_day(now + timedelta(days=1), now.date()) == "2026-03-05 12:30"


@pytest.mark.parametrize(
    "time",
    [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)],
)
def test_the_first_and_the_last_time_there_is_can_be_shown(time: datetime) -> None:
    assert time_of_day(time, date(2026, 3, 4))
