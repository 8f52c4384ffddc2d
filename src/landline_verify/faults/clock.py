"""A server's own clock, which can be stepped: libfaketime between it and the kernel."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_ASK_SECONDS: Final = 30.0
_LONG_SECONDS: Final = 3_600
_LIBRARY: Final = "vendor/libfaketime/src/libfaketime.so.1"


def obstacle() -> str | None:
    """Return why no clock can be stepped on this machine, or None."""
    if not sys.platform.startswith("linux"):
        return "only Linux lets a library come between a process and the clock"
    library = _library()
    if library is None:
        return "libfaketime is missing, which comes between a process and the clock (on PyPI)"
    jump = {**_loading(library), "FAKETIME": f"+{2 * _LONG_SECONDS}"}
    now = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import time; print(time.time())"],
        env=jump, capture_output=True, text=True, check=True, timeout=_ASK_SECONDS,
    ).stdout  # fmt: skip
    if float(now) < time.time() + _LONG_SECONDS:
        return f"{library} does not work on this machine"
    return None


class ServerClock:
    """The clock of a server, `offset` seconds from that of the machine. Timers do not notice."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def environment(self) -> Mapping[str, str]:
        """Return what the server has to be started with; nothing where no clock can be stepped."""
        library = _library()
        if library is None:
            return {}
        self.step(0)
        return {
            **_loading(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",  # or it notices a second later, or two
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Otherwise libfaketime finds out by itself, and that stops threads for a second.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }

    def step(self, offset: int) -> None:
        """Have it jump."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.rename(self._file)  # nobody reads half of it


def _loading(library: Path) -> Mapping[str, str]:
    """Return what has it loaded. A path in LD_PRELOAD would end at its first space."""
    paths = [str(library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"LD_PRELOAD": library.name, "LD_LIBRARY_PATH": os.pathsep.join(paths)}


def _library() -> Path | None:
    spec = find_spec("libfaketime")
    if spec is None or spec.origin is None:
        return None
    library = Path(spec.origin).parent / _LIBRARY
    return library if library.is_file() else None
