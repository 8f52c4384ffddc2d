"""Valid frames, handshakes, requests and tokens, and what is made wrong in them.

What comes out depends on the seed, the kind and the number alone, so a failure can be sent again.
"""

import base64
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from support.frames import EMOJI, ID
from support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

# What parsers, stores and logs are known to stumble over.
NASTY: Final[Sequence[bytes]] = [
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"),
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 30, b"9" * 5000, b"null", b"true", b"-", b"0x1", b'"'),
    *(b"[", b"]", b"{", b"}", b",", b":", b"\\", b"\\u0000", b"\\ud800", b"\\udc00", b"'", b"//"),
    *(b"[" * 40, b"[" * 5000, b'{"a":' * 40, b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"%"),
    *(b"%00", b"%ff", b"..", b"/../", b"#", b"?", b"&", b"=", b";", b"A" * 300, b"\xef\xbb\xbf"),
    *(b'"type":"ack",', b'"to":"bob",', b'"retry":1,', b'"ids":[],', EMOJI.encode() * 20),
]  # fmt: skip
VALUES: Final[Sequence[Any]] = [
    *(None, True, False, 0, -1, 1.5, 2**63, 2**64, -(2**63) - 1, "", " ", "\x00", "x" * 65, EMOJI),
    *([], {}, [[]], [{}], {"a": {"b": {}}}, ["x"], [ID], [ID] * 257, "\u202e", "e\u0301", "a:b"),
    *("bob", "x" * 5000, "send", "ack", "ping", "auth", "\ud800", "ref", "\u2028", {"a": 2**64}),
]  # fmt: skip
NAMES: Final = ["type", "to", "content", "ref", "retry", "ids", "token", "data", "more", ""]

METHODS: Final = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "get",
]
PATHS: Final = [
    *("/", "/healthz", "/readyz", "/metrics", "/ws", "/ws/chat", "/nothing", "/web/"),
    *("/web/0123456789abcdef/style.css", "/v1/messages", "/v1/openapi.json", "/v1", "/v1/"),
    *("/v1/users/alice/sessions", "/v1/users/a%2fb/sessions", "/v1/users//sessions", "/a/../b"),
    *("/v1/conversations", "/v1/conversations?limit=x&after=%ff", "/v1/conversations/dm:a:b/read"),
    *("/v1/conversations/dm%3Aa%3Ab/messages?before=1", "/v1/rooms", "/v1/rooms//"),
    *("/v1/rooms/room:1/members/a%2fb", "/v1/rooms/room:1/members/%ff?ref=%00", "/v1/rooms/x%3A1"),
    "/v1/users/alice",
]  # fmt: skip
HEADERS: Final[Sequence[tuple[str, str]]] = [
    *(("Origin", "null"), ("Origin", "https://evil.example"), ("Username", "eve"), ("user", "é")),
    *(("Authorization", "Bearer x.y.z"), ("Authorization", "Basic eDp5")),
    *(("Content-Length", "5"), ("Content-Length", "-1"), ("Content-Length", "9" * 20)),
    *(("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "")),
    *(("Host", "evil.example"), ("Host", ""), ("Host", "a b"), ("Expect", "100-continue")),
    *(("Connection", "close"), ("Connection", "keep-alive"), ("Connection", "upgrade")),
    *(("Upgrade", "h2c"), ("Upgrade", "websocket"), ("Cookie", "a=b"), ("Content-Type", "a/b")),
    *(("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="), ("Sec-WebSocket-Key", "short")),
    *(("Sec-WebSocket-Version", "8"), ("Sec-WebSocket-Protocol", "landline.v1, other")),
    *(("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"), ("X", "y" * 9)),
    *(("X-Forwarded-For", "1.2.3.4, ::1"), ("Forwarded", "for=_x"), ("Accept-Encoding", "gzip")),
]  # fmt: skip


def source(seed: int, kind: str, index: int) -> random.Random:
    """Return where the choices of one input come from."""
    return random.Random(f"{seed} {kind} {index}")


def bent(rng: random.Random, data: bytes) -> bytes:
    """Return bytes with some of them cut, doubled, changed, or replaced by something nasty."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.randint(0, 8))
        middle = rng.choice(
            (b"", data[start:end] * 2, rng.randbytes(rng.randint(1, 4)), rng.choice(NASTY))
        )
        data = data[:start] + middle + data[end:]
    return data


# Frames -------------------------------------------------------------------------------------------


def _valid(rng: random.Random) -> dict[str, Any]:
    kind = rng.random()
    if kind < 0.6:
        said: dict[str, Any] = {"type": "send", "to": rng.choice(("bob", "eve", "zoë")), "ref": "r"}
        return said | {"content": rng.choice(("hello", EMOJI, "x" * rng.randint(1, 200)))}
    return {"type": "ack", "ids": [ID]} if kind < 0.8 else {"type": "ping"}


def text(rng: random.Random) -> bytes:
    """Return the JSON of a frame, wrong in its fields, in its text, or not at all."""
    said = _valid(rng)
    for _ in range(rng.choice((0, 1, 1, 2))):
        if rng.random() < 0.3:
            said.pop(rng.choice(list(said)), None)
        else:
            said[rng.choice(NAMES)] = rng.choice(VALUES)
        if not said:
            break
    written = json.dumps(said, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")
    if rng.random() < 0.4:
        written = bent(rng, written)
    if rng.random() < 0.02:  # what is no UTF-8 ends the connection, and that is dear
        return written
    return written.decode("utf-8", "replace").encode()


def _whole(rng: random.Random) -> bytes:
    return frame(TEXT, text(rng))


def _in_pieces(rng: random.Random) -> bytes:
    """A message in fragments, now and then with something wrong between or about them."""
    payload, pieces = text(rng), list[bytes]()
    while payload and len(pieces) < 5:
        size = rng.randint(0, len(payload))
        pieces.append(payload[:size])
        payload = payload[size:]
    pieces.append(payload)
    frames = [
        frame(CONTINUATION if number else TEXT, piece, fin=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    ]
    if rng.random() < 0.15:
        between = (
            frame(PING, b"?"),
            frame(PONG),
            frame(TEXT, b"{}"),
            frame(CONTINUATION, fin=False),
        )
        frames.insert(rng.randint(0, len(frames)), rng.choice(between))
    if rng.random() < 0.05:
        rng.shuffle(frames)
    return b"".join(frames)


def _control(rng: random.Random) -> bytes:
    if rng.random() < 0.95:
        return frame(rng.choice((PING, PONG)), rng.randbytes(rng.randint(0, 125)))
    code = rng.choice((0, 999, 1000, 1001, 1005, 1006, 1015, 2999, 3000, 4401, 4999, 5000, 65535))
    return frame(
        CLOSE, rng.choice((b"", b"\x03", code.to_bytes(2, "big") + rng.choice(NASTY)[:100]))
    )


def _odd(rng: random.Random) -> bytes:
    """A frame whose head is wrong: opcode, bits, mask, length."""
    return frame(
        rng.choice((TEXT, BINARY, CONTINUATION, PING, CLOSE, rng.randint(0, 15))),
        text(rng)[: rng.choice((0, 10, 125, 200))],
        fin=rng.random() < 0.7,
        rsv=rng.choice((0, 0, rng.randint(0, 7))),
        masked=rng.random() < 0.8,
        claim=rng.choice((None, None, rng.randint(0, 300), 2 ** rng.randint(0, 63))),
    )


def _masked(rng: random.Random) -> bytes:
    """A sound frame with a mask, as honest clients send it."""
    payload, mask = text(rng), rng.randbytes(4)
    repeated = mask * (len(payload) // 4 + 1)
    covered = bytes(a ^ b for a, b in zip(payload, repeated, strict=False))
    head = frame(TEXT, payload)[: -len(payload) - 4] if payload else frame(TEXT)[:-4]
    return head + mask + covered


# A frame that ends its connection costs another handshake: most do not.
_FRAMES: Final[Sequence[Callable[[random.Random], bytes]]] = (
    *[_whole] * 64, *[_masked] * 18, *[_in_pieces] * 6, *[_control] * 4, _odd,
    lambda rng: bent(rng, _whole(rng)),
)  # fmt: skip


def frames(rng: random.Random) -> bytes:
    """Return a frame, or the few of one message."""
    return rng.choice(_FRAMES)(rng)


# HTTP ---------------------------------------------------------------------------------------------


def _head(rng: random.Random, line: str, headers: list[tuple[str, str]]) -> bytes:
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        choice = rng.random()
        if choice < 0.3 and headers:
            headers.pop(rng.randrange(len(headers)))
        elif choice < 0.5 and headers:
            headers.append(rng.choice(headers))
        elif choice < 0.52:
            headers += [("X-Many", "1")] * 120
        else:
            headers.insert(rng.randint(0, len(headers)), rng.choice(HEADERS))
    lines = [line, *(f"{name}: {value}" for name, value in headers)]
    data = "\r\n".join([*lines, "", ""]).encode()
    return bent(rng, data) if rng.random() < 0.4 else data


def handshake(rng: random.Random) -> bytes:
    """Return an upgrade request, wrong in something."""
    user = rng.choice(("alice", "%C3%A9", "a:b", "%FF", "", "x" * 65, "%00", "al%20ice"))
    target = rng.choice(("/ws/chat", "/ws", "/ws/", "/ws/chat/x")) + rng.choice(
        (f"?username={user}", f"?username={user}&ack=auto", "?username=a&username=b", "?ack=x", "")
    )
    headers = [
        ("Host", "127.0.0.1"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", base64.b64encode(rng.randbytes(16)).decode()),
        ("Sec-WebSocket-Version", "13"),
    ]
    version = rng.choice(("1.1", "1.1", "1.1", "1.0", "2.0", "1.9"))
    early = frames(rng) if rng.random() < 0.1 else b""
    return _head(rng, f"GET {target} HTTP/{version}", headers) + early


def _chunked(rng: random.Random, body: bytes) -> bytes:
    size = rng.choice((f"{len(body):x}", f"{len(body) + 1:x}", "-1", "zz", "f" * 17, "0"))
    return f"{size}\r\n".encode() + body + b"\r\n0\r\n\r\n"


def request(rng: random.Random) -> bytes:
    """Return a request to any address, wrong in something, with or without a body."""
    target = rng.choice(PATHS) + rng.choice(
        ("", "", "", "?a=b", "?until=2099-01-01", "?%", "?a=%ff")
    )
    method = rng.choice(METHODS) if rng.random() < 0.5 else rng.choice(("GET", "POST"))
    headers = [("Host", "127.0.0.1"), ("Username", "alice")]
    body = text(rng) if method in ("POST", "PUT", "PATCH") or rng.random() < 0.1 else b""
    if rng.random() < 0.02:
        body *= 1_000
    if body and rng.random() < 0.2:
        headers.append(("Transfer-Encoding", "chunked"))
        body = _chunked(rng, body)
    elif body:
        size = len(body) + rng.choice((0, 0, 0, 0, 1, -1))
        headers += [("Content-Type", "application/json"), ("Content-Length", str(size))]
    return _head(rng, f"{method} {target} HTTP/1.1", headers) + body
