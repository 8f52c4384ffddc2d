"""Client frames: what a client may say, and the one validator of it.

Whatever `decode` lets through can be stored by every store: the writer checks records with the
same functions (`landline.protocol.records`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import orjson

from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.identity import (
    BadName,
    check_user_name,
    is_message_id,
    is_ref,
    utf8_length,
)
from landline.protocol.limits import (
    ACK_IDS,
    CONTENT_BYTES,
    JSON_DEPTH,
    REF_BYTES,
    UNKNOWN_BYTES,
)

_INTEGERS = range(-(2**63), 2**64)
# The fields of all frames of a client, with what JSON makes of them when they are meant.
_FIELDS: Mapping[str, type] = {
    "type": str,
    "to": str,
    "content": str,
    "ref": str,
    "retry": bool,
    "ids": list,
    "token": str,
    "sender": str,
}


@dataclass(frozen=True, slots=True)
class Send:
    """Ask for a message to be accepted. `retry`: an earlier try's answer was never seen."""

    to: str
    content: str
    ref: str | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """The client has safely received these messages."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Answered by `pong`, for clients that cannot send WebSocket pings."""


ClientFrame = Send | Ack | Ping


@dataclass(frozen=True, slots=True)
class Auth:
    """A token that says who this is. No session needs to know it."""

    token: str = field(repr=False)


_TOO_MUCH = f"a frame must not hold more than {UNKNOWN_BYTES} bytes beside the protocol's fields"
_TOO_MANY_IDS = f"ids must be a list of at most {ACK_IDS} message ids"


class BadFrame(ValueError):
    """A frame that cannot be taken. `outcome` is set when a send is concerned."""

    def __init__(
        self, code: ErrorCode, message: str, outcome: Outcome | None = None, ref: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.outcome = outcome
        self.ref = ref


class _Nothing:
    """What no value of JSON is."""


class _NotStrict(ValueError):
    """JSON that Python's parser would take and we do not; `str(error)` says why."""

    def __init__(self, why: str, frame: Mapping[str, Any] | None = None) -> None:
        """`frame`: what it would have been, where that is known already."""
        super().__init__(why)
        self.frame = frame


def decode(text: str) -> ClientFrame | Auth:
    """Return the client's frame.

    Raises: BadFrame, with the outcome and `ref` of the send as far as they can be made out.
    """
    frame = read_object(text)
    kind = frame.get("type", "send" if "to" in frame and "content" in frame else None)
    if kind == "send":
        return read_send(frame)
    if kind == "ack":
        return _ack(frame)
    if kind == "ping":
        return Ping()
    if kind == "auth":
        return _auth(frame)
    if "type" in frame and isinstance(kind, str):
        raise BadFrame(
            ErrorCode.UNKNOWN_TYPE, "unknown frame type; known are send, ack, ping and auth"
        )
    raise BadFrame(
        ErrorCode.BAD_FRAME,
        "a frame needs a type (send, ack, ping or auth), or to and content for a send",
        *_concerned(frame),
    )


def read_object(text: str, *, what: str = "a frame") -> Mapping[str, Any]:
    """Return a frame's fields, or those of a request's body, which are held to the same rules.
    `what` it is called where it breaks them.

    Raises: BadFrame, with the outcome and `ref` of the send as far as they can be made out.
    """
    try:
        return _parse(text)
    except _NotStrict as error:
        frame = _salvage(text) if error.frame is None else error.frame
        reason = str(error).replace("a frame", what, 1)
        raise BadFrame(ErrorCode.BAD_FRAME, reason, *_concerned(frame)) from None


def read_send(frame: Mapping[str, Any]) -> Send:
    """Return the send that these fields are. Raises: BadFrame."""
    ref = frame.get("ref")
    to = frame.get("to")
    content = frame.get("content")
    retry = frame.get("retry")
    code = None
    if ref is not None and not isinstance(ref, str):
        code, why = ErrorCode.BAD_FRAME, "ref must be a string"
        ref = None
    elif ref is not None and not is_ref(ref):
        code, why = ErrorCode.BAD_REF, f"ref must have 1 to {REF_BYTES} bytes and no NUL"
        ref = None
    elif not isinstance(to, str):
        code, why = ErrorCode.BAD_FRAME, "to must be a string: the recipient's user name"
    elif not isinstance(content, str):
        code, why = ErrorCode.BAD_FRAME, "content must be a string"
    elif retry is not None and not isinstance(retry, bool):
        code, why = ErrorCode.BAD_FRAME, "retry must be true or false"
    elif "\x00" in content:
        code, why = ErrorCode.BAD_FRAME, "content must not contain NUL"
    elif not content:
        code, why = ErrorCode.CONTENT_EMPTY, "content must not be empty"
    elif utf8_length(content) > CONTENT_BYTES:
        code, why = ErrorCode.CONTENT_TOO_LARGE, f"content must not exceed {CONTENT_BYTES} bytes"
    else:
        try:
            return Send(check_user_name(to), content, ref, bool(retry))
        except BadName as error:
            code, why = ErrorCode.BAD_RECIPIENT, f"to: {error}"
    raise BadFrame(code, why, Outcome.REJECTED, ref)


def _ack(frame: Mapping[str, Any]) -> Ack:
    ids = frame.get("ids")
    if not isinstance(ids, list) or len(ids) > ACK_IDS:
        raise BadFrame(ErrorCode.BAD_FRAME, _TOO_MANY_IDS)
    if not all(map(is_message_id, ids)):
        raise BadFrame(ErrorCode.BAD_FRAME, "ids must hold message ids: lower-case UUIDs")
    return Ack(tuple(ids))


def _auth(frame: Mapping[str, Any]) -> Auth:
    token = frame.get("token")
    if not isinstance(token, str):
        raise BadFrame(ErrorCode.BAD_FRAME, "token must be a string")
    return Auth(token)


def _parse(text: str) -> Mapping[str, Any]:
    """Parse strict JSON: one object, no duplicate names, no NaN, nothing that cannot be stored."""
    if _is_large(text):
        _check_unknown(text)
    try:
        parsed = _STRICT.decode(text)
    except _NotStrict:
        raise
    except RecursionError:
        raise _NotStrict(f"JSON must not nest deeper than {JSON_DEPTH}") from None
    except ValueError:  # also integers of more digits than Python converts
        raise _NotStrict("a frame must be one JSON object") from None
    if not isinstance(parsed, dict):
        raise _NotStrict("a frame must be one JSON object")
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
        raise _NotStrict(_TOO_MUCH, _beginning(text))
    try:
        frame = orjson.loads(text)
    except ValueError as error:  # it takes all that is strict for us
        known = _beginning(text) if spelled_out > UNKNOWN_BYTES else None
        raise _NotStrict(f"a frame must be one JSON object: {error}", known) from None
    if not isinstance(frame, dict):
        raise _NotStrict("a frame must be one JSON object", {})
    if isinstance(ids := frame.get("ids"), list) and len(ids) > ACK_IDS:
        raise _NotStrict(_TOO_MANY_IDS, frame)
    meant = {name: value for name, value in frame.items() if _is_meant(name, value)}
    unknown = {name: value for name, value in frame.items() if name not in meant}
    if spelled_out > UNKNOWN_BYTES:  # an ack may have that much
        spelled_out -= _spelled_out(orjson.dumps(meant).decode())
    if max(spelled_out, len(orjson.dumps(unknown))) > UNKNOWN_BYTES:
        raise _NotStrict(_TOO_MUCH, frame)


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
                return _salvage(f"{text[: at + nested.start()]}0}}")
            if "," in piece:
                members = text[: at + piece.rindex(",")]
            start = 0
        at += len(piece) + 1
    return _salvage(members + "}")


def _is_meant(name: str, value: Any) -> bool:
    """Say whether this is one of our fields, and at a glance not made to cost us time."""
    if not isinstance(value, _FIELDS.get(name, _Nothing)):
        return False
    return not isinstance(value, list) or all(isinstance(each, str) for each in value)


def _check_values(frame: Mapping[str, Any]) -> None:
    # An explicit stack: the depth of hostile input must not be the depth of our calls.
    stack: list[tuple[Any, int]] = [(frame, 1)]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, str):
            if utf8_length(value) < 0:
                raise _NotStrict("strings must not contain lone surrogates")
        elif isinstance(value, dict):
            if depth > JSON_DEPTH:
                raise _NotStrict(f"JSON must not nest deeper than {JSON_DEPTH}")
            for name, inner in value.items():
                if utf8_length(name) < 0:
                    raise _NotStrict("strings must not contain lone surrogates")
                stack.append((inner, depth + 1))
        elif isinstance(value, list):
            if depth > JSON_DEPTH:
                raise _NotStrict(f"JSON must not nest deeper than {JSON_DEPTH}")
            stack.extend((inner, depth + 1) for inner in value)
        elif isinstance(value, float):
            if not isfinite(value):
                raise _NotStrict("numbers must be finite")
        elif isinstance(value, int) and value not in _INTEGERS:
            raise _NotStrict("integers must fit into 64 bits")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotStrict("names in a JSON object must be unique")
    return members


def _no_constant(_name: str) -> Any:
    raise _NotStrict("NaN and Infinity are not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
_LENIENT = json.JSONDecoder()
_NESTED = re.compile(r"[\[{]")


def _salvage(text: str) -> Mapping[str, Any]:
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


def _concerned(frame: Mapping[str, Any]) -> tuple[Outcome | None, str | None]:
    """Say whether a frame that cannot be taken meant a send, and which."""
    is_send = frame.get("type", "send") == "send" and ("to" in frame or "content" in frame)
    if not is_send:
        return None, None
    ref = frame.get("ref")
    return Outcome.REJECTED, ref if isinstance(ref, str) and is_ref(ref) else None
