"""What is going on, for a user who waits: one changing line on a terminal, few plain ones else."""

import sys
import threading
from contextlib import suppress
from typing import TextIO


class Progress:
    """Writes to standard error, where that is still there. May be used from several threads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._lock = threading.Lock()
        self._shown = ""

    def say(self, text: str) -> None:
        """Write a line that stays."""
        with self._lock, suppress(OSError):
            self._erase()
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def show(self, text: str) -> None:
        """Show a line until the next one; only a terminal can do that."""
        if self._is_terminal:
            with self._lock, suppress(OSError):
                self._erase()
                self._stream.write(text)
                self._stream.flush()
                self._shown = text

    def _erase(self) -> None:
        if self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""


class Silence(Progress):
    """Says nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def show(self, text: str) -> None:
        """Show nothing."""
