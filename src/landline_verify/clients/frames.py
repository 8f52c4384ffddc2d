"""Frames of the wire protocol, taken at their word only where it has the right type."""

from typing import Any

import orjson

from landline_verify.history.events import Paged
from landline_verify.history.recorder import digest, digest_of_member, digest_of_title

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


def digest_of(frame: Frame) -> str:
    """Return what stands for a message or an event of a room. Raises: NotLandline."""
    if frame["type"] == "room":
        return digest_of_title(None if frame.get("title") is None else text(frame, "title"))
    if frame["type"] == "member":
        return digest_of_member(*(text(frame, each) for each in ("user", "change", "role")))
    return digest(text(frame, "content"))


def marks(frame: Frame) -> tuple[tuple[str, int], ...]:
    """Return the entries of a `read`. Raises: NotLandline."""
    entries = frame.get("entries")
    if not isinstance(entries, list):
        raise _wrong(frame, "entries")
    for entry in entries:
        if not isinstance(entry, list) or [type(each) for each in entry] != [str, int]:
            raise _wrong(frame, "entries")
    return tuple((user, offset) for user, offset in entries)


def listed(frame: Frame) -> tuple[tuple[str, int, int, int], ...]:
    """Return what a list says of each conversation. Raises: NotLandline."""
    return tuple(
        (
            text(item, "conversation"),
            integer(item, "offset"),
            integer(item, "read_offset"),
            integer(item, "unread"),
        )
        for item in _frames(frame, "items")
    )


def paged(frame: Frame, now: float, user: str, c: str) -> Paged:
    """Return the event that a page was read. Raises: NotLandline."""
    messages = tuple(
        (text(each, "id"), integer(each, "offset"), digest_of(each))
        for each in _frames(frame, "messages")
    )
    if not isinstance(frame.get("complete"), bool):
        raise _wrong(frame, "complete")
    return Paged(
        now, user, c, text(frame, "request"), text(frame, "conversation"), messages,
        integer(frame, "from"), integer(frame, "to"), frame["complete"],
    )  # fmt: skip


def _frames(frame: Frame, name: str) -> list[Frame]:
    value = frame.get(name)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _wrong(frame, name)
    return [{"type": frame["type"], **each} for each in value]


def _wrong(frame: Frame, name: str) -> NotLandline:
    return NotLandline(f"a frame of type {frame['type']} with {name} = {frame.get(name)!r:.40}")
