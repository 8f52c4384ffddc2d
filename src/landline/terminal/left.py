"""Lines that were not accepted, for the end: all are counted, and the first ones are named."""

import sys
from bisect import insort
from dataclasses import dataclass

from landline.terminal.screen import harmless

# Lines that are named at the end, and how much of each.
NAMED_LINES = 20
NAMED_CHARACTERS = 60
# The reason of a server or a proxy can be as long as a frame.
REASON_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class _Named:
    number: int
    text: str
    why: str


class Left:
    """Lines that were not accepted, however many and long. It keeps only what it will say."""

    def __init__(self) -> None:
        self.unread: str | None = None  # of the input, in words
        self._count = 0
        self._named: list[_Named] = []

    def __bool__(self) -> bool:
        return self._count > 0 or self.unread is not None

    def add(self, number: int, text: str, why: str) -> None:
        """Count a line. Its number is 0 if it is of an earlier time."""
        self._count += 1
        line = _Named(number, beginning(text), beginning(why, REASON_CHARACTERS))
        insort(self._named, line, key=_place)
        del self._named[NAMED_LINES:]

    def told(self) -> str:
        """Return what to say, on several lines; an empty text if nothing is left."""
        told = []
        if self._count:
            told.append(
                f"{self._count} {'line was' if self._count == 1 else 'lines were'} not accepted"
            )
        for line in self._named:
            where = f"line {line.number}: " if line.number else ""
            told.append(f"{where}{line.why}" + (f": {line.text}" if line.text else ""))
        if self._count > len(self._named):
            told.append(f"and {self._count - len(self._named)} more")
        if self.unread is not None:
            told.append(self.unread)
        return "\n  ".join(told)


def _place(line: _Named) -> int:
    return line.number or sys.maxsize


def beginning(text: str, characters: int = NAMED_CHARACTERS) -> str:
    """Return the beginning of a text as it can be shown."""
    return harmless(text[:characters]) + "..." * (len(text) > characters)
