"""Rows go into a statement and come out of it as one JSON value each way.

A statement that steps once releases the interpreter's lock once; with one step a row, every row
could wait out the other thread's switch interval.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

NO_ROWS: Final = "[]"
# What the default mailbox has in place of a device: no device can be called so.
DEFAULT_DEVICE: Final = "*"


def given(rows: Iterable[Any]) -> str:
    """Return rows, or values, as a statement takes them."""
    return orjson.dumps(list(rows)).decode()


def taken(rows: str) -> Sequence[Any]:
    """Return what a statement answered."""
    found: Sequence[Any] = orjson.loads(rows)
    return found


def stored_device(device: str | None) -> str:
    """Return what stands for the device of a mailbox in the tables."""
    return DEFAULT_DEVICE if device is None else device


def statements_of(script: str) -> Sequence[str]:
    """Return the statements of a script. `executescript` would commit what has begun."""
    found, lines = [], ""
    for line in script.splitlines(keepends=True):
        lines += line
        if sqlite3.complete_statement(lines):
            found.append(lines)
            lines = ""
    return found
