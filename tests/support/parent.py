"""A process that starts others, watched: who of them is left when it ends?"""

import subprocess
import sys
from contextlib import suppress

import psutil

SECONDS = 60.0


class Parent:
    """A process that has started servers. Its descendants are remembered, orphans or not."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.family: list[psutil.Process] = []
        self.said = ""

    def wait_for(self, text: str) -> None:
        """Wait until it says that, and note its descendants."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if text in line:
                break
        assert text in self.said, self.said
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def left(self) -> list[psutil.Process]:
        """Return who is still there; waits for those that are about to go."""
        _, alive = psutil.wait_procs(self.family, timeout=SECONDS)
        return alive

    def end(self) -> None:
        """End it and all that it has started, the hard way."""
        self.process.kill()
        self.process.communicate()
        for process in self.family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
