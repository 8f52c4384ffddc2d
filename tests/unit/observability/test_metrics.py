"""Metrics: one table, plain counts from the sources, and the page that Prometheus reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from landline.observability.metrics import (
    METRICS,
    Declaration,
    Histogram,
    MetricsRegistry,
    Series,
    Source,
    UndeclaredMetric,
    close_code_label,
    series,
)


def samples(*sources: Source) -> dict[str, float]:
    """Return what Prometheus would read, by name and labels, without the process's own."""
    text = MetricsRegistry(sources).render().decode()
    return {
        sample.name + "".join(f"|{key}={value}" for key, value in sample.labels.items()): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("landline_")
    }


def test_the_page_shows_what_the_sources_say_now() -> None:
    counts = {series("landline_connections"): 1.0}
    registry = MetricsRegistry([lambda: counts])
    assert b"\nlandline_connections 1.0\n" in registry.render()
    counts[series("landline_connections")] = 2
    assert b"\nlandline_connections 2.0\n" in registry.render()


def test_a_series_that_was_not_counted_yet_stands_at_zero() -> None:
    assert samples(lambda: {series("landline_sends_total", outcome="accepted"): 7}) == {
        "landline_sends_total|outcome=accepted": 7,
        "landline_sends_total|outcome=rejected": 0,
        "landline_sends_total|outcome=unknown": 0,
    }


def test_a_metric_that_no_source_counts_is_not_on_the_page() -> None:
    assert samples(dict) == {}


def test_the_same_name_from_several_sources_adds_up() -> None:
    page = samples(
        lambda: {series("landline_connections"): 1}, lambda: {series("landline_connections"): 2}
    )
    assert page == {"landline_connections": 3}


@pytest.mark.parametrize(
    "one",
    [
        series("landline_conections"),
        series("landline_sends_total"),
        series("landline_sends_total", outcome="lost"),
        series("landline_connections", user="alice"),
    ],
)
def test_a_name_or_label_that_is_not_in_the_table_is_refused(one: Series) -> None:
    with pytest.raises(UndeclaredMetric, match="not in the table"):
        MetricsRegistry([lambda: {one: 1}]).render()


def test_a_histogram_counts_what_lies_at_or_below_each_bound() -> None:
    histogram = Histogram([0.1, 1.0])
    for value in (0.05, 0.1, 0.5, 2.0):
        histogram.observe(value)
    assert samples(lambda: {series("landline_append_seconds"): histogram}) == {
        "landline_append_seconds_bucket|le=0.1": 2,
        "landline_append_seconds_bucket|le=1.0": 3,
        "landline_append_seconds_bucket|le=+Inf": 4,
        "landline_append_seconds_count": 4,
        "landline_append_seconds_sum": pytest.approx(2.65),
    }


@given(st.lists(st.floats(0, 10)), st.lists(st.floats(0, 10), min_size=1, unique=True).map(sorted))
def test_a_histogram_agrees_with_counting(values: list[float], bounds: list[float]) -> None:
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    counted = [sum(value <= bound for value in values) for bound in bounds]
    assert [count for _, count in histogram.buckets()] == [*counted, len(values)]
    assert histogram.sum == pytest.approx(sum(values))


def test_the_page_also_shows_what_the_process_uses() -> None:
    page = MetricsRegistry([]).render()
    assert b"process_resident_memory_bytes" in page
    assert b"process_open_fds" in page


def test_two_registries_share_nothing() -> None:
    one = MetricsRegistry([lambda: {series("landline_connections"): 1}])
    other = MetricsRegistry([lambda: {series("landline_connections"): 2}])
    assert b"\nlandline_connections 1.0\n" in one.render()
    assert b"\nlandline_connections 2.0\n" in other.render()


@pytest.mark.parametrize(
    ("code", "label"), [(1000, "1000"), (1012, "1012"), (4408, "4408"), (4999, "other")]
)
def test_close_codes_that_clients_make_up_share_one_label(code: int, label: str) -> None:
    assert close_code_label(code) == label
    page = samples(lambda: {series("landline_closes_total", code=close_code_label(code)): 1})
    assert page[f"landline_closes_total|code={label}"] == 1


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_table_follows_the_rules_of_prometheus(metric: Declaration) -> None:
    assert metric.name.startswith("landline_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.help.endswith(".")
    if metric.kind == "histogram":
        assert metric.name.endswith(("_seconds", "_bytes"))
        assert not metric.labels


def test_no_name_stands_twice_in_the_table() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
