"""Disks that fail on command, below a real server."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.server import ServerProcess

_SOURCE = Path(__file__).with_name("faulty_disk.c")
_IN_NAMESPACE = (
    ["unshare", "--mount"],
    ["unshare", "--map-root-user", "--mount"],  # where users may have namespaces
)


class Disk:
    """A place for a server's data: how to start the server on it, and how to break it."""

    prefix: Sequence[str] = ()
    env: Mapping[str, str] = {}
    # Says whether a write may still succeed while the disk is broken.
    is_partly_usable = False

    def fail(self, server: ServerProcess) -> None:
        """Break it."""
        raise NotImplementedError

    def repair(self, server: ServerProcess) -> None:
        """Make it work again."""
        raise NotImplementedError

    def data(self, server: ServerProcess) -> Path:
        """Return the server's data, while it runs and nothing happens."""
        return server.data_dir


class FaultyDisk(Disk):
    """System calls on the database fail, or are held up. Raises: FileNotFoundError without a C
    compiler.
    """

    HOLD = 0  # in the place of an error

    def __init__(self, directory: Path, calls: str, error: int) -> None:
        self._control = directory / "fault"
        self._order = " ".join(f"{call} {error}" for call in calls.split())
        library = directory / "faulty_disk.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True
        )
        self.env = {
            "LD_PRELOAD": library.name,  # not its path, which would end at its first space
            "LD_LIBRARY_PATH": str(directory),
            "FAULTY_DISK": str(self._control),
        }

    def start_failing(self) -> None:
        """Break it, with or without a server."""
        half_written = self._control.with_suffix(".new")
        half_written.write_text(self._order)
        half_written.rename(self._control)

    def fail(self, server: ServerProcess) -> None:
        self.start_failing()

    def repair(self, server: ServerProcess) -> None:
        self._control.unlink()


class TinyDisk(Disk):
    """A file system of a few megabytes that exists for the server alone, and goes with it."""

    is_partly_usable = True  # what the files have in reserve

    def __init__(self, mount_point: Path, size: str = "4m") -> None:
        mount_point.mkdir(parents=True)
        self._mount_point = mount_point
        script = 'mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@"'
        self.prefix = [*namespace(), "sh", "-c", script, str(mount_point), size]

    def fail(self, server: ServerProcess) -> None:
        with (self._seen(server) / "filler").open("wb", buffering=0) as filler:
            for size in (65_536, 4_096, 1):
                while True:
                    try:
                        filler.write(bytes(size))
                    except OSError:
                        break

    def repair(self, server: ServerProcess) -> None:
        (self._seen(server) / "filler").unlink()

    def data(self, server: ServerProcess) -> Path:
        # A copy: SQLite resolves the path, and /proc/<pid>/root reads as a link to `/`.
        seen = self._seen(server) / server.data_dir.relative_to(self._mount_point)
        return Path(shutil.copytree(seen, self._mount_point.with_name("copy")))

    def _seen(self, server: ServerProcess) -> Path:
        return Path(f"/proc/{server.pid}/root{self._mount_point.absolute()}")


def namespace() -> list[str]:
    """Return the command that runs another one with mounts of its own; [] where none may."""
    if shutil.which("unshare") is None:
        return []
    for command in _IN_NAMESPACE:
        probe = [*command, "mount", "-t", "tmpfs", "tmpfs", os.environ.get("TMPDIR", "/tmp")]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return command
    return []


needs_mounts = pytest.mark.skipif(not namespace(), reason="nobody may mount anything here")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
