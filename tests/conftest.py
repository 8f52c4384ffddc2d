"""What holds for every test: files stay in the checkout, and whoever is stopped cleans up."""

import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

pytest_plugins = ["support.stack", "support.cluster"]

TEMPORARY = Path(__file__).parents[1] / ".tmp"

# Chromium puts a socket some directories below, and a socket's path has at most 107 bytes.
_LONGEST_ROOT = 45


def pytest_configure() -> None:
    """Keep temporary files, those of child processes too, inside the checkout."""
    TEMPORARY.mkdir(exist_ok=True)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(TEMPORARY)
    if len(os.fsencode(TEMPORARY)) <= _LONGEST_ROOT:
        os.environ["TMPDIR"] = str(TEMPORARY)
        tempfile.tempdir = None  # looked up again, with what was just set
    # As Ctrl-C does: the fixtures then stop the processes that they have started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test would go unseen: there it is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"With CI=true nothing may be skipped. {reason}"
    return report
