"""Requests for the application, and what it answers, without a socket."""

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from landline.adapters.clock import SystemClock
from landline.api.http import RequestRefused
from landline.gateway.asgi import Exchange, Runner
from landline.gateway.http_request import read_head
from support.waiting import go_round, until


class Wire:
    """A line that remembers."""

    def __init__(self) -> None:
        self.said = b""
        self.is_closed = False
        self.count = 0
        self.is_paused = False

    def write(self, data: bytes) -> None:
        self.said += data

    def finish(self) -> None:
        self.is_closed = True

    def answered(self) -> None:
        self.count += 1

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


async def echo(asked: Asked) -> PlainTextResponse:
    body = (await asked.body()).decode()
    host = asked.client.host if asked.client else ""
    return PlainTextResponse(f"{asked.method} {asked.url.path}?{asked.url.query} {host} {body}")


async def broken(_asked: Asked) -> PlainTextResponse:
    raise RuntimeError("a secret")


async def deaf(_asked: Asked) -> PlainTextResponse:
    return PlainTextResponse("whatever it was")


async def slow(_asked: Asked) -> StreamingResponse:
    async def pieces() -> Any:
        for _ in range(3):
            yield b"x" * 10

    return StreamingResponse(pieces())


@pytest.fixture
def runner() -> Runner:
    routes = [
        Route("/echo", echo, methods=["GET", "POST"]),
        Route("/broken", broken),
        Route("/slow", slow),
        Route("/deaf", deaf, methods=["POST"]),
    ]
    return Runner(Starlette(routes=routes), SystemClock())


def exchange(runner: Runner) -> tuple[Wire, Exchange]:
    wire = Wire()
    return wire, Exchange(runner, wire, ("192.0.2.1", 4711), is_tls=False)


def head(line: str, *headers: str) -> Any:
    return read_head("\r\n".join([line, "Host: x", *headers]).encode())


async def test_one_request_after_the_other(runner: Runner) -> None:
    wire, it = exchange(runner)
    for number in range(1, 4):
        it.begin(head(f"POST /echo?n={number} HTTP/1.1", "Content-Length: 5"), closes=False)
        it.take(b"hel")
        it.take(b"lo")
        await until(lambda: wire.count == number, "it is answered")  # noqa: B023
        assert f"POST /echo?n={number} 192.0.2.1 hello".encode() in wire.said
    assert not wire.is_closed
    assert runner.request_count == 0
    it.lost()


async def test_a_connection_that_waits_has_no_timer_of_uvicorn(runner: Runner) -> None:
    """It would end what the connection is by then: a WebSocket."""
    runner.config.timeout_keep_alive = 0
    wire, it = exchange(runner)
    for number in (1, 2):
        it.begin(head("GET /echo HTTP/1.1"), closes=False)
        await until(lambda: wire.count == number, "it is answered")  # noqa: B023
        await go_round()
        assert not wire.is_closed
    it.lost()
    assert not runner.state.connections


async def test_a_chunked_body_says_itself_where_it_ends(runner: Runner) -> None:
    wire, it = exchange(runner)
    it.begin(head("POST /echo HTTP/1.1", "Transfer-Encoding: chunked"), closes=True)
    it.take(b"5\r\nhel")
    before = it.has_whole_body
    it.take(b"lo\r\n0\r\n\r\n")
    assert (before, it.has_whole_body) == (False, True)
    await until(lambda: wire.is_closed, "it is answered, and that was the last")
    assert wire.said.endswith(b" hello")
    assert b"\r\nconnection: close\r\n" in wire.said.lower()


@pytest.mark.parametrize("path", ["/echo", "/deaf"])
async def test_a_body_that_cannot_be_read_is_refused_and_the_application_has_no_say(
    runner: Runner, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Whether it waits for the body or answers without: nothing of it is a traceback."""
    wire, it = exchange(runner)
    it.begin(head(f"POST {path} HTTP/1.1", "Transfer-Encoding: chunked"), closes=True)
    with pytest.raises(RequestRefused, match="cannot be read"):
        it.take(b"no size\r\n")
    it.lost()
    await until(lambda: not runner.request_count, "the application has ended")
    assert wire.said == b""
    # Who was refused has a line elsewhere, and not more of them than an address may have.
    assert not caplog.records


@pytest.mark.parametrize("line", ["HEAD /echo HTTP/1.1", "HEAD /slow HTTP/1.1"])
async def test_head_has_no_body(runner: Runner, line: str) -> None:
    wire, it = exchange(runner)
    it.begin(head(line), closes=False)
    await until(lambda: wire.count == 1, "it is answered")
    assert wire.said.endswith(b"\r\n\r\n")
    assert wire.said.startswith(b"HTTP/1.1 200 ")


async def test_a_defect_of_the_application_says_nothing_of_itself(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    wire, it = exchange(runner)
    it.begin(head("GET /broken HTTP/1.1"), closes=False)
    await until(lambda: wire.is_closed or wire.count == 1, "it is answered")
    assert wire.said.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in wire.said
    assert "a secret" in caplog.text


async def test_who_goes_in_the_middle_leaves_nothing_behind(runner: Runner) -> None:
    _wire, it = exchange(runner)
    it.begin(head("POST /echo HTTP/1.1", "Content-Length: 5"), closes=False)
    await asyncio.sleep(0)
    assert runner.request_count == 1
    it.lost()
    await until(lambda: runner.request_count == 0, "the application has heard of it")
