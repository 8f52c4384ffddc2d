"""TLS at a listener, in one process with its clients."""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from landline.adapters.clock import SystemClock
from landline.api.http import Http, Readiness
from landline.app.certificates import Certificate
from landline.gateway import acceptor
from landline.gateway.admin import AdminListener
from landline.gateway.http_connection import HttpConnection
from landline.gateway.tls import UNREAD_BYTES, TlsServer, reason_of
from support.pair import on_uvloop
from support.papers import HOST, Papers
from support.raw import RawSocket
from support.waiting import until

LARGE = b"x" * 30_000_000  # more than all buffers between server and client


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers.made(tmp_path_factory.mktemp("papers"))


@asynccontextmanager
async def listening(papers: Papers) -> AsyncIterator[int]:
    """A large page behind TLS, at a port."""
    reception = AdminListener(Http(Readiness, lambda: LARGE), SystemClock())
    sock = socket.create_server((HOST, 0))
    port = sock.getsockname()[1]
    context = Certificate(papers.certificate, papers.key).context
    server = TlsServer(
        sock, context, lambda _peer: HttpConnection(reception), reception.went, reception.refused
    )
    yield port
    server.close()
    server.close()  # a second time does no harm
    reception.close()
    await until(lambda: not server._acceptor._taking, "no handshake is left")
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await asyncio.open_connection(HOST, port)


def test_the_goodbye_of_tls_cuts_no_answer(papers: Papers) -> None:
    """A client may read slowly."""

    def read(port: int) -> int:
        total = 0
        with (
            socket.create_connection((HOST, port)) as plain,
            papers.client().wrap_socket(plain, server_hostname=HOST) as line,
        ):
            line.settimeout(60)
            line.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            time.sleep(1.0)
            while data := line.recv(1_000_000):
                total += len(data)
        return total

    @on_uvloop
    async def go() -> None:
        async with listening(papers) as port:
            assert await asyncio.to_thread(read, port) > len(LARGE)

    go()


def test_a_listener_that_is_closed_cuts_handshakes(papers: Papers) -> None:
    @on_uvloop
    async def go() -> None:
        with capture_logs() as lines:
            async with listening(papers) as port:
                client = await RawSocket.dial(port)
                await client.write(b"\x16\x03")
            await client.until_cut()
            await client.close()
        assert lines == []

    go()


async def test_a_process_without_files_accepts_again_later(
    papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "_NO_ROOM_SECONDS", 0.01)
    context = Certificate(papers.certificate, papers.key).context

    class Full(socket.socket):
        left = 2

        def accept(self) -> tuple[socket.socket, object]:
            if self.left:
                self.left -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    sock = Full()
    sock.bind((HOST, 0))
    sock.listen()
    with capture_logs() as lines:
        server = TlsServer(
            sock, context, lambda _peer: asyncio.Protocol(), lambda _gone: None, lambda _place: {}
        )
        _, writer = await asyncio.open_connection(HOST, sock.getsockname()[1], ssl=papers.client())
    assert [line["event"] for line in lines] == ["cannot_accept"] * 2
    writer.close()
    await asyncio.wait_for(writer.wait_closed(), 60)
    server.close()


def test_what_waits_of_a_connection_that_is_not_read_is_little(papers: Papers) -> None:
    """The loop's own bound is eight times as high."""

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    made: list[Any] = []

    @on_uvloop
    async def go() -> None:
        sock = socket.create_server((HOST, 0))
        context = Certificate(papers.certificate, papers.key).context
        server = TlsServer(
            sock, context, lambda _peer: Silent(), lambda _gone: None, lambda _place: {}
        )
        _, writer = await asyncio.open_connection(HOST, sock.getsockname()[1], ssl=papers.client())
        await until(lambda: bool(made) and not server._acceptor._taking, "it is connected")
        assert made[0].get_read_buffer_limits()[1] == UNREAD_BYTES
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), 60)
        server.close()

    go()


def of(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, "it went wrong")
    error.reason = reason  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("HTTP_REQUEST", "this is HTTP without TLS; connect with https:// or wss://"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "the client has ended the handshake: bad certificate"),
        ("TLSV1_ALERT_UNKNOWN_CA", "the client has ended the handshake: unknown ca"),
        ("SOMETHING_NEW", "no handshake could be made: something new"),
        (None, "no handshake could be made: no reason given"),
    ],
)
def test_openssl_s_names_become_words(reason: str | None, words: str) -> None:
    assert reason_of(of(reason)) == words
