"""The machine that is measured on: what it is, and which core is the server's."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path


def describe() -> str:
    """Return processor, cores, load, system and Python, as a result has to name them."""
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f},"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def share_cores() -> Sequence[str]:
    """Move this process, and what it starts, away from the first core. Returns what starts a
    server on that core.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[1:] or cores)
    return ["taskset", "--cpu-list", str(cores[0])]


def waited_seconds(pid: int) -> float:
    """Return for how long a process could have run and did not, because its core did something
    else: its main thread, since it began. Figures of a server that waited much are worth little.
    """
    # Nanoseconds on a core, nanoseconds of waiting for one, and turns: Linux' sched-stats.
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
