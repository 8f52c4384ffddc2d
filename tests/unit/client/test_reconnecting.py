"""How long a client waits: random, growing, and as long as it is asked to."""

import random

import pytest

from landline.client.reconnecting import (
    FIRST_SECONDS,
    LAST_SECONDS,
    LAST_SECONDS_HERE,
    LASTING_SECONDS,
    LONGEST_ASKED_SECONDS,
    Asked,
    ReconnectDelays,
    asked_by_header,
    asked_by_reason,
)


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance always gives the most that there is."""
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)


@pytest.mark.usefixtures("longest")
def test_it_doubles_up_to_the_longest_and_starts_again_after_a_session_that_lasted() -> None:
    waits = ReconnectDelays()
    delays = [waits.next_seconds() for _ in range(12)]
    assert delays[:3] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert delays[-3:] == [LAST_SECONDS] * 3
    waits.session_ended(LASTING_SECONDS - 0.001)
    assert waits.next_seconds() == LAST_SECONDS
    waits.session_ended(LASTING_SECONDS)
    assert waits.next_seconds() == FIRST_SECONDS


@pytest.mark.usefixtures("longest")
def test_a_refusal_on_this_machine_does_not_shorten_the_waits_after_it() -> None:
    waits = ReconnectDelays()
    for _ in range(9):
        waits.next_seconds()
    assert waits.next_seconds(longest=LAST_SECONDS_HERE) == LAST_SECONDS_HERE
    assert waits.next_seconds() == LAST_SECONDS


def test_the_jitter_is_full() -> None:
    delays = [ReconnectDelays().next_seconds() for _ in range(500)]
    assert min(delays) < FIRST_SECONDS * 0.1
    assert max(delays) > FIRST_SECONDS * 0.9


@pytest.mark.usefixtures("longest")
def test_a_server_that_asks_again_and_again_is_not_hammered() -> None:
    waits = ReconnectDelays()
    asked = asked_by_reason("retry_after_ms=0")
    assert asked is not None
    assert [waits.next_seconds(asked) for _ in range(4)] == [
        0,
        2 * FIRST_SECONDS,
        4 * FIRST_SECONDS,
        8 * FIRST_SECONDS,
    ]


def test_what_everybody_is_told_does_not_bring_everybody_back_at_once() -> None:
    delays = {ReconnectDelays().next_seconds(Asked(5, is_for_all=True)) for _ in range(100)}
    assert min(delays) >= 5
    assert len(delays) > 90


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        ("restarting, retry_after_ms=250", 0.25),
        ("retry_after_ms=0", 0.0),
        ("retry_after_ms=-1", None),
        ("retry_after_ms=1x", None),
        ("xretry_after_ms=5", None),
        ("retry_after_ms=" + "9" * 100, None),
        ("", None),
    ],
)
def test_the_reason_of_a_close_may_ask_for_a_time(reason: str, seconds: float | None) -> None:
    asked = asked_by_reason(reason)
    assert (asked and asked.seconds) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), (" 3 ", 3.0), ("0", 0.0), ("-1", None), ("1.5", None), ("soon", None), ("", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("1, 2", None), ("\u0663", None)],
)  # fmt: skip
def test_retry_after_is_read_where_it_is_in_seconds(header: str, seconds: float | None) -> None:
    asked = asked_by_header(header)
    assert (asked and asked.seconds) == seconds


def test_nobody_is_waited_for_longer_than_a_minute() -> None:
    assert ReconnectDelays().next_seconds(Asked(86_400)) == LONGEST_ASKED_SECONDS
