"""Checks of what a chat is given, when it is made. Later a wrong type would show only when messages
are at stake, and without the name of its parameter.
"""

import inspect
import math
import os
from collections.abc import Mapping
from numbers import Real
from pathlib import Path

from landline.protocol.identity import is_device
from landline.protocol.limits import DEVICE_BYTES

# A hundred years. Much more has no room in the clock of an event loop; "for ever" has.
_MOST_SECONDS = 100 * 366 * 86_400


def check_text(name: str, value: object) -> None:
    """Raises: TypeError, with the name of the parameter and without the value."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a str, not {_kind(value)}")


def check_device(value: object) -> None:
    """Raises: TypeError, ValueError."""
    if value is None:
        return
    check_text("device", value)
    if not value or not is_device(str(value)):
        raise ValueError(
            f"`device` must be a name of 1 to {DEVICE_BYTES} of the characters A-Z a-z 0-9 . _ -,"
            f" not {value!r:.100}"
        )


def check_seconds(name: str, value: object) -> None:
    """Raises: TypeError, ValueError."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number of seconds or None, not {_kind(value)}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.nan
    if not abs(seconds) <= _MOST_SECONDS and seconds != math.inf:
        raise ValueError(f"`{name}` is too long or no number: give seconds, or None")


def check_outbox(value: object) -> Path | None:
    """Return the path of an outbox. Raises: TypeError, ValueError."""
    if value is None:
        return None
    path = value if isinstance(value, str) else _path_of(value)
    if not isinstance(path, str):
        raise TypeError(f"`outbox` must be a path or None, not {_kind(value)}")
    try:
        is_one = path != "" and b"\x00" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_one = False
    if not is_one:
        raise ValueError(f"`outbox` cannot be the path of a file: {path!r:.300}")
    return Path(path)


def check_token_type(value: object) -> None:
    """Raises: TypeError."""
    if value is not None and not isinstance(value, str) and not callable(value):
        raise TypeError(f"`token` must be a str, a function or None, not {_kind(value)}")


def check_listener(value: object) -> None:
    """Raises: TypeError."""
    if value is not None and not callable(value):
        raise TypeError(f"`on_event` must be a function or None, not {_kind(value)}")
    if inspect.iscoroutinefunction(value):
        raise TypeError("`on_event` must be a plain function: an async one would not be awaited")


def check_header_types(value: object) -> None:
    """Raises: TypeError, without the values: they may be secret."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise TypeError(f"`headers` must be a mapping or None, not {_kind(value)}")
    for name, text in value.items():
        if not isinstance(name, str):
            raise TypeError(f"`headers` must have names that are str, not {_kind(name)}")
        if not isinstance(text, str):
            raise TypeError(
                f"`headers` must have values that are str; that of {name!r} is {_kind(text)}"
            )


def check_proxy_type(value: object) -> None:
    """Raises: TypeError."""
    if value is not None and value is not True and not isinstance(value, str):
        what = "False" if value is False else _kind(value)
        raise TypeError(f"`proxy` must be a URL, None for none or True, not {what}")


def _path_of(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _kind(value: object) -> str:
    return type(value).__name__
