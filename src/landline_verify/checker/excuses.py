"""What may excuse a server: faults, pauses of the clients, a directory that gave no answer."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from landline_verify.history.events import Sample


@dataclass(slots=True)
class FaultSpan:
    """One fault from its start to its stop; infinity where it was never stopped."""

    at: int
    name: str
    detail: str
    start: float
    stop: float = inf


class Stalls:
    """When the clients themselves stood still, which makes servers look late."""

    def __init__(self, stalls: Iterable[Sample]) -> None:
        """Take samples in the order of time: each `value` is how long they stood still until `t`.

        The begin of each stall is kept in time, and in time without any stall (`awake`). After so
        many stalls: when the last one ended, and how long all took.
        """
        self._begins: list[float] = []
        self._ends = [-inf]
        self._sums = [0.0]
        for stall in stalls:
            begin = max(stall.t - stall.value, self._ends[-1])
            if begin < stall.t:
                self._begins.append(begin)
                self._ends.append(stall.t)
                self._sums.append(self._sums[-1] + stall.t - begin)
        self._awake = [
            begin - before for begin, before in zip(self._begins, self._sums, strict=False)
        ]

    def between(self, start: float, end: float) -> float:
        """Return for how many seconds between two times they stood still."""
        return max(0.0, self._until(end) - self._until(start))

    def after(self, start: float, seconds: float) -> float:
        """Return when so many seconds have gone by in which they did not stand still."""
        until = start - self._until(start) + seconds  # in time without any stall
        return max(start, until + self._sums[bisect_left(self._awake, until)])

    def _until(self, end: float) -> float:
        """Return for how many seconds until a time. Asked for each message: it has to be quick."""
        begun = bisect_left(self._begins, end)
        return self._sums[begun] - max(0.0, self._ends[begun] - end)


class LostHints:
    """When the directory gave servers no answer, by their own count."""

    def __init__(self, samples: Mapping[str, Sequence[tuple[int, Sample]]]) -> None:
        # For each server its times and counts, with a 0 before the first and the last for ever.
        self._counts: dict[str, tuple[list[float], list[float]]] = {}
        for what, of_server in samples.items():
            kind, _, server = what.partition(":")
            if kind == "directory_failures":
                values = [sample.value for _, sample in of_server]
                times = [sample.t for _, sample in of_server]
                self._counts[server] = ([-inf, *times, inf], [0.0, *values, values[-1]])

    def between(self, server: str, start: float, end: float) -> bool:
        """Say whether it gave this server no answer between two times."""
        if server not in self._counts:
            return False
        times, values = self._counts[server]
        return values[bisect_left(times, end)] > values[bisect_right(times, start) - 1]
