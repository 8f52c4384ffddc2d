"""Frames of the wire protocol, taken at their word only where it has the right type."""

from typing import Any

import orjson

Frame = dict[str, Any]


class NotLandline(Exception):
    """The server does not speak the wire protocol; `str(error)` says what it did."""


def decode(said: str | bytes) -> Frame:
    """Return the frame that was said. Raises: NotLandline."""
    try:
        frame = orjson.loads(said)
    except orjson.JSONDecodeError as error:
        raise NotLandline(f"its frames are no JSON: {error}") from None
    if not isinstance(frame, dict):
        raise NotLandline("its frames are no JSON objects")
    return frame


def check_welcome(frame: Frame) -> None:
    """Raises: NotLandline."""
    if frame.get("type") != "welcome" or frame.get("protocol") != 1:
        raise NotLandline(f"its first frame is no welcome of protocol 1: {str(frame)[:60]}")


def text(frame: Frame, name: str) -> str:
    """Return a field that is a text. Raises: NotLandline."""
    value = frame.get(name)
    if not isinstance(value, str):
        raise _wrong(frame, name)
    return value


def texts(frame: Frame, name: str) -> tuple[str, ...]:
    """Return a field that is a list of texts. Raises: NotLandline."""
    value = frame.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _wrong(frame, name)
    return tuple(value)


def integer(frame: Frame, name: str) -> int:
    """Return a field that is an integer. Raises: NotLandline."""
    value = frame.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(frame, name)
    return value


def _wrong(frame: Frame, name: str) -> NotLandline:
    return NotLandline(f"a frame of type {frame['type']} with {name} = {frame.get(name)!r:.40}")
