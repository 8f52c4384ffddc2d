"""Where log lines go, without anybody waiting for them: a full disk or a stuck pipe stops no chat.

structlog writes with the object that its `logger_factory` makes: here an `OutputLogger`.

Each output has a thread and a bounded backlog of its own, so that a terminal that somebody has
scrolled up, and that reads nothing, does not hold up the file. Lines are written straight to the
file descriptor: a thread stuck inside a buffered stream would abort the interpreter's exit.
"""

import errno
import os
import select
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

# Enough for a storm of reconnects; some MiB at the most. Beyond it lines are counted, not kept.
BACKLOG_LINES: Final = 10_000
BACKLOG_BYTES: Final = 8 * 1024 * 1024

FILE_BYTES: Final = 20_000_000
FILES_KEPT: Final = 30
# After a rotation that failed, how much more is written before the next try.
_ROTATION_RETRY_BYTES: Final = 1_000_000

_NOBODY_READS: Final = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})


class Destination(Protocol):
    """A place for lines. Used by one thread."""

    def write(self, line: bytes) -> None:
        """Write one line, waiting as long as it takes. Raises: OSError."""

    def reopen(self) -> None:
        """Open it again, where there is something to open. Raises: OSError; nothing has changed."""

    def close(self) -> None:
        """Let go of it."""


class Output:
    """Hands lines to a destination from a thread of its own; never blocks, never raises."""

    def __init__(self, name: str, destination: Destination, lost: Callable[[int], bytes]) -> None:
        """Start the thread. `lost` renders the line that tells how many lines are missing."""
        self._destination = destination
        self._lost_line = lost
        self._lines: list[bytes] = []
        self._size_bytes = 0
        self._lost = 0
        self._is_closing = False
        self._when_reopened: Callable[[OSError | None], None] | None = None
        # Its lock can be taken again by its holder: a signal handler or a finalizer may log.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"log-{name}", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Take a line, or count it as lost when the backlog is full."""
        with self._changed:
            if self._is_closing:
                return
            if len(self._lines) >= BACKLOG_LINES or self._size_bytes + len(line) > BACKLOG_BYTES:
                self._lost += 1
                return
            self._lines.append(line)
            self._size_bytes += len(line)
            self._changed.notify()

    def reopen(self, then: Callable[[OSError | None], None]) -> None:
        """Open the destination again, and tell how it went, from the thread."""
        with self._changed:
            self._when_reopened = then
            self._changed.notify()

    def close(self, timeout_seconds: float) -> None:
        """Write what is left, for so long at the most."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_seconds)
        if not self._thread.is_alive():
            self._destination.close()

    def _run(self) -> None:
        unreported = 0
        while (lines := self._take()) is not None:
            self._reopen_if_asked()
            for line in lines:
                unreported += not self._write(line)
            with self._changed:
                unreported += self._lost
                self._lost = 0
            if unreported and self._write(self._lost_line(unreported)):
                unreported = 0

    def _take(self) -> list[bytes] | None:
        """Wait for something to do; None: there will be nothing more."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._is_closing or self._when_reopened)
            lines, self._lines, self._size_bytes = self._lines, [], 0
            return lines if lines or self._when_reopened else None

    def _reopen_if_asked(self) -> None:
        with self._changed:
            then, self._when_reopened = self._when_reopened, None
        if then is None:
            return
        problem = None
        try:
            self._destination.reopen()
        except OSError as error:
            problem = error
        then(problem)

    def _write(self, line: bytes) -> bool:
        try:
            self._destination.write(line)
        except OSError as error:
            if error.errno in _NOBODY_READS:
                with self._changed:
                    self._is_closing = True  # for good: no reader comes back to a closed pipe
            return False
        return True


class OutputLogger:
    """What structlog writes with, as `structlog.BytesLogger` is; but nobody waits for the output.

    The last processor gives it a line for each format; the outputs of the format get the line.
    """

    def __init__(self, outputs: Mapping[str, Sequence[Output]], name: str = "landline") -> None:
        """`outputs`: by the format of their lines. `name`: the module that speaks."""
        self._outputs = outputs
        self.name = name

    def msg(self, **lines: bytes) -> None:
        """Hand over one event, by the name of each format."""
        for format_name, line in lines.items():
            for output in self._outputs[format_name]:
                output.put(line)

    debug = info = warning = error = critical = msg


class Stream:
    """A file descriptor that somebody else opened: standard output."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, line: bytes) -> None:
        """See `Destination`."""
        _write_all(self._descriptor, line)

    def reopen(self) -> None:
        """See `Destination`. Nothing to do: this process did not open it."""

    def close(self) -> None:
        """Leave it open: it is not ours."""


class RotatingFile:
    """A file that is renamed to `.1` when it is full; `.1` becomes `.2`, and so on."""

    def __init__(self, path: Path, limit_bytes: int = FILE_BYTES, kept: int = FILES_KEPT) -> None:
        """Open the file to append to it. Raises: OSError."""
        self._path = path
        self._limit_bytes = limit_bytes
        self._kept = kept
        self._rotate_at_bytes = limit_bytes
        self._size_bytes = 0
        self._is_torn = False
        self._descriptor: int | None = None
        self._open()
        for number in range(1, kept + 1):
            with suppress(OSError):
                self._numbered(number).chmod(0o600)

    def write(self, line: bytes) -> None:
        """See `Destination`."""
        if self._descriptor is not None and self._size_bytes + len(line) > self._rotate_at_bytes:
            self._rotate()
        descriptor = self._open()
        if self._is_torn:
            line = b"\n" + line
        try:
            _write_all(descriptor, line)
            self._is_torn = False
        except OSError:
            self._is_torn = True  # half a line may stand there: the next one begins with a newline
            raise
        finally:
            self._size_bytes = os.fstat(descriptor).st_size

    def reopen(self) -> None:
        """See `Destination`. Somebody may have moved the file away, or its directory."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        before, self._descriptor = self._descriptor, None
        try:
            self._open()
        except OSError:
            self._descriptor = before  # better a line in the old file than a lost one
            raise
        if before is not None:
            os.close(before)

    def close(self) -> None:
        """See `Destination`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._descriptor = os.open(self._path, flags, 0o600)
            with suppress(OSError):  # somebody else's file: its owner decides who reads it
                os.fchmod(self._descriptor, 0o600)  # whatever the umask, and what was there
            self._size_bytes = os.fstat(self._descriptor).st_size
            self._rotate_at_bytes = self._limit_bytes
        return self._descriptor

    def _rotate(self) -> None:
        if self._size_bytes == 0:
            return  # a line that is longer than a file still goes somewhere
        try:
            for number in range(self._kept - 1, 0, -1):
                with suppress(FileNotFoundError):
                    self._numbered(number).replace(self._numbered(number + 1))
            self._path.replace(self._numbered(1))
        except OSError:
            # Better a file that is too long than a line that is lost.
            self._rotate_at_bytes = self._size_bytes + _ROTATION_RETRY_BYTES
        else:
            self.close()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # another program made the terminal non-blocking
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
