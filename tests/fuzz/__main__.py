"""`make fuzz`: sends mutated frames, handshakes, requests and tokens, and checks the answers."""

import argparse
import sys
import tempfile
from pathlib import Path

import uvloop

from fuzz.attacks import Found
from fuzz.run import run
from support.temporary import TemporaryRoot


def main() -> int:
    """Return 1 when something was found."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100_000, help="frames; a tenth of the others")
    options = parser.parse_args()
    root = TemporaryRoot()  # in memory where there is room: what waits for a disk finds nothing
    try:
        with tempfile.TemporaryDirectory() as directory:
            uvloop.run(run(Path(directory), options.seed, options.count))
    except (Found, AssertionError) as found:
        print(f"FOUND: {found}")
        return 1
    finally:
        root.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
