"""The screen: whatever it shows is harmless, and a screen that fails does not end the chat."""

import asyncio
import io
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import TextIO

# Directional controls make a terminal show something other than the text.
_BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Control characters (Cc), what may begin a line or paragraph of its own (Zl, Zp), and lone
# surrogates (Cs): these categories have no other characters, whatever the version of Unicode.
_UNFIT = frozenset(
    map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)))
)
_SUBSTITUTES = str.maketrans(
    dict.fromkeys(_UNFIT | _BIDI_CONTROLS, "\N{REPLACEMENT CHARACTER}")
    | {"\n": "\N{RETURN SYMBOL}"}
)


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks before one's own lines."""

    accepted: str
    delivered: str
    refused: str


_TICKS = Marks("\N{CHECK MARK}", "\N{CHECK MARK}" * 2, "\N{BALLOT X}")
_PLAIN = Marks("+", "++", "!")


class Screen:
    """Standard output. `gone` is set when nothing can be shown any more, or from the start."""

    def __init__(self, stream: TextIO | None) -> None:
        """`stream`: None if the program was started with its output closed."""
        self.gone = asyncio.Event()
        self._stream = stream
        self.marks = _TICKS
        if stream is None:
            self.gone.set()
            return
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            with suppress(OSError):
                os.set_blocking(stream.fileno(), True)  # another program may have changed it
        try:
            _TICKS.delivered.encode(stream.encoding or "utf-8")
            _TICKS.refused.encode(stream.encoding or "utf-8")
        except UnicodeEncodeError:
            self.marks = _PLAIN

    def show(self, text: str) -> bool:
        """Show a line. Returns whether that was possible."""
        if self._stream is None or self.gone.is_set():
            return False
        try:
            print(text, file=self._stream, flush=True)
        except OSError:  # the pipe has no reader, the terminal is gone, the disk is full
            self.gone.set()
            self._discard()
            return False
        return True

    def _discard(self) -> None:
        """Send the rest nowhere: at its end the interpreter would write it, and complain."""
        assert self._stream is not None
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def harmless(text: str) -> str:
    """Return text on one line that cannot steer a terminal or pretend to be another line."""
    # Most texts have nothing to replace, and a long one must not take long.
    return text if text.isprintable() else text.translate(_SUBSTITUTES)


def time_of_day(time: datetime, today: date) -> str:
    """Return a time as people read it, with its date if that is not today."""
    try:
        local = time.astimezone()
    except (OverflowError, ValueError, OSError):  # the first or last day of the calendar
        local = time
    if local.date() == today:
        return local.strftime("%H:%M")
    return f"{local.date().isoformat()} {local.strftime('%H:%M')}"
