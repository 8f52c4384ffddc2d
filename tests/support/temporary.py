"""Where the suite's temporary files go: to memory where there is room, else into the checkout.

Kafka's controller and PostgreSQL wait for fsync(2) in nearly all they do, and on a shared disk
under load one of those can take seconds: tests would then fail for the disk's sake. What the tests
kill are processes, and a killed process loses nothing that is in memory.
"""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import psutil

CHECKOUT: Final = Path(__file__).parents[2] / ".tmp"
MEMORY: Final = Path("/dev/shm")

# A whole run keeps far less at a time; its servers need some memory of their own.
_ROOM: Final = 4 * 2**30
_LEFT_FOR_SERVERS: Final = 6 * 2**30

_PREFIX: Final = "landline-tests-"
_YOUNG_SECONDS: Final = 60.0  # its run may be about to lock it

# Chromium puts a socket some directories below, and a socket's path has at most 107 bytes.
_LONGEST_ROOT: Final = 45


class TemporaryRoot:
    """The directory that `tempfile`, and every child process, takes its own from."""

    def __init__(self, memory: Path = MEMORY) -> None:
        """Make it, and remove what earlier runs that were killed have left in memory."""
        self.path: Path | None = None
        self._lock: IO[str] | None = None
        if has_room(memory):
            _sweep(memory)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=memory))
            self.path.chmod(0o711)  # root's PostgreSQL runs as nobody, who has to pass
            self._lock = _locked(self.path)
        elif len(os.fsencode(CHECKOUT)) <= _LONGEST_ROOT:
            CHECKOUT.mkdir(exist_ok=True)
            self.path = CHECKOUT
        if self.path is not None:
            os.environ["TMPDIR"] = str(self.path)
            tempfile.tempdir = None  # looked up again, with what was just set

    def close(self) -> None:
        """Remove what is in memory. What is in the checkout stays to be looked at."""
        if self._lock is not None and self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self._lock.close()


def has_room(memory: Path) -> bool:
    """Say whether it is there, may hold programs (Kafka unpacks libraries), and has room enough."""
    if not memory.is_dir():
        return False
    volume = os.statvfs(memory)
    return (
        os.access(memory, os.W_OK | os.X_OK)
        and not volume.f_flag & os.ST_NOEXEC
        and volume.f_bavail * volume.f_frsize >= _ROOM
        and psutil.virtual_memory().available >= _ROOM + _LEFT_FOR_SERVERS
    )


def _sweep(memory: Path) -> None:
    """Remove the directories of runs that were killed: a lock is gone with its holder."""
    for path in memory.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, another run's, or one removes it just now
            if time.time() - path.stat().st_mtime > _YOUNG_SECONDS:
                with _locked(path):
                    shutil.rmtree(path, ignore_errors=True)


def _locked(directory: Path) -> IO[str]:
    """Lock a directory for as long as the file returned is open. Raises: BlockingIOError."""
    file = (directory / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file
