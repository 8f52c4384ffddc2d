"""How a request is read, and what a line in the log says of one that was refused."""

import asyncio
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs

from landline.adapters.clock import SystemClock
from landline.gateway.asgi import Runner
from landline.gateway.http_connection import HttpConnection
from landline.gateway.http_request import HEAD_BYTES, Request
from landline.gateway.reception import ForTheApplication, Peer
from landline.gateway.request_facts import request_facts as _facts
from landline.gateway.request_facts import shown_peer
from landline.gateway.request_turns import AT_ONCE
from support.waiting import until

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("GET http://user:hunter2@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://hunter2@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hun?hunter2@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hunter2?a@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hunter2#a@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hunter2 a@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://user:hunter2@b@h/x?y HTTP/1.1", "http://***@h/x"),
        ("GET http:/user:hunter2@h/x HTTP/1.1", "http:/***@h/x"),
        ("GET //user:hunter2@h/x HTTP/1.1", "//***@h/x"),
        ("GET HTTPS://user:hunter2@[::1]:8443/x HTTP/1.1", "HTTPS://***@[::1]:8443/x"),
        ("CONNECT user:hunter2@h:443 HTTP/1.1", "***@h:443"),
        ("GET\thttp://user:hunter2@h/x HTTP/1.1", "http://***@h/x"),
        ("GET http://h/x?token=hunter2 HTTP/1.1", "http://h/x"),
        ("GET /x#token=hunter2 HTTP/1.1", "/x"),
        ("GET /x?token=hunter2 HTTP/1.1", "/x"),
        # People misspell the sign before a query, and libraries escape it.
        ("GET /x&token=hunter2 HTTP/1.1", "/x"),
        ("GET /x;token=hunter2?a=b HTTP/1.1", "/x"),
        ("GET /x%3Fusername=alice&token=hunter2 HTTP/1.1", "/x"),
        ("GET /x%3ftoken=hunter2 HTTP/1.1", "/x"),
        ("GET /x%253Ftoken=hunter2 HTTP/1.1", "/x"),
        ("GET /x%26token=hunter2 HTTP/1.1", "/x"),
        ("GET /x%23token=hunter2 HTTP/1.1", "/x"),
        ("GET /x%3Btoken=hunter2 HTTP/1.1", "/x"),
        ("GET /x?username=alice#access_token=hunter2 HTTP/1.1", "/x"),
        ("GET /x?username=alice;token=hunter2 HTTP/1.1", "/x"),
        ("GET /x?username=alice?token=hunter2 HTTP/1.1", "/x"),
        # Without a method, or with something else between it and the target.
        ("/x?token=hunter2 HTTP/1.1", "HTTP/1.1"),
        ("GET\x0b/x?token=hunter2", None),
        ("token=hunter2", None),
        ("GET /a@b/x HTTP/1.1", "/a@b/x"),
        ("GET http://h/x HTTP/1.1", "http://h/x"),
        ("OPTIONS * HTTP/1.1", "*"),
        ("http://user:hunter2@h/x", None),
        ("user:hunter2@h", None),
        ("GET", None),
        ("", None),
    ],
)
def test_a_target_is_told_without_what_may_be_secret(line: str, path: str | None) -> None:
    facts = _facts(f"{line}\r\nOrigin: https://user:hunter2@page.example\r\n\r\n".encode())
    assert facts.get("path") == path
    assert facts["origin"] == "https://***@page.example"
    assert SECRET not in str(facts)


def _signed(header: str, payload: str) -> str:
    """Return a token whose parts are written as these texts are, blanks and all."""
    parts = [urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (header, payload)]
    signature = hmac.digest(b"k" * 32, b".".join(parts), "sha256")
    return b".".join([*parts, urlsafe_b64encode(signature).rstrip(b"=")]).decode()


PLAIN = jwt.encode({"sub": "alice"}, "k" * 32, headers={"kid": "1"})
TOKENS = {
    "plain": PLAIN,
    "blanks": _signed('{ "alg" : "HS256" }', '{ "sub" : "alice" }'),
    "lines": _signed('{\n  "alg": "HS256"\n}', '{\r\n  "sub": "alice"\r\n}'),
    "long": _signed('{"alg":"HS256"}', '{"sub":"alice","x":"%s"}' % ("y" * 2_000)),
}
WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "dots escaped": lambda token: token.replace(".", "%2E"),
    "dots escaped twice": lambda token: token.replace(".", "%252e"),
    "a letter escaped": lambda token: f"%{ord(token[0]):x}{token[1:]}",
    "all escaped": lambda token: "".join(f"%{ord(each):02x}" for each in token),
    "all escaped nine times": lambda token: "".join(
        f"%{'25' * 8}{ord(each):02x}" for each in token
    ),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize(
    "head",
    [
        "GET /ws/{0} HTTP/1.1\r\n\r\n",
        "GET /ws/chat/token={0}/x HTTP/1.1\r\n\r\n",
        "GET /ws;{0} HTTP/1.1\r\n\r\n",
        "GET http://{0}/ws HTTP/1.1\r\n\r\n",
        "{0} / HTTP/1.1\r\n\r\n",
        "{0}\r\n\r\n",
        "GET / HTTP/1.1\r\nusername: {0}\r\n\r\n",
        "GET /ws/chat?username={0} HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nOrigin: https://{0}.example\r\n\r\n",
        "GET / HTTP/1.1\r\nOrigin: {0}\r\n\r\n",
    ],
)
def test_a_token_is_not_told_wherever_it_stands(
    head: str, token: str, written: Callable[[str], str]
) -> None:
    told = str(_facts(head.format(written(token)).encode()))
    *_facts_of_it, signature = token.split(".")
    for each in (signature, signature[1:], written(signature)[:40]):
        assert each not in told


@pytest.mark.timeout(30)  # where it took a second each, this ends the test
@pytest.mark.parametrize("slot", ["GET {0} HTTP/1.1", "GET / HTTP/1.1\r\nOrigin: {0}", "{0}"])
@pytest.mark.parametrize("piece", ["/", "a:/", "a:", "@", "%25", "%", ".", "a.", "-", "?", "%2"])
def test_no_head_takes_long_to_be_told(slot: str, piece: str) -> None:
    """The cost may not grow with the square of the length."""
    head = slot.format("a:" + piece * (16_000 // len(piece))).encode()
    for _ in range(100):
        _facts(head)


def test_names_and_hosts_are_told_though_they_resemble_tokens() -> None:
    facts = _facts(
        b"GET /v1/eyJ/eyJewel.min.js HTTP/1.1\r\nusername: HarveyJefferson_1999\r\n"
        b"Origin: https://pull-request-4711-of-the-chat.previews.of.the.product.example\r\n\r\n"
    )
    assert facts["path"] == "/v1/eyJ/eyJewel.min.js"
    assert facts["user"] == "HarveyJefferson_1999"
    assert facts["origin"].endswith("-chat.previews.of.the.product.example")


def test_a_user_is_told_from_the_header_or_the_query() -> None:
    facts = _facts(b"GET http://h/ws?username=a%40b&x=1 HTTP/1.1\r\n\r\n")
    assert (facts["method"], facts["user"]) == ("GET", "a@b")
    assert _facts(b"GET / HTTP/1.1\r\nusername: eve\r\n\r\n")["user"] == "eve"


@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        ("https://page.example:8443", "https://page.example:8443"),
        ("https://[::1]:8443/?token=hunter2", "https://[::1]:8443"),
        ("https://page.example/hunter2", "https://page.example"),
        ("https://page.example?token=hunter2", "https://page.example"),
        ("https://page.example#hunter2", "https://page.example"),
        ("page.example/?token=hunter2", "page.example"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("null", "null"),
        ("?token=hunter2", None),
    ],
)
def test_an_origin_is_told_without_what_is_none_of_it(origin: str, shown: str | None) -> None:
    facts = _facts(f"GET / HTTP/1.1\r\nOrigin: {origin}\r\n\r\n".encode())
    assert facts.get("origin") == shown


@pytest.mark.parametrize(
    ("peername", "shown"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 8081, 0, 0), "[::1]:8081"),
        (("fe80::1%eth0", 1, 0, 2), "[fe80::1%eth0]:1"),
        (None, "unknown"),
        ("", "unknown"),
    ],
)
def test_an_address_is_told_so_that_its_port_can_be_seen(peername: object, shown: str) -> None:
    assert shown_peer(peername) == shown


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None: ...


class Open:
    """A reception that takes everybody."""

    runner = Runner(nothing, SystemClock())

    def __init__(self) -> None:
        self.taken: list[Request] = []

    def decide(self, request: Request, peer: Peer) -> ForTheApplication:
        self.taken.append(request)
        return ForTheApplication()

    def whose(self, request: Request, peer: Peer) -> dict[str, str]:
        return {}

    def refused(self, _place: str) -> dict[str, int]:
        return {}

    def came(self, connection: HttpConnection, peer: Peer) -> bool:
        return True

    def went(self, connection: HttpConnection) -> None: ...


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


@pytest.mark.parametrize("excess", [0, 1])
async def test_the_limit_of_a_head_is_the_same_however_its_bytes_come(excess: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX: "
    head += b"x" * (HEAD_BYTES + excess - len(head))
    data = head + b"\r\n\r\n"
    ways = [[data[:cut], data[cut:]] for cut in range(HEAD_BYTES - 2, len(data) + 1)]
    for parts in [*ways, [bytes([byte]) for byte in data]]:
        wire = Wire()
        connection = HttpConnection(reception := Open())
        connection.connection_made(wire)
        for part in parts:
            connection.data_received(part)
        assert wire.said.startswith(b"HTTP/1.1 431 " if excess else b"")
        assert len(reception.taken) == (0 if excess else 1)
        connection.connection_lost(None)


class Defective(Open):
    """A reception that trips while it finds something out."""

    def decide(self, request: Request, peer: Peer) -> Any:
        async def trip() -> None:
            raise ZeroDivisionError

        return trip()


async def test_a_defect_while_a_token_is_looked_at_ends_that_connection_alone() -> None:
    """With an answer, and a line in the log: or its client would wait, and nobody would know."""
    wire = Wire()
    connection = HttpConnection(Defective())
    with capture_logs() as lines:
        connection.connection_made(wire)
        connection.data_received(b"GET /ws/chat HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: bool(wire.said), "it is answered")
    assert wire.said.startswith(b"HTTP/1.1 500 ")
    assert "connection_failed" in {line["event"] for line in lines}
    connection.connection_lost(None)


class Behind(Open):
    """A reception behind a proxy, which says whose a request is. It keeps whose have begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.runner = Runner(self._note, SystemClock())

    async def _note(self, scope: Any, _receive: Any, send: Any) -> None:
        self.begun.append(dict(scope["headers"]).get(b"x-forwarded-for", b"").decode())
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
        )
        await send({"type": "http.response.body"})

    def whose(self, request: Request, peer: Peer) -> dict[str, str]:
        return {"peer": request.header("x-forwarded-for") or "", "proxy": shown_peer(peer)}


async def test_requests_that_a_proxy_passes_on_wait_as_those_of_its_clients() -> None:
    """Or one of them would make all others wait. Of version 6 a network counts as one client."""
    reception = Behind()
    while reception.runner.turns.take():
        pass
    connections = []
    for client in [*(f"2001:db8::{number}" for number in range(1, 100)), "192.0.2.1"]:
        connections.append(connection := HttpConnection(reception))
        connection.connection_made(Wire())
        connection.data_received(
            f"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n".encode()
        )
    assert len(reception.runner.turns) == 100
    await until(lambda: "192.0.2.1" in reception.begun, "the other has its turn")
    assert reception.begun.index("192.0.2.1") < AT_ONCE
    for connection in connections:
        connection.connection_lost(None)
    assert not len(reception.runner.turns)


POST = b"POST / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 9\r\n\r\n"


def waiting(reception: Behind, data: bytes) -> tuple[HttpConnection, Wire]:
    """Return a connection whose request waits for its turn."""
    while reception.runner.turns.take():
        pass
    connection, wire = HttpConnection(reception), Wire()
    connection.connection_made(wire)
    connection.data_received(data)
    assert len(reception.runner.turns) == 1
    return connection, wire


async def test_a_request_whose_turn_does_not_come_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has certainly not been served."""
    monkeypatch.setattr("landline.gateway.http_connection.TURN_SECONDS", 0.0)
    reception = Behind()
    monkeypatch.setattr(reception.runner.turns, "_next_turn", lambda: None)
    _connection, wire = waiting(reception, POST)
    await until(lambda: bool(wire.said), "it is answered")
    assert wire.said.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 1\r\n" in wire.said
    assert (len(reception.runner.turns), reception.begun) == (0, [])


@pytest.mark.parametrize("end", ["lost", "finish", "abort"])
async def test_a_request_of_a_connection_that_has_ended_is_not_served(end: str) -> None:
    """A message must not be stored for somebody who was just cut off."""
    reception = Behind()
    connection, _wire = waiting(reception, POST + b"{}       ")
    if end == "lost":
        connection.connection_lost(None)
    else:
        getattr(connection, end)()
    assert not len(reception.runner.turns)
    await asyncio.sleep(0.01)
    assert reception.begun == []


def _is_told(wire: Wire, sentence: bytes) -> bool:
    return sentence in wire.said


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_body_that_ended_too_early_is_told_at_once(data: bytes) -> None:
    """Not when its time is up; also where its turn has to come first, or an answer before it."""
    for has_to_wait in (False, True):
        reception = Behind()
        connection, wire = HttpConnection(reception), Wire()
        connection.connection_made(wire)
        while has_to_wait and reception.runner.turns.take():
            pass
        connection.data_received(data + POST + b"{}")
        connection.eof_received()
        await until(partial(_is_told, wire, b"the request is incomplete"), "it is told")
        assert wire.said.count(b"HTTP/1.1 400 ") == 1
        connection.connection_lost(None)


async def test_an_answer_that_is_there_is_not_followed_by_another_where_the_body_ends() -> None:
    """The application may answer before it has all of a body."""
    reception = Behind()
    connection, wire = HttpConnection(reception), Wire()
    connection.connection_made(wire)
    connection.data_received(POST + b"{}")
    await until(lambda: wire.said.startswith(b"HTTP/1.1 200 "), "it is answered")
    with capture_logs() as lines:
        connection.eof_received()
    assert wire.said.count(b"HTTP/1.1 ") == 1
    assert lines == []
    connection.connection_lost(None)
