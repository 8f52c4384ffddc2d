"""What a history comes to, where it is quicker to work out than to say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline_verify.checker.reading import read_evidence
from landline_verify.history import events as e

SECONDS = st.floats(0.0, 9.0).map(lambda value: round(value, 2))


@given(stalls=st.lists(st.tuples(SECONDS, SECONDS), max_size=9), start=SECONDS, seconds=SECONDS)
def test_what_is_granted_for_pauses_is_as_long_as_they_are(
    stalls: list[tuple[float, float]], start: float, seconds: float
) -> None:
    now = 0.0
    spans = []
    for pause, length in stalls:
        spans.append((now + pause, now + pause + length))
        now = spans[-1][1]
    evidence = read_evidence([e.Sample(stop, "stall", stop - begin) for begin, stop in spans])

    def stood_still(until: float) -> float:
        return sum(max(0.0, min(until, stop) - max(start, begin)) for begin, stop in spans)

    assert evidence.stalls.between(start, start + seconds) == pytest.approx(
        stood_still(start + seconds)
    )
    after = evidence.stalls.after(start, seconds)
    assert after - start - stood_still(after) == pytest.approx(seconds)
    if seconds > 0:
        earlier = max(start, after - 0.01)
        assert earlier - start - stood_still(earlier) < seconds + 1e-9
