"""Which of two checkouts is faster: the same load on servers of both, in turn, round after round.

    python -m bench.compare OLD_TREE NEW_TREE --load cluster --rounds 5

The servers of a tree run on the tree's own `.venv` (`make setup` makes it); load and stack are this
checkout's. Servers, load and stack have the cores that they are given, so give the servers some to
themselves. Every run begins with new data: an embedded one with a new file, one of a cluster with a
new stack. The order of the trees changes with every round. Files are made where TMPDIR says.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.load import Load, Measured, add_options, measure
from landline_stack import LandlineServer, Silence, Stack

FIGURES: dict[str, Callable[[Measured], float]] = {
    "accepted/s": lambda measured: measured.accepted_per_second,
    "CPU seconds per 1,000 messages": lambda measured: measured.cpu_seconds_per_1000,
    "p50 ms": lambda measured: measured.percentile_ms(50),
    "p99 ms": lambda measured: measured.percentile_ms(99),
}

# Pipelines, seconds, seconds of warm-up. A Kafka that has just started still compiles its code.
DEFAULTS = {"embedded": ([1, 8], 8.0, 2.0), "cluster": ([1, 4], 10.0, 8.0)}


@dataclass(frozen=True, slots=True)
class Tree:
    """A checkout, and the interpreter that runs its servers."""

    name: str
    path: Path

    @property
    def python(self) -> str:
        """Return its interpreter."""
        return str(self.path / ".venv" / "bin" / "python")

    def check(self) -> None:
        """Exit where its interpreter would run another tree's server."""
        if not Path(self.python).exists():
            sys.exit(f"{self.path} has no .venv: run `make setup` there")
        question = "import landline; print(landline.__file__)"
        place = subprocess.check_output(  # noqa: S603 - an interpreter that we were given
            [self.python, "-I", "-c", question], text=True
        ).strip()
        if not Path(place).resolve().is_relative_to(self.path):
            sys.exit(f"{self.python} would run {place}, which is not in {self.path}")


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores each part has, as taskset(1) takes them."""

    servers: str
    load: str
    stack: str

    @property
    def prefix(self) -> Sequence[str]:
        """Return what starts a server on its cores."""
        return ("taskset", "--cpu-list", self.servers)


def embedded(tree: Tree, loads: Sequence[Load], cores: Cores) -> Iterator[Measured]:
    """Measure each load on a server with a new file."""
    for load in loads:
        with tempfile.TemporaryDirectory() as folder:
            server = LandlineServer.embedded(
                tree.name, Path(folder), prefix=cores.prefix, python=tree.python
            )
            with server:
                pin(cores.load)
                yield uvloop.run(measure([server], load))


def cluster(tree: Tree, loads: Sequence[Load], cores: Cores) -> Iterator[Measured]:
    """Measure the loads, one after the other, on two servers with a new stack."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        pin(cores.stack)  # what a process starts has its cores
        stack = exits.enter_context(Stack(progress=Silence()))
        servers = [
            LandlineServer.on(stack, name, folder / name, prefix=cores.prefix, python=tree.python)
            for name in ("ws-1", "ws-2")
        ]
        for server in servers:
            exits.enter_context(server)
        pin(cores.load)
        for load in loads:
            yield uvloop.run(measure(servers, load))


RUNS = {"embedded": embedded, "cluster": cluster}


def pin(cores: str) -> None:
    """Move this process to these cores, and with it what it starts from now on."""
    os.sched_setaffinity(0, _numbers(cores))


def _numbers(cores: str) -> set[int]:
    return {int(each) for each in cores.split(",")}


def report(
    trees: Sequence[Tree], loads: Sequence[Load], found: dict[tuple[str, int], list[Measured]]
) -> Iterator[str]:
    """Yield the lines of the table: the median of each figure for both trees, and their ratio."""
    rounds = len(next(iter(found.values())))
    yield f"medians of {rounds}{'':22}{'old':>12}{'new':>12}{'new/old':>10}"
    for load in loads:
        for name, figure in FIGURES.items():
            old, new = (
                statistics.median(figure(each) for each in found[tree.name, load.pipeline])
                for tree in trees
            )
            what = f"pipeline {load.pipeline}: {name}"
            yield f"{what:<44}{old:>12,.3f}{new:>12,.3f}{new / old:>10.3f}"


def main() -> None:
    """Compare two checkouts; print each run, then the medians."""
    options = _options()
    trees = [Tree("old", options.old.resolve()), Tree("new", options.new.resolve())]
    for tree in trees:
        tree.check()
    pipelines, seconds, warm_up_seconds = DEFAULTS[options.load]
    loads = [
        Load(
            options.connections,
            pipeline,
            options.size,
            options.seconds or seconds,
            warm_up_seconds if options.warm_up is None else options.warm_up,
        )
        for pipeline in options.pipelines or pipelines
    ]
    cores = Cores(options.server_cores, options.load_cores, options.stack_cores)
    found: defaultdict[tuple[str, int], list[Measured]] = defaultdict(list)
    for number in range(options.rounds):
        for tree in trees if number % 2 == 0 else trees[::-1]:
            runs = RUNS[options.load](tree, loads, cores)
            for load, measured in zip(loads, runs, strict=True):
                found[tree.name, load.pipeline].append(measured)
                print(
                    f"round {number + 1} {tree.name} pipeline {load.pipeline}: {measured}",
                    flush=True,
                )
    print("", *report(trees, loads, found), sep="\n")


def _options() -> argparse.Namespace:
    every = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, metavar="OLD_TREE")
    parser.add_argument("new", type=Path, metavar="NEW_TREE")
    parser.add_argument("--load", choices=[*RUNS], default="embedded")
    parser.add_argument("--rounds", type=int, default=5)
    add_options(parser, None, None)
    parser.add_argument("--warm-up", type=float, metavar="SECONDS", help="before them")
    parser.add_argument("--server-cores", default=f"{every[0]}", metavar="N,...")
    parser.add_argument("--load-cores", default=",".join(map(str, every[1:] or every)))
    parser.add_argument("--stack-cores", help="the load's, unless given")
    options = parser.parse_args()
    options.stack_cores = options.stack_cores or options.load_cores
    return options


if __name__ == "__main__":
    main()
