"""How many messages a second one embedded server accepts and delivers, and how fast it answers.

The server has one core to itself, the load the others. Ends by itself.
"""

import argparse
import os
import tempfile
from pathlib import Path

import uvloop

from bench.load import Load, add_options, measure
from landline_stack import LandlineServer

WARM_UP_SECONDS = 1.0


def main() -> None:
    """Start a server for each pipeline depth, load it, print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, [1, 8], 5.0)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(f"{options.connections} connections, {options.size}-byte messages, {len(cores)} cores")
    for pipeline in options.pipelines:
        load = Load(options.connections, pipeline, options.size, options.seconds, WARM_UP_SECONDS)
        with tempfile.TemporaryDirectory() as folder:
            prefix = ["taskset", "--cpu-list", str(cores[0])]
            with LandlineServer.embedded("server", Path(folder), prefix=prefix) as server:
                os.sched_setaffinity(0, cores[1:] or cores)
                measured = uvloop.run(measure([server], load))
        print(f"pipeline {pipeline:3}: {measured}", flush=True)


if __name__ == "__main__":
    main()
