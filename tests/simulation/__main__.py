"""`make simulate`: runs schedules, and tells how to see a failing one again."""

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from simulation.plan import Plan
from simulation.run import Outcome, outcome, shrink, story

CHUNK = 50


def _chunk(seeds: range) -> list[Outcome]:
    return [found for seed in seeds if (found := outcome(Plan.of(seed))).violations]


def _chunks(seeds: range, jobs: int) -> Iterator[tuple[range, list[Outcome]]]:
    """Run seeds, here or in processes of their own; return each chunk with what failed in it."""
    starts = range(seeds.start, seeds.stop, CHUNK)
    chunks = (range(start, min(start + CHUNK, seeds.stop)) for start in starts)
    if jobs == 1:
        yield from ((chunk, _chunk(chunk)) for chunk in chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        running = deque((chunk, pool.submit(_chunk, chunk)) for chunk in islice(chunks, 2 * jobs))
        while running:
            chunk, future = running.popleft()
            yield chunk, future.result()
            running.extend((chunk, pool.submit(_chunk, chunk)) for chunk in islice(chunks, 1))


def _many(seeds: range, jobs: int, at_most: int) -> int:
    """Run a range of seeds; return how many failed."""
    started = time.monotonic()
    done, failed = 0, 0
    for chunk, outcomes in _chunks(seeds, jobs):
        done += len(chunk)
        for found in outcomes:
            failed += 1
            print(f"\nseed {found.plan.seed}: {found.summary()}")
            print(f"  again: make simulate SEED={found.plan.seed}", flush=True)
        if done % (CHUNK * 10) == 0 or done == len(seeds):
            rate = done / (time.monotonic() - started) * 60
            print(f"{done} schedules, {failed} failed, {rate:.0f} a minute", flush=True)
        if failed >= at_most:
            break
    return failed


def _one(plan: Plan) -> int:
    """Run one schedule and, when it fails, the smallest that fails in the same way."""
    found = outcome(plan)
    if not found.violations:
        print(f"seed {plan.seed}: no violation, {found.turns} turns")
        return 0
    print(f"seed {plan.seed}: {found.summary()}\n")
    small = shrink(found)
    print(story(small))
    print(f"\n{small.plan}")
    print(f"again: make simulate SEED={plan.seed} PLAN='{small.plan.changes()}'")
    return 1


def main() -> int:
    """Run what the command line asks for. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make simulate")
    parser.add_argument("--seeds", default="0:2000", help="first:last, the last not included")
    parser.add_argument("--seed", type=int, help="one seed: its story, and the smallest like it")
    parser.add_argument("--plan", default="", help="with --seed: what to change of its plan")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--at-most", type=int, default=10, help="stop after so many failures")
    options = parser.parse_args()
    if options.seed is not None:
        return _one(Plan.parse(options.seed, options.plan))
    first, _, last = options.seeds.partition(":")
    failed = _many(range(int(first), int(last)), options.jobs, options.at_most)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
