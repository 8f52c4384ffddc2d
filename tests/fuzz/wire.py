"""What the other side may say: server frames and HTTP responses, checked against the protocol.

`Said` reads the client's own bytes as RFC 6455 has them, to know where a connection cannot go on.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from support.raw import CLOSE, CONTINUATION, PING, PONG, TEXT

FRAME_BYTES: Final = 65_536

ERRORS: Final = {
    *("bad_frame", "unknown_type", "bad_recipient", "bad_ref", "content_empty"),
    *("content_too_large", "busy", "unavailable", "too_fast", "forbidden"),
}
CLOSES: Final = {1000, 1002, 1003, 1007, 1008, 1009}
STATUSES: Final = {
    *(101, 200, 202, 204, 307, 308, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 422, 426),
    *(429, 431, 501, 503, 505),
}


class Unfit(Exception):
    """An answer that the protocol does not have."""


# Server frames ------------------------------------------------------------------------------------

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

Check = Callable[[Any], bool]


def _is(kind: type) -> Check:
    return lambda value: type(value) is kind


def _one_of(*values: object) -> Check:
    return lambda value: value in values


def _like(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


_POSITION: Final[Mapping[str, Check]] = {
    "id": _like(_ID), "conversation": _is(str), "offset": _is(int), "time": _like(_TIME),
}  # fmt: skip
SCHEMA: Final[Mapping[str, Mapping[str, Check]]] = {
    "welcome": {
        "user": _is(str), "server": _is(str), "session": _is(str), "protocol": _one_of(1),
        "durability": _is(str), "limits": _is(dict),
    },
    "accepted": {**_POSITION, "ref": _optional(_is(str))},
    "message": {
        **_POSITION, "sender": _is(str), "to": _is(str), "content": _is(str),
        "data": _optional(_is(dict)), "replay": _optional(_one_of(True)),
    },
    "caught_up": {"replayed": _is(int)},
    "status": {
        "ids": _is(list), "user": _is(str), "status": _one_of("DELIVERED"), "time": _like(_TIME),
    },
    "error": {
        "code": _one_of(*ERRORS), "message": _is(str), "ref": _optional(_is(str)),
        "outcome": _one_of(None, "rejected", "unknown"), "retry_after_ms": _optional(_is(int)),
    },
    "pong": {},
    "authenticated": {"expires": _optional(_like(_TIME))},
}  # fmt: skip


def check_frame(payload: bytes) -> str:
    """Return the type of a server frame. Raises: Unfit."""
    try:
        said = json.loads(payload)
    except ValueError:
        raise Unfit(f"no JSON: {payload[:200]!r}") from None
    fields = SCHEMA.get(str(said.get("type"))) if isinstance(said, dict) else None
    if fields is None:
        raise Unfit(f"no frame of the protocol: {payload[:200]!r}")
    for name in said.keys() - fields.keys() - {"type"}:
        raise Unfit(f"{name} is no field of it: {payload[:200]!r}")
    for name, is_good in fields.items():
        if not is_good(said.get(name)):
            raise Unfit(f"{name} is wrong: {payload[:200]!r}")
    kind: str = said["type"]
    return kind


def split(received: bytearray) -> tuple[int, bytes] | None:
    """Take one whole frame of a server from the front; None when there is none yet."""
    if len(received) < 2:
        return None
    if received[1] & 0x80 or received[0] & 0x70 or not received[0] & 0x80:
        raise Unfit(
            f"a server's frame is whole, not masked, without bits: {bytes(received[:20])!r}"
        )
    size, start = received[1] & 0x7F, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        if len(received) < start:
            return None
        size = int.from_bytes(received[2:start], "big")
    if len(received) < start + size:
        return None
    opcode, payload = received[0] & 0x0F, bytes(received[start : start + size])
    del received[: start + size]
    return opcode, payload


# What a client has said ---------------------------------------------------------------------------


class Said:
    """Follows what a connection was sent."""

    def __init__(self) -> None:
        self.is_open = True  # it may still go on, as far as frames tell
        self.is_in_message = False

    def add(self, data: bytes) -> bytes:
        """Take bytes that begin with a frame. Returns them, with the end of the last frame added
        where it is missing.
        """
        place = 0
        while self.is_open and place < len(data):
            data = data.ljust(place + 2, b"\x00")
            first, second = data[place : place + 2]
            size, start = second & 0x7F, place + 2
            if size >= 126:
                end = start + (2 if size == 126 else 8)
                data = data.ljust(end, b"\x00")
                size, start = int.from_bytes(data[start:end], "big"), end
            self._judge(first & 0x0F, first, second, size, start - place - 2)
            place = start + 4 + (size if size <= FRAME_BYTES else 0)
            data = data.ljust(place, b"\x00")
        return data

    def _judge(self, opcode: int, first: int, second: int, size: int, length_bytes: int) -> None:
        is_final = bool(first & 0x80)
        shortest = 0 if size < 126 else 2 if size < 65_536 else 8
        is_control = opcode >= CLOSE
        self.is_open = (
            opcode in (CONTINUATION, TEXT, PING, PONG)
            and not first & 0x70
            and bool(second & 0x80)
            and length_bytes == shortest
            and size <= FRAME_BYTES
            and not (is_control and (not is_final or size > 125))
            and (is_control or (opcode == TEXT) != self.is_in_message)
        )
        if not is_control:
            self.is_in_message = not is_final


# HTTP ---------------------------------------------------------------------------------------------

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]*")
_HEADER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[\t -~\x80-\xff]*")
_TELLS: Final = re.compile(rb"Traceback|uvicorn|starlette|python|\.py\b", re.IGNORECASE)


def check_responses(data: bytes, sent: bytes) -> list[int]:
    """Return the statuses of the responses in what a server has sent. Raises: Unfit."""
    statuses: list[int] = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        line, *headers = head.split(b"\r\n")
        match = _STATUS_LINE.fullmatch(line)
        if not end or match is None or not all(map(_HEADER.fullmatch, headers)):
            raise Unfit(f"no HTTP response: {data[:200]!r}")
        status = int(match[1])
        if status == 100:  # Expect: 100-continue
            data = rest
            continue
        if status not in STATUSES:
            raise Unfit(f"the status {status} is not expected: {data[:300]!r}")
        statuses.append(status)
        if status == 101:
            return statuses  # frames follow
        if status >= 400 and _TELLS.search(data):
            raise Unfit(f"an error tells of the inside: {data[:300]!r}")
        named = {
            name.lower(): value.strip() for name, _, value in (h.partition(b":") for h in headers)
        }
        if named.get(b"transfer-encoding") == b"chunked":  # uvicorn's own answer to bad chunks
            if not rest.endswith(b"0\r\n\r\n"):
                raise Unfit(f"it was cut off: {data[:200]!r}")
            return statuses
        if b"content-length" not in named and status not in (204, 304):
            raise Unfit(f"nobody knows where it ends: {head!r}")
        size = int(named.get(b"content-length", b"0"))
        if rest.startswith(b"HTTP/1.1 ") or (not rest and b"HEAD" in sent):
            size = 0  # an answer to HEAD
        if len(rest) < size:
            raise Unfit(f"it was cut off: {data[:200]!r}")
        data = rest[size:]
    return statuses
