"""The page at the end of a run as HTML: one file without scripts, that asks no other host."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib.resources import files
from math import ceil, log10
from string import Template

from landline_verify.checker.verdict import INVARIANTS, Verdict
from landline_verify.history.events import Event
from landline_verify.report.figures import Bin, Figures, figures, percentile
from landline_verify.report.story import tell
from landline_verify.report.text import (
    HEADLINES,
    NAMED,
    called,
    counted,
    first_of_each,
    found_of,
    in_ms,
    tried,
)

# The pictures' own coordinates; the browser stretches them to its width.
_WIDTH = 1000.0
_HEIGHT = 100.0

# The logarithmic axis of latencies begins here.
_SHORTEST_SECONDS = 0.0001

Curve = tuple[str, str, list[float | None]]  # its name, its classes, a value for each column


def page(history: Sequence[Event], verdict: Verdict) -> str:
    """Return the page."""
    numbers = figures(history)
    template = Template(files("landline_verify.report").joinpath("report.html").read_text("utf-8"))
    return template.substitute(
        title=f"landline verify: {verdict.outcome}",
        outcome=verdict.outcome,
        headline=escape(HEADLINES[verdict.outcome]),
        reasons=_list(verdict.reasons),
        picture="".join(_picture(numbers)),
        tried="".join(_row(name, escape(text)) for name, text in tried(numbers)),
        counted="".join(_row(name, escape(text)) for name, text in counted(numbers)),
        found="".join(_found(verdict)),
        stories="".join(_stories(history, verdict)),
    )


def _row(name: str, html: str) -> str:
    return f"<tr><th>{escape(name)}<td>{html}\n"


def _list(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}' for text in texts)}</ul>" if texts else ""


def _found(verdict: Verdict) -> Iterator[str]:
    for invariant, name in INVARIANTS.items():
        sentences = [each.sentence for each in verdict.violations if each.invariant == invariant]
        violated = "quiet" if invariant == "I16" else "fail"  # it is no promise
        color = {"held": "pass", "violated": violated}.get(verdict.findings[invariant], "quiet")
        shown = f'<span class="{color}">{escape(found_of(verdict, invariant))}</span>'
        if sentences:
            more = len(sentences) - NAMED
            shown += _list([*sentences[:NAMED], *([f"and {more:,} more"] if more > 0 else [])])
        yield _row(f"{invariant} {name}", shown)


def _stories(history: Sequence[Event], verdict: Verdict) -> Iterator[str]:
    for violation in first_of_each(verdict):
        yield f"<h2>The story of {escape(called(violation))} ({violation.invariant})</h2>"
        yield f"<pre>{escape(chr(10).join(tell(history, violation)))}</pre>"


# The picture -------------------------------------------------------------------------------------


def _picture(numbers: Figures) -> Iterator[str]:
    """Yield three strips with one time axis: rates, latencies, lost connections."""
    bins, each = numbers.bins, numbers.bin_seconds
    yield _strip(
        numbers,
        "Messages a second",
        [
            ("sent", "one", [column.sent / each for column in bins]),
            ("accepted", "two dashed", [column.accepted / each for column in bins]),
            ("pushed", "three", [column.received / each for column in bins]),
        ],
        _linear,
    )
    yield _strip(
        numbers,
        "Latency (logarithmic)",
        [
            ("accepted p50", "one dashed", _percentiles(bins, "accepted_after", 0.5)),
            ("accepted p99", "one", _percentiles(bins, "accepted_after", 0.99)),
            ("received p99", "three", _percentiles(bins, "received_after", 0.99)),
        ],
        _logarithmic,
    )
    yield _strip(
        numbers,
        "Connections that servers or the network ended, a second",
        [("lost", "two", [column.dropped / each for column in bins])],
        _linear,
    )
    yield _axis(numbers)


def _percentiles(bins: Sequence[Bin], of: str, share: float) -> list[float | None]:
    values = [getattr(column, of) for column in bins]
    return [percentile(each, share) if each else None for each in values]


Scale = Callable[[float], tuple[Callable[[float], float], list[tuple[float, str]]]]


def _linear(largest: float) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    top = _round_up(largest)
    return (lambda value: value / top), [(top / 2, f"{top / 2:g}"), (top, f"{top:g}")]


def _logarithmic(largest: float) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    decades = max(1, ceil(log10(max(largest, _SHORTEST_SECONDS * 10) / _SHORTEST_SECONDS)))
    marks = [_SHORTEST_SECONDS * 10**power for power in range(1, decades + 1)]

    def place(value: float) -> float:
        return log10(max(value, _SHORTEST_SECONDS) / _SHORTEST_SECONDS) / decades

    return place, [(mark, f"{mark * 1000:g} ms" if mark < 1 else f"{mark:g} s") for mark in marks]


def _round_up(value: float) -> float:
    """Return the next larger of 1, 2, 5, 10, ..."""
    power = 10 ** (ceil(log10(value)) - 1) if value > 1 else 1
    return float(next(power * each for each in (1, 2, 5, 10) if power * each >= value))


def _strip(numbers: Figures, title: str, lines: Sequence[Curve], scale: Scale) -> str:
    # The load decides about the scale: what the final phase replays at once would dwarf it.
    loaded = slice(ceil(max(numbers.load_seconds, 1) / numbers.bin_seconds))
    values = [value for _, _, line in lines for value in line[loaded] if value is not None]
    place, marks = scale(max(values, default=0.0) * 1.05)
    keys = "".join(f'<span class="key {classes}">{name}</span>' for name, classes, _ in lines)
    labels = "".join(
        f'<span style="top:calc({100 - 100 * place(value):.1f}% + .2rem)">{text}</span>'
        for value, text in marks
    )
    grid = "".join(
        f'<line class="grid" x2="{_WIDTH:g}" y1="{_y(place(value))}" y2="{_y(place(value))}"/>'
        for value, _ in marks
    )
    return (
        f"<figure><figcaption><b>{title}</b>{keys}</figcaption><div class=plot>"
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" preserveAspectRatio="none" role="img">'
        f"<title>{title}</title>{grid}{_spans(numbers)}"
        f"{''.join(_polylines(numbers, line, place) for line in lines)}"
        f"{_hovers(numbers, lines)}</svg>{labels}</div></figure>\n"
    )


def _polylines(numbers: Figures, line: Curve, place: Callable[[float], float]) -> str:
    """Return a line with gaps where there is no value."""
    _, classes, values = line
    runs: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(
                f"{_x(numbers, (number + 0.5) * numbers.bin_seconds)},{_y(min(1, place(value)))}"
            )
    return "".join(
        f'<polyline class="{classes}" points="{" ".join(run if len(run) > 1 else run * 2)}"/>'
        for run in runs
        if run
    )


def _spans(numbers: Figures) -> str:
    quiet = [each for each in numbers.phases if each.name != "load"]
    return "".join(
        f'<rect class="{kind}" x="{_x(numbers, span.start)}" y="0" height="{_HEIGHT:g}"'
        f' width="{_x(numbers, span.stop - span.start)}"><title>{escape(span.name)}'
        f" {escape(span.detail)}</title></rect>"
        for kind, spans in (("phase", quiet), ("band", numbers.faults))
        for span in spans
    )


def _hovers(numbers: Figures, lines: Sequence[Curve]) -> str:
    """Return what the pointer finds: a column for each value, which tells it."""
    width = _x(numbers, numbers.bin_seconds)
    shown = []
    for number in range(len(numbers.bins)):
        at = number * numbers.bin_seconds
        said = [f"{at:.1f} s"]
        for name, _, values in lines:
            value = values[number]
            if value is not None:
                said.append(f"{name} {in_ms(value) if ' p' in name else f'{value:.0f}'}")
        faults = [span.name for span in numbers.faults if span.start <= at <= span.stop]
        shown.append(
            f'<rect class="hover" x="{_x(numbers, at)}" y="0" width="{width}" height="{_HEIGHT:g}">'
            f"<title>{escape(', '.join([*said, *faults]))}</title></rect>"
        )
    return "".join(shown)


def _axis(numbers: Figures) -> str:
    step = _round_up(max(numbers.seconds / 6, 1))
    ticks = [number * step for number in range(int(numbers.seconds / step) + 1)]
    labels = "".join(
        f'<span style="left:{100 * tick / max(numbers.seconds, 1):.2f}%">{tick:g} s</span>'
        for tick in ticks
    )
    phases = ", ".join(
        f"{span.name} {span.start:.1f} to {span.stop:.1f} s" for span in numbers.phases
    )
    faults = "".join(
        f'<span class="key fault">{escape(span.name)} {escape(span.detail)}, '
        f"{span.start:.1f} to {span.stop:.1f} s</span>"
        for span in numbers.faults
    )
    return (
        f'<div class="axis">{labels}</div><p class="quiet">{escape(phases)}</p>'
        f"<figcaption>{faults}</figcaption>"
    )


def _x(numbers: Figures, seconds: float) -> str:
    return f"{_WIDTH * seconds / max(numbers.seconds, numbers.bin_seconds):.1f}"


def _y(share: float) -> str:
    return f"{_HEIGHT * (1 - share):.1f}"
