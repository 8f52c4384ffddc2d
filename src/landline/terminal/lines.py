"""The input, typed or piped, line by line and unchanged.

A line is UTF-8 and ends with LF or CRLF; the last one may end without. A line that cannot be read
is handed on with its problem. A byte-order mark at the head of the input is not part of the text.
"""

import asyncio
import codecs
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

from landline.protocol.limits import CONTENT_BYTES

# The content, a slash before one that begins with a slash, and a carriage return.
LINE_BYTES = CONTENT_BYTES + 2
# How many lines are read before the first of them is taken.
LINES_AHEAD = 100
# Linux takes this much for one line of a terminal and drops the rest silently (termios(3)).
TERMINAL_LINE_BYTES = 4095

_CHUNK_BYTES = 4096
_PREVIEW_BYTES = 100


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the input. `problem`: why it cannot be sent; `text` is then its beginning."""

    number: int
    text: str
    problem: str | None = None


class Splitter:
    """Makes lines of chunks of bytes. Holds one line at most."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self._is_terminal = is_terminal
        self._line = bytearray()
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Return the lines that end in this chunk."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._add(part)
            yield self._take(is_ended=True)
        self._add(rest)

    def end(self) -> Iterator[Line]:
        """Return the last line, if it has no end."""
        if self._line:
            yield self._take(is_ended=False)

    def _add(self, part: bytes) -> None:
        most = LINE_BYTES + 1 + len(codecs.BOM_UTF8)
        self._line += part[: most - len(self._line)]

    def _take(self, *, is_ended: bool) -> Line:
        self._number += 1
        raw = bytes(self._line)
        self._line.clear()
        is_cut = self._is_terminal and len(raw) >= TERMINAL_LINE_BYTES
        if self._number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > LINE_BYTES:
            return self._problem(raw, f"it is longer than {CONTENT_BYTES:,} bytes")
        if is_cut:
            why = f"a terminal cuts lines at {TERMINAL_LINE_BYTES:,} bytes: send it through a pipe"
            return self._problem(raw, why)
        if is_ended:
            raw = raw.removesuffix(b"\r")
        try:
            return Line(self._number, raw.decode())
        except UnicodeDecodeError as error:
            why = f"byte {error.start + 1} (0x{raw[error.start]:02x}) is not UTF-8"
            return self._problem(raw, why)

    def _problem(self, raw: bytes, why: str) -> Line:
        shown = raw[:_PREVIEW_BYTES].decode("utf-8", "replace")
        return Line(self._number, shown + "..." * (len(raw) > _PREVIEW_BYTES), why)


class Input:
    """Standard input, read on a thread: that works for terminals, pipes and files alike."""

    def __init__(self, stream: TextIO | None) -> None:
        """`stream`: None if the program was started with its input closed."""
        self._descriptor = -1 if stream is None else stream.fileno()
        self.is_terminal = stream is not None and stream.isatty()
        self.has_ended = False
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue()
        self._room = threading.Semaphore(LINES_AHEAD)
        self._is_read = False

    def start(self) -> None:
        """Begin to read, once. The thread is a daemon because nothing can interrupt a read."""
        if self._is_read:
            return
        self._is_read = True
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            os.set_blocking(self._descriptor, True)  # another program may have changed it
        threading.Thread(target=self._read, args=(loop,), daemon=True).start()

    async def next(self) -> Line | None:
        """Return the next line, or None at the end."""
        line = await self._lines.get()
        self._room.release()
        self.has_ended = line is None
        return line

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not the stream's own methods: a daemon thread inside them holds a lock that the
        # interpreter wants when it ends.
        splitter = Splitter(is_terminal=self.is_terminal)
        with suppress(RuntimeError):  # the loop is closed: nothing reads the queue
            try:
                while chunk := os.read(self._descriptor, _CHUNK_BYTES):
                    for line in splitter.feed(chunk):
                        self._hand(loop, line)
                for line in splitter.end():
                    self._hand(loop, line)
            except OSError as error:
                self._hand(loop, Line(0, "", f"the input cannot be read: {error}"))
            self._hand(loop, None)

    def _hand(self, loop: asyncio.AbstractEventLoop, line: Line | None) -> None:
        self._room.acquire()
        loop.call_soon_threadsafe(self._lines.put_nowait, line)
