"""How far a command is, on a terminal: one line that changes."""

import sys
import time

_SECONDS = 0.2


class Progress:
    """Lines on standard output; in between, on a terminal, how far it is."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown_at = 0.0
        self._shown = 0

    def tell(self, line: str) -> None:
        """Print a line that stays."""
        self.clear()
        print(line, flush=True)

    def progress(self, text: str) -> None:
        """Show how far it is, now and then."""
        now = time.monotonic()
        if self._is_terminal and now - self._shown_at > _SECONDS:
            self.clear()
            sys.stderr.write(text)
            sys.stderr.flush()
            self._shown_at, self._shown = now, len(text)

    def clear(self) -> None:
        """Clear the progress."""
        if self._shown:
            sys.stderr.write("\r" + " " * self._shown + "\r")
            self._shown = 0
