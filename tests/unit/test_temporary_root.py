"""The suite's own files in memory: what a killed run leaves is removed, a living run's is not."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from support.temporary import TemporaryRoot, has_room

RUN = """
import signal, sys
from pathlib import Path
import support.temporary

support.temporary.has_room = lambda memory: True
root = support.temporary.TemporaryRoot(Path(sys.argv[1]))
print(root.path, flush=True)
signal.pause()
"""

HOUR = 3600.0


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("support.temporary.has_room", lambda _memory: True)
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())  # put back at the end
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    return tmp_path


def test_its_files_go_there_and_go_with_it(memory: Path) -> None:
    root = TemporaryRoot(memory)
    assert root.path is not None
    with tempfile.NamedTemporaryFile(delete=False) as file:
        assert Path(file.name).parent == root.path
    assert root.path.parent == memory
    root.close()
    assert list(memory.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_a_living_run_keeps_its_own(memory: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(memory)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    ) as run:
        assert run.stdout is not None
        theirs = Path(run.stdout.readline().strip())
        aged = time.time() - HOUR
        os.utime(theirs, (aged, aged))
        TemporaryRoot(memory).close()
        assert theirs.exists()
        run.send_signal(signal.SIGKILL)
        run.wait()
    os.utime(theirs, (aged, aged))
    TemporaryRoot(memory).close()
    assert not theirs.exists()


def test_there_is_no_room_where_there_is_no_memory(tmp_path: Path) -> None:
    assert not has_room(tmp_path / "missing")
