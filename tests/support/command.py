"""The command `landline` as an operator runs it."""

import subprocess
import sys


def run_landline(*arguments: str) -> tuple[int, str]:
    """Run it to its end; return its exit code and all that it said, which is no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "landline", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return done.returncode, said
