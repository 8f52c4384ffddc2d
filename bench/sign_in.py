"""What sign-in and limits cost: throughput and connects with them, and without.

Servers that check tokens and count against every limit, but refuse nothing of this load, and one
that takes any name and counts nothing. They have one core, the clients have the others. In each
round all of them are new, connects go to each in turn, and then the load. Ends by itself.
"""

import argparse
import asyncio
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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


def candidates(folder: Path, prefix: Sequence[str]) -> Iterator[Candidate]:
    """Yield a server without sign-in and limits, and one with them for each algorithm."""
    yield Candidate(OFF, LandlineServer.embedded(OFF, folder / OFF, prefix=prefix), no_headers)
    for algorithm in ALGORITHMS:
        signer = Signer(algorithm, folder / algorithm)
        server = LandlineServer.embedded(algorithm, folder / algorithm, prefix=prefix)
        server.arguments += [*signer.arguments, *HIGH_LIMITS]
        yield Candidate(algorithm, server, signer.headers)


async def connects(every: Sequence[Candidate], count: int) -> dict[str, list[float]]:
    """Connect to all of them in turn. Returns the seconds that each connect took."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(WARM_UP_CONNECTS + count):
        for each in every:
            user = f"newcomer{number}"
            headers = each.headers(user)  # the product makes tokens, and not while one connects
            seconds = await seconds_to_welcome(each.server.ws_url, user, headers)
            if number >= WARM_UP_CONNECTS:
                found[each.name].append(seconds)
            await asyncio.sleep(0)
    return found


def report(
    loaded: Mapping[tuple[int, str], Sequence[Measured]],
    connected: Mapping[str, Sequence[float]],
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
    off = statistics.median(connected[OFF]) * 1e3
    for algorithm in ALGORITHMS:
        on = statistics.median(connected[algorithm]) * 1e3
        yield (
            f"connect, {algorithm}: {off:.2f} ms off, {on:.2f} ms on,"
            f" difference {on - off:+.2f} ms (target: under {CONNECT_MS:g} ms)"
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
    connected: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(options.rounds):
        with ExitStack() as exits:
            folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
            every = list(candidates(folder, prefix))
            for each in every:
                exits.enter_context(each.server)
            every = every if number % 2 == 0 else every[::-1]
            for name, seconds in uvloop.run(connects(every, options.connects)).items():
                connected[name].append(statistics.median(seconds))
                print(f"round {number + 1} {name:5} connect {connected[name][-1] * 1e3:.2f} ms")
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
