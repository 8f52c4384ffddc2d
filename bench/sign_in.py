"""What sign-in and limits cost: throughput and connects with them, and without.

Servers that check tokens and count against every limit, but refuse nothing of this load, and one
that takes any name and counts nothing. They have one core, the clients have the others. In each
round all of them are new, connects go to each in turn, and then the load. Ends by itself.
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import uvloop

from bench import machine
from bench.load import Load, Measured, add_options, measure
from bench.newcomers import seconds_to_welcome
from bench.signing import HIGH_LIMITS, Signer, no_headers
from landline_stack import LandlineServer

OFF: Final = "off"
LOADED: Final = "HS256"  # a token is checked once: what a message costs is the same for all
ALGORITHMS: Final = (LOADED, "RS256", "EdDSA")

RATIO: Final = 0.95
CONNECT_MS: Final = 1.0
WARM_UP_SECONDS: Final = 2.0
WARM_UP_CONNECTS: Final = 10


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server, and what its clients show to get in."""

    name: str
    server: LandlineServer
    headers: Callable[[str], Mapping[str, str]]

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has had until now."""
        return float(sum(psutil.Process(self.server.pid).cpu_times()[:2]))


def candidates(folder: Path, prefix: Sequence[str]) -> Iterator[Candidate]:
    """Yield a server without sign-in and limits, and one with them for each algorithm."""
    yield Candidate(OFF, LandlineServer.embedded(OFF, folder / OFF, prefix=prefix), no_headers)
    for algorithm in ALGORITHMS:
        signer = Signer(algorithm, folder / algorithm)
        server = LandlineServer.embedded(algorithm, folder / algorithm, prefix=prefix)
        server.arguments += [*signer.arguments, *HIGH_LIMITS]
        yield Candidate(algorithm, server, signer.headers)


@dataclass(frozen=True, slots=True)
class Connects:
    """What a connect took, in one round: the median until `welcome`, and the server's time for one.

    On a busy machine the second says more: it has no waiting in it.
    """

    seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        return f"{self.seconds * 1e3:.2f} ms, {self.cpu_seconds * 1e3:.2f} CPU ms"


async def connects(every: Sequence[Candidate], count: int) -> dict[str, Connects]:
    """Connect to all of them in turn, so often to each."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    before: dict[str, float] = {}
    for number in range(WARM_UP_CONNECTS + count):
        if number == WARM_UP_CONNECTS:
            before = {each.name: each.cpu_seconds() for each in every}
        for each in every:
            user = f"newcomer{number}"
            headers = each.headers(user)  # the product makes tokens, and not while one connects
            seconds = await seconds_to_welcome(each.server.ws_url, user, headers)
            if number >= WARM_UP_CONNECTS:
                found[each.name].append(seconds)
    return {
        each.name: Connects(
            statistics.median(found[each.name]), (each.cpu_seconds() - before[each.name]) / count
        )
        for each in every
    }


def report(
    loaded: Mapping[tuple[int, str], Sequence[Measured]],
    connected: Mapping[str, Sequence[Connects]],
) -> Iterator[str]:
    """Yield the lines: medians of the rounds, with and without."""
    for pipeline in dict.fromkeys(pipeline for pipeline, _ in loaded):
        off, on = (
            statistics.median(each.accepted_per_second for each in loaded[pipeline, name])
            for name in (OFF, LOADED)
        )
        yield (
            f"pipeline {pipeline}, accepted/s: {off:,.0f} off, {on:,.0f} on,"
            f" ratio {on / off:.3f} (target: over {RATIO})"
        )
        off, on = (
            statistics.median(each.cpu_seconds_per_1000 for each in loaded[pipeline, name])
            for name in (OFF, LOADED)
        )
        yield (
            f"pipeline {pipeline}, CPU seconds per 1,000: {off:.3f} off, {on:.3f} on,"
            f" ratio {on / off:.3f}"
        )
    off_connect = _median(connected[OFF])
    for algorithm in ALGORITHMS:
        on_connect = _median(connected[algorithm])
        yield (
            f"connect, {algorithm}: {off_connect} off, {on_connect} on, difference"
            f" {(on_connect.seconds - off_connect.seconds) * 1e3:+.2f} ms"
            f" (target: under {CONNECT_MS:g} ms),"
            f" {(on_connect.cpu_seconds - off_connect.cpu_seconds) * 1e3:+.2f} CPU ms"
        )


def _median(rounds: Sequence[Connects]) -> Connects:
    return Connects(
        statistics.median(each.seconds for each in rounds),
        statistics.median(each.cpu_seconds for each in rounds),
    )


def main() -> None:
    """Measure round by round; print each, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, [8], 5.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connects", type=int, default=200, help="to each server, in each round")
    options = parser.parse_args()
    print(f"{machine.describe()}; {options.connections} connections, medians of {options.rounds}")
    prefix = machine.share_cores()
    loaded: defaultdict[tuple[int, str], list[Measured]] = defaultdict(list)
    connected: defaultdict[str, list[Connects]] = defaultdict(list)
    for number in range(options.rounds):
        with ExitStack() as exits:
            folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
            every = list(candidates(folder, prefix))
            for each in every:
                exits.enter_context(each.server)
            every = every if number % 2 == 0 else every[::-1]
            for name, took in uvloop.run(connects(every, options.connects)).items():
                connected[name].append(took)
                print(f"round {number + 1} {name:5} connect: {took}", flush=True)
            for pipeline in options.pipelines:
                load = Load(
                    options.connections, pipeline, options.size, options.seconds, WARM_UP_SECONDS
                )
                for each in every:
                    if each.name in (OFF, LOADED):
                        measured = uvloop.run(measure([each.server], load, headers=each.headers))
                        loaded[pipeline, each.name].append(measured)
                        print(
                            f"round {number + 1} {each.name:5} pipeline {pipeline}: {measured}",
                            flush=True,
                        )
    print("", *report(loaded, connected), sep="\n")


if __name__ == "__main__":
    main()
