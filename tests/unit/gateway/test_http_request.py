"""Request heads: what is read is what was written, and everything else is refused."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landline.api.http import RequestRefused
from landline.gateway.http_request import HEADERS, Request, read_head

HEAD = b"GET /ws/chat?username=Zo%C3%AB HTTP/1.1\r\nHost: x:8081\r\nUpgrade: a, b\r\nUpgrade:c"
NASTY = [
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n ",
        b"\x00",
        b" ",
        b"\t",
        b":",
        b"/",
        b"//",
        b"/../",
        b"/./",
        b"%2e",
    ),
    *(
        b";",
        b"#",
        b"?",
        b"\\",
        b"http://h",
        b"Host: y\r\n",
        b"Content-Length: 1\r\n",
        b"\xff",
        b"*",
    ),
]


def test_a_sound_request_is_read_as_it_was_written() -> None:
    request = read_head(HEAD)
    assert (request.method, request.path, request.version) == ("GET", "/ws/chat", "1.1")
    assert request.query == "username=Zo%C3%AB"
    assert request.header("host") == "x:8081"
    assert request.header("origin") is None
    assert request.listed("upgrade") == ["a", "b", "c"]
    with pytest.raises(RequestRefused, match="upgrade is given twice"):
        request.header("upgrade")


def read_or_refuse(head: bytes) -> Request | RequestRefused:
    try:
        return read_head(head)
    except RequestRefused as refused:
        return refused


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a head with some of it cut, doubled, or replaced by something nasty."""
    head = draw(st.sampled_from([HEAD, HEAD.replace(b"1.1", b"1.0"), HEAD.replace(b"GET", b"PUT")]))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(head)))
        end = draw(st.integers(start, min(len(head), start + 12)))
        middle = draw(st.sampled_from([b"", head[start:end] * 2, *NASTY]) | st.binary(max_size=8))
        head = head[:start] + middle + head[end:]
    return head


@given(mutated() | st.binary(max_size=200))
@example(HEAD + b"\r\nX: " + b" " * 16_000 + b"\x00")
@example(HEAD + b"\r\nX: " + b"a " * 8_000)
def test_whatever_arrives_is_read_to_the_letter_or_refused(head: bytes) -> None:
    """Nothing is decoded, joined or tidied on the way from the bytes to the path."""
    request = read_or_refuse(head)
    if isinstance(request, RequestRefused):
        assert 400 <= request.status < 600
        assert request.reason.isprintable()
        return
    question = f"?{request.query}" if b"?" in head.partition(b"\r\n")[0] else ""
    line = f"{request.method} {request.path}{question} HTTP/{request.version}"
    assert head.split(b"\r\n")[0] == line.encode()
    assert not re.search(r"//|/\.{1,2}(/|$)|[%;#\\\s]", request.path)
    assert request.path.startswith("/")
    assert len(request.headers.get("host", ())) == 1 or request.version == "1.0"
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert sum(map(len, request.headers.values())) == head.count(b"\r\n")


ESCAPED = {
    "/v1/users/al%C3%AFce/sessions": True,
    "/v1/users/100%25/sessions": True,
    "/v1/users/%40alice": True,
    "/v1/users%2Falice%2Fsessions": False,
    "/v1/users%2Falice/sessions": False,
    "/v1/users/a%2Fb/sessions": False,
    "/v1/users/a%5Cb/sessions": False,
    "/v1/users/%2e%2E/sessions": False,
    "/v1/users/../sessions": False,
    "/v1/users/a%0ab/sessions": False,
    "/v1/users/a%7F/sessions": False,
    "/v1/users/%FF/sessions": False,
    "/v1/users//sessions": False,
    "/v1/users/alice//sessions": False,
    "/v1/users/alice/%73essions": False,
    "/v1/%75sers/alice/sessions": False,
    "/v1/conversations/dm%3Aalice%3A%F0%9F%A6%8A/messages": True,
    "/v1/conversations/dm:alice:bob/read": True,
    "/v1/conversations/dm%2Falice/read": False,
    "/v1/conversations/%FF/read": False,
    "/v1/conversations/dm:a:b/%72ead": False,
    "/v1/rooms/room%3A1": True,
    "/v1/rooms/room%3A1/members/%F0%9F%A6%8A": True,
    "/v1/rooms/room:1/members/a%2Fb": False,
    "/v1/rooms/room:1/members/%2e%2e": False,
    "/v1/rooms/room:1/members/%FF": False,
    "/v1/rooms/room:1/members/%0a": False,
    "/v1/rooms/room:1/members/alice/%61": False,
    "/v1/rooms/room:1/%6Dembers/alice": False,
    "/v1/rooms/room:1/members%2Falice": False,
    "/v1/%72ooms": False,
    "/v1/%6Dessages": False,
    "/v1/messages%0a": False,
    "/v1/x%0ay": False,
    "/%761/messages": False,
}


@pytest.mark.parametrize("path", ESCAPED)
def test_only_names_may_be_escaped(path: str) -> None:
    """And only what may stand in one: every other address has one spelling."""
    read = read_or_refuse(f"GET {path} HTTP/1.1\r\nHost: x".encode())
    assert isinstance(read, Request) is ESCAPED[path]


def test_headers_are_counted() -> None:
    line = b"GET / HTTP/1.0"
    assert read_head(line + b"\r\nX: y" * HEADERS).headers["x"] == ["y"] * HEADERS
    with pytest.raises(RequestRefused) as error:
        read_head(line + b"\r\nX: y" * (HEADERS + 1))
    assert error.value.status == 431
