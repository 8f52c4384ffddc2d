"""Times on the wire."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocol.times import LAST_TIME_MS, is_time, nearest_time, read_rfc3339, rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = LAST_TIME_MS


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
        (1_767_323_045_000, "2026-01-02T03:04:05.000Z"),  # milliseconds also when there are none
        (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
    ],
)
def test_a_time_is_utc_with_milliseconds(time_ms: int, text: str) -> None:
    assert rfc3339(time_ms) == text


@given(st.integers())
def test_whatever_a_stranger_stamps_can_be_told(time_ms: int) -> None:
    """As the nearest time that RFC 3339 can write."""
    text = rfc3339(time_ms)
    assert "1970-01-01T00:00:00.000Z" <= text <= "9999-12-31T23:59:59.999Z"
    assert is_time(time_ms) == (0 <= time_ms <= LAST_TIME_MS)
    assert rfc3339(nearest_time(time_ms)) == text


@given(st.integers(0, LAST_MS))
def test_no_millisecond_is_lost_on_the_way(time_ms: int) -> None:
    assert datetime.fromisoformat(rfc3339(time_ms)) - EPOCH == timedelta(milliseconds=time_ms)


@given(st.integers(0, LAST_MS), st.integers(0, LAST_MS))
def test_the_order_of_the_texts_is_the_order_of_the_times(one: int, other: int) -> None:
    assert (rfc3339(one) < rfc3339(other)) == (one < other)


@given(st.integers(0, LAST_MS))
def test_what_is_written_is_read(time_ms: int) -> None:
    assert read_rfc3339(rfc3339(time_ms)) == time_ms


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:30:00.5-00:30", 500),
        ("1969-12-31T23:59:59Z", -1_000),
        ("1970-01-01T00:00:00.0019999999Z", 1),
    ],
)
def test_every_spelling_of_rfc_3339_is_read(text: str, time_ms: int) -> None:
    assert read_rfc3339(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "tomorrow",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04Z",
        "20260102T030405Z",
        "2026-W01-1T03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-02-30T03:04:05Z",
        "2026-01-02T25:04:05Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05+0100",
        "2026-01-02T03:04:05+99:00",
        "2026-01-02T03:04:05 01:00",
        "0000-01-02T03:04:05Z",
        "٢٠٢٦-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        read_rfc3339(text)
