"""What holds for every test: where files go, and that a run that is stopped cleans up."""

import os
import resource
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from support.temporary import CHECKOUT, TemporaryRoot

# Another process may have the machine: how long an example takes says nothing.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["support.stack", "support.cluster", "support.old_servers"]


def pytest_configure(config: pytest.Config) -> None:
    """Take a place for temporary files; a worker of `--numprocesses` has it from its parent."""
    # Tests of many clients open a thousand sockets and more; a shell may say 1,024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    CHECKOUT.mkdir(exist_ok=True)
    # Where `tmp_path` is: kept for a look into it.
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(CHECKOUT)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.add_cleanup(TemporaryRoot().close)
    # As Ctrl-C does: the fixtures then stop the processes that they have started. Ctrl-C too: a
    # shell takes it from what it runs in the background, and programs under test inherit that.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test would go unseen: there it is a failure."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"With CI=true nothing may be skipped. {reason}"
    return report
