"""The command `landline` as an operator runs it."""

import os
import subprocess
import sys
from collections.abc import Mapping


def run_landline(*arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run it to its end; return its exit code and all that it said, which is no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "landline", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return done.returncode, said
