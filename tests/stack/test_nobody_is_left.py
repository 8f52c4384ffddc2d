"""However the parent ends, its servers end too: killed, interrupted, half-way through its start."""

import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from landline_stack import Silence, Stack
from landline_stack.errors import StackError
from landline_stack.redis import RedisServer
from support.parent import SECONDS, Parent
from support.stack import stack_or_skip

pytestmark = pytest.mark.stack

# Starts all of them, pauses what `pause` names, says so, and waits for its end.
PARENT = """
import sys, time
from pathlib import Path
from landline_stack import Stack

stack = Stack(Path(sys.argv[1]))
stack.start()
for server in stack.servers:
    if server.name in sys.argv[2:]:
        server.pause()
print("up", flush=True)
time.sleep(600)
"""

# Takes the terminal, if it has one, and runs a command. The suite itself may run below `nohup`.
HANGING_UP = """
import fcntl, os, signal, sys, termios

signal.signal(signal.SIGHUP, signal.SIG_DFL)
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def parents() -> Iterator[list[Parent]]:
    parents: list[Parent] = []
    yield parents
    for parent in parents:
        parent.end()


@pytest.fixture(autouse=True)
def possible() -> None:
    stack_or_skip()


@pytest.mark.parametrize("paused", [[], ["postgres", "kafka-1"]])
def test_the_parent_is_killed(parents: list[Parent], tmp_path: Path, paused: list[str]) -> None:
    parent = Parent("-c", PARENT, str(tmp_path), *paused)
    parents.append(parent)
    parent.wait_for("up")
    names = {process.name() for process in parent.family}
    assert {"java", "postgres"} <= names
    os.kill(parent.process.pid, signal.SIGKILL)
    with Stack(tmp_path, progress=Silence()) as successor:  # at once, on the same data
        assert all(server.is_running for server in successor.servers)
    assert parent.left() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of that")
def test_a_guard_is_killed(tmp_path: Path) -> None:
    with Stack(tmp_path, kafka=False, progress=Silence()) as stack:
        for server in stack.servers:
            guard = psutil.Process(server.guard_pid)
            family = guard.children(recursive=True)
            guard.kill()
            _, alive = psutil.wait_procs(family, timeout=SECONDS)
            for process in alive:
                process.kill()
            assert alive == []
            assert not server.is_running


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what shared memory there is")
@pytest.mark.parametrize("is_paused", [False, True])
def test_no_shared_memory_is_left(is_paused: bool) -> None:
    """The kernel keeps 4,096 segments, and those of /dev/shm are memory."""
    with Stack(kafka=False, redis=False, progress=Silence()) as stack:
        creator = stack.postgres.pid
        assert creator in creators_of_shared_memory()
        mapped = [each.path for each in psutil.Process(creator).memory_maps()]
        assert any("dynshmem" in path for path in mapped)
        assert not [path for path in mapped if path.startswith("/dev/shm/PostgreSQL")]
        if is_paused:
            stack.postgres.pause()
    assert creator not in creators_of_shared_memory()


def creators_of_shared_memory() -> set[int]:
    """Return the process ids of those who made the segments of System V that there are."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {int(line.split()[4]) for line in lines}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_is_stopped(parents: list[Parent], number: signal.Signals) -> None:
    parent = Parent("-m", "landline_stack", "--ports", "none")
    parents.append(parent)
    parent.wait_for("press Ctrl-C to stop")
    directory = Path(parent.said.split("logs, data")[1].split()[0])
    assert directory.exists()
    parent.process.send_signal(number)
    assert parent.process.wait(SECONDS) == 0
    assert parent.left() == []
    assert not directory.exists()


def test_the_command_is_hung_up(parents: list[Parent]) -> None:
    parent = Parent("-c", HANGING_UP, sys.executable, "-m", "landline_stack", "--ports", "none")
    parents.append(parent)
    parent.wait_for("press Ctrl-C to stop")
    for _ in range(3):  # a shell says it, and the system says it
        parent.process.send_signal(signal.SIGHUP)
    assert parent.process.wait(SECONDS) == 0
    assert parent.left() == []


@pytest.mark.parametrize("moment", ["Starting", "press Ctrl-C to stop"])
def test_the_terminal_of_a_make_is_closed(tmp_path: Path, moment: str) -> None:
    """It is the first process of its session, and tells those whom it waits for of nothing."""
    command = shlex.join([sys.executable, "-m", "landline_stack", "--ports", "none"])
    (tmp_path / "Makefile").write_text(f"cluster:\n\t@exec {command}\n")
    ours, theirs = pty.openpty()
    make = subprocess.Popen(
        [sys.executable, "-c", HANGING_UP, "make", "-C", str(tmp_path), "cluster"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said, family = b"", []
    try:
        while moment.encode() not in said:
            said += os.read(ours, 4096)
        family = psutil.Process(make.pid).children(recursive=True)
        assert "landline_stack" in family[0].cmdline()
    finally:
        os.close(ours)
    try:
        make.wait(SECONDS)
        _, alive = psutil.wait_procs(family, timeout=SECONDS)
        assert alive == []
    finally:
        make.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.mark.parametrize("delay", [0.0, 0.7])
def test_the_command_is_stopped_while_it_starts(parents: list[Parent], delay: float) -> None:
    """The delays only spread the moment over format, initdb and start; any moment has to do."""
    parent = Parent("-m", "landline_stack", "--ports", "none")
    parents.append(parent)
    parent.wait_for("Starting")
    time.sleep(delay)
    parent.family = psutil.Process(parent.process.pid).children(recursive=True)
    parent.process.send_signal(signal.SIGINT)
    assert parent.process.wait(SECONDS) == 0
    assert parent.left() == []


def test_a_server_that_starts_while_all_is_given_up_does_not_stay(tmp_path: Path) -> None:
    stack = Stack(tmp_path, kafka=False, postgres=False, progress=Silence())
    server: RedisServer = stack.redis
    server.give_up()
    with pytest.raises(StackError, match="stopped while it started"):
        server.start()
    assert not server.is_running
