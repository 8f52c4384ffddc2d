"""Strict JSON: one object, no name twice, no NaN, nothing that cannot be stored. To look at what
a stranger has written costs little, however it was written.
"""

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

import orjson

from landline.protocol.codes import ErrorCode
from landline.protocol.identity import utf8_length
from landline.protocol.limits import ACK_IDS, DATA_BYTES, JSON_DEPTH, ROOM_MEMBERS, UNKNOWN_BYTES

_INTEGERS = range(-(2**63), 2**64)
# The fields of all frames of a client, with what JSON makes of them when they are meant.
_FIELDS: Mapping[str, type] = {
    "type": str,
    "to": str,
    "conversation": str,
    "content": str,
    "data": dict,
    "ref": str,
    "retry": bool,
    "ids": list,
    "token": str,
    "sender": str,
    "title": str,
    "members": list,
    "history": str,
    "user": str,
    "change": str,
    "role": str,
    "request": str,
    "limit": int,
    "offset": int,
}
_TOO_MUCH = f"a frame must not hold more than {UNKNOWN_BYTES} bytes beside the protocol's fields"
TOO_MANY_IDS = f"ids must be a list of at most {ACK_IDS} message ids"
TOO_MANY_MEMBERS = f"members must be a list of at most {ROOM_MEMBERS} user names"
TOO_MUCH_DATA = f"data must not exceed {DATA_BYTES} bytes"


class _Nothing:
    """What no value of JSON is."""


class NotStrict(ValueError):
    """JSON that Python's parser would take and we do not; `str(error)` says why."""

    def __init__(
        self,
        why: str,
        frame: Mapping[str, Any] | None = None,
        code: ErrorCode = ErrorCode.BAD_FRAME,
    ) -> None:
        """`frame`: what it would have been, where that is known already."""
        super().__init__(why)
        self.frame = frame
        self.code = code


def parse(text: str) -> Mapping[str, Any]:
    """Parse strict JSON: one object, no duplicate names, no NaN, nothing that cannot be stored."""
    if _is_large(text):
        _check_unknown(text)
    try:
        parsed = _STRICT.decode(text)
    except NotStrict:
        raise
    except RecursionError:
        raise NotStrict(f"JSON must not nest deeper than {JSON_DEPTH}") from None
    except ValueError:  # also integers of more digits than Python converts
        raise NotStrict("a frame must be one JSON object") from None
    if not isinstance(parsed, dict):
        raise NotStrict("a frame must be one JSON object")
    _check_values(parsed)
    return parsed


def _is_large(text: str) -> bool:
    """Say whether there may be too much in it that is not ours."""
    return len(text) > UNKNOWN_BYTES or utf8_length(text) > UNKNOWN_BYTES


def _check_unknown(text: str) -> None:
    """Refuse a large frame that is mostly not ours, before anything looks at its every value.

    64 KiB of JSON can hold 30,000 values. A strict look in Python takes 20 ms of the event loop; a
    quick one takes as long, with garbage collection. If a name is given twice, a quick look keeps
    only the last value. So what it kept is compared with what the text spells out.
    """
    spelled_out = _spelled_out(text)
    if spelled_out > 4 * UNKNOWN_BYTES:
        raise NotStrict(_TOO_MUCH, _beginning(text))
    try:
        frame = orjson.loads(text)
    except ValueError as error:  # it takes all that is strict for us
        known = _beginning(text) if spelled_out > UNKNOWN_BYTES else None
        raise NotStrict(f"a frame must be one JSON object: {error}", known) from None
    if not isinstance(frame, dict):
        raise NotStrict("a frame must be one JSON object", {})
    if isinstance(ids := frame.get("ids"), list) and len(ids) > ACK_IDS:
        raise NotStrict(TOO_MANY_IDS, frame)
    if isinstance(members := frame.get("members"), list) and len(members) > ROOM_MEMBERS:
        raise NotStrict(TOO_MANY_MEMBERS, frame)
    if isinstance(data := frame.get("data"), dict) and len(orjson.dumps(data)) > DATA_BYTES:
        raise NotStrict(TOO_MUCH_DATA, frame, ErrorCode.CONTENT_TOO_LARGE)
    meant = {name: value for name, value in frame.items() if _is_meant(name, value)}
    unknown = {name: value for name, value in frame.items() if name not in meant}
    if spelled_out > UNKNOWN_BYTES:  # an ack may have that much
        spelled_out -= _spelled_out(orjson.dumps(meant).decode())
    if max(spelled_out, len(orjson.dumps(unknown))) > UNKNOWN_BYTES:
        raise NotStrict(_TOO_MUCH, frame)


def _masked(text: str) -> str:
    """Return JSON of the same length in which every quote begins or ends a string."""
    return text.replace("\\\\", "__").replace('\\"', "__")


def _spelled_out(text: str) -> int:
    """Return the length of JSON without its blanks and what its strings hold.

    No value has less than one character here, so that a short one has few values.
    """
    masked = _masked(text)
    quotes = masked.count('"')
    if quotes > 4 * UNKNOWN_BYTES:
        return quotes  # it is too much already
    outside = "".join(masked.split('"')[::2])
    return quotes + len(outside) - sum(map(outside.count, " \t\r\n"))


def _beginning(text: str) -> Mapping[str, Any]:
    """Return what stands before the first list or object in a frame, or its first few members."""
    masked = _masked(text)
    at, start, members = 0, masked.find("{") + 1, ""
    for number, piece in enumerate(masked.split('"', 8 * len(_FIELDS) + 1)):
        if number % 2 == 0:  # outside of strings
            if nested := _NESTED.search(piece, start):
                return salvage(f"{text[: at + nested.start()]}0}}")
            if "," in piece:
                members = text[: at + piece.rindex(",")]
            start = 0
        at += len(piece) + 1
    return salvage(members + "}")


def _is_meant(name: str, value: Any) -> bool:
    """Say whether this is one of our fields, and at a glance not made to cost us time."""
    if not isinstance(value, _FIELDS.get(name, _Nothing)):
        return False
    if isinstance(value, dict):
        return len(orjson.dumps(value)) <= DATA_BYTES
    return not isinstance(value, list) or all(isinstance(each, str) for each in value)


def _check_values(frame: Mapping[str, Any]) -> None:
    # An explicit stack: the depth of hostile input must not be the depth of our calls.
    stack: list[tuple[Any, int]] = [(frame, 1)]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, str):
            if utf8_length(value) < 0:
                raise NotStrict("strings must not contain lone surrogates")
        elif isinstance(value, dict):
            if depth > JSON_DEPTH:
                raise NotStrict(f"JSON must not nest deeper than {JSON_DEPTH}")
            for name, inner in value.items():
                if utf8_length(name) < 0:
                    raise NotStrict("strings must not contain lone surrogates")
                stack.append((inner, depth + 1))
        elif isinstance(value, list):
            if depth > JSON_DEPTH:
                raise NotStrict(f"JSON must not nest deeper than {JSON_DEPTH}")
            stack.extend((inner, depth + 1) for inner in value)
        elif isinstance(value, float):
            if not isfinite(value):
                raise NotStrict("numbers must be finite")
        elif isinstance(value, int) and value not in _INTEGERS:
            raise NotStrict("integers must fit into 64 bits")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrict("names in a JSON object must be unique")
    return members


def _no_constant(_name: str) -> Any:
    raise NotStrict("NaN and Infinity are not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
_LENIENT = json.JSONDecoder()
_NESTED = re.compile(r"[\[{]")


def salvage(text: str) -> Mapping[str, Any]:
    """Make out of a broken frame what can be made: its sender may wait for an answer."""
    for decode in (orjson.loads, _LENIENT.decode):  # the second takes more, and ten times as long
        if decode == _LENIENT.decode and _spelled_out(text) > UNKNOWN_BYTES:
            break
        try:
            frame = decode(text)
        except (ValueError, RecursionError):
            continue
        return frame if isinstance(frame, dict) else {}
    return {}
