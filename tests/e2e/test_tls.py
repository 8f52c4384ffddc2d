"""TLS at the listener: what goes through it, who is sent away, and certificates that change."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

import landline
from landline.gateway.http_connection import HANDSHAKE_SECONDS
from landline.gateway.tls import SHUTDOWN_SECONDS
from landline_stack.ports import free_port
from support.papers import HOST, Papers, TlsServerProcess
from support.peer import Peer
from support.raw import BINARY, CLOSE, TEXT, WAIT_SECONDS, RawSocket, dialled, frame, request
from support.server import ServerProcess
from support.sockets import cut_at_once
from support.waiting import until

PING = frame(TEXT, b'{"type":"ping"}')


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Papers:
    papers = Papers.made(tmp_path / "papers")
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.ca))  # which clients believe then
    return papers


@pytest.fixture
def secure(tmp_path: Path, papers: Papers) -> Iterator[TlsServerProcess]:
    """A server with TLS. Whatever a client did, nothing of it is a surprise to the server."""
    server = TlsServerProcess(tmp_path / "data", args=papers.arguments)
    server.start()
    yield server
    server.kill()
    check_log(server)


def check_log(server: ServerProcess) -> None:
    assert "Traceback" not in server.log()
    said = [line for line in lines(server) if line["level"] in ("warning", "error")]
    assert [line for line in said if line["event"] != "certificate_not_reloaded"] == []


def lines(server: ServerProcess, event: str | None = None) -> list[dict[str, Any]]:
    """Return what the log has, of one event or of all."""
    said = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in said if event in (None, line["event"])]


@asynccontextmanager
async def encrypted(server: ServerProcess, context: ssl.SSLContext) -> AsyncIterator[RawSocket]:
    """A connection with TLS that can break every other rule."""
    reader, writer = await asyncio.open_connection(HOST, server.port, ssl=context)
    raw = RawSocket(reader, writer)
    try:
        yield raw
    finally:
        writer.transport.abort()


@asynccontextmanager
async def session(server: ServerProcess, context: ssl.SSLContext) -> AsyncIterator[RawSocket]:
    async with encrypted(server, context) as raw:
        assert (await raw.upgrade(request(server.port))).status == 101
        yield raw


async def shown_certificate(server: ServerProcess, context: ssl.SSLContext) -> bytes:
    """Return the certificate that a new connection gets."""
    _, writer = await asyncio.open_connection(HOST, server.port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return bytes(shown)


# What goes through it -----------------------------------------------------------------------------


async def test_messages_pages_and_addresses_are_as_without_it(secure: TlsServerProcess) -> None:
    [listening] = lines(secure, "listening")
    assert listening["url"] == f"https://127.0.0.1:{secure.port}/"
    for path in ("/", "/healthz", "/readyz", "/metrics"):
        assert (await asyncio.to_thread(secure.get, path))[0] == 200
    async with (
        Peer(secure.ws_url, "alice") as alice,
        landline.connect(secure.ws_url, username="bob") as bob,
    ):
        sent = await alice.send_and_wait("bob", "hello")
        async for message in bob:
            assert (message.id, message.content) == (sent["id"], "hello")
            break


def test_a_chat_in_a_terminal_believes_the_authority_of_the_environment(
    secure: TlsServerProcess, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "landline", "chat", "--as", "alice", "--to", "bob"]
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        [*command, "--url", secure.ws_url],
        input="hi\n",
        env={**os.environ, **state},
        text=True,
        capture_output=True,
        check=False,
        timeout=WAIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr


async def test_a_client_that_does_not_know_the_authority_is_told_in_the_log(
    secure: TlsServerProcess,
) -> None:
    def connect() -> None:  # unlike asyncio's client, this one says why it goes away
        with socket.create_connection((HOST, secure.port)) as plain:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(plain, server_hostname=HOST)

    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.to_thread(connect)
    await until_refused(secure, "the client has ended the handshake: unknown ca")


async def test_one_protocol_is_agreed_upon(secure: TlsServerProcess, papers: Papers) -> None:
    context = papers.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection(HOST, secure.port, ssl=context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    writer.transport.abort()


async def test_frames_right_behind_the_request_are_heard(
    secure: TlsServerProcess, papers: Papers
) -> None:
    async with encrypted(secure, papers.client()) as raw:
        head = request(secure.port)
        await raw.write(head[:40])
        assert (await raw.upgrade(head[40:] + PING * 3)).status == 101
        for _ in range(3):
            assert (await raw.answer())["type"] == "pong"


async def test_a_client_that_sends_more_than_it_reads_is_stopped_and_goes_on(
    secure: TlsServerProcess, papers: Papers
) -> None:
    """Reading and writing both pause at the server, and nothing is lost or out of order."""
    count, content = 3000, "x" * 2000
    async with session(secure, papers.client()) as raw:

        def send(number: int) -> bytes:
            said = {"type": "send", "to": "raw", "content": content, "ref": f"{number}"}
            return frame(TEXT, json.dumps(said).encode())

        writing = asyncio.create_task(raw.write(b"".join(map(send, range(count)))))
        await asyncio.wait({writing}, timeout=1.0)  # it may be done by then, or have to wait
        refs: list[int] = []
        while len(refs) < count:
            said = await raw.answer()
            assert said["type"] == "accepted", said
            refs.append(int(said["ref"]))
        assert refs == list(range(count))
        assert await writing


# How it ends --------------------------------------------------------------------------------------


async def test_either_side_says_goodbye(secure: TlsServerProcess, papers: Papers) -> None:
    async with session(secure, papers.client()) as raw:
        await raw.write(frame(CLOSE, (1000).to_bytes(2, "big")))
        assert await raw.close_code() == 1000
        await raw.until_cut()
    async with session(secure, papers.client()) as raw:
        await raw.write(frame(BINARY, b"x"))
        assert await raw.close_code() == 1003
        await raw.until_cut()  # it gives no answer, so the server does not wait for ever
    async with session(secure, papers.client()):
        pass  # and this one is aborted
    await until(lambda: len(lines(secure, "connection_closed")) == 3, "all have ended")
    assert [line["code"] for line in lines(secure, "connection_closed")] == [1000, 1003, 1006]


async def test_a_client_that_ends_tls_alone_is_gone(
    secure: TlsServerProcess, papers: Papers
) -> None:
    """With messages on their way to it, which are not lost: it gets them the next time."""
    reader, writer = await asyncio.open_connection(HOST, secure.port, ssl=papers.client())
    raw = RawSocket(reader, writer)
    assert (await raw.upgrade(request(secure.port, "/ws/chat?username=bob"))).status == 101
    async with Peer(secure.ws_url, "alice") as alice:
        writer.close()
        sent = [await alice.send_and_wait("bob", f"{number}") for number in range(30)]
        await until(lambda: len(lines(secure, "connection_closed")) == 1, "it is gone")
        async with Peer(secure.ws_url, "bob") as bob:
            await until(lambda: bob.received == {each["id"] for each in sent}, "bob has all")


async def test_who_says_goodbye_and_then_nothing_is_cut(
    secure: TlsServerProcess, papers: Papers
) -> None:
    """TLS would wait longer than a WebSocket does."""

    def leave() -> ssl.SSLSocket:
        plain = socket.create_connection((HOST, secure.port))
        line = papers.client().wrap_socket(plain, server_hostname=HOST)
        line.sendall(request(secure.port))
        assert line.recv(12) == b"HTTP/1.1 101"
        line.sendall(frame(CLOSE, (1000).to_bytes(2, "big")))
        return line

    line = await asyncio.to_thread(leave)
    gone = SHUTDOWN_SECONDS * 2 / 3
    await until(lambda: len(lines(secure, "connection_closed")) == 1, "it is gone", seconds=gone)
    line.close()


async def test_a_request_that_is_cut_short_is_noted(
    secure: TlsServerProcess, papers: Papers
) -> None:
    reader, writer = await asyncio.open_connection(HOST, secure.port, ssl=papers.client())
    writer.write(b"GET /healthz HTTP/1.1\r\nHo")
    writer.close()
    with suppress(ssl.SSLError):  # there is an answer, which a client that has ended has no use for
        await reader.read()
    await until(lambda: len(lines(secure, "request_refused")) == 1, "it is noted")
    assert lines(secure, "request_refused")[0]["reason"] == "the request is incomplete"


async def test_a_drain_says_goodbye_and_ends_in_time(secure: TlsServerProcess) -> None:
    async with Peer(secure.ws_url, "alice", reconnects=False) as alice:
        await alice.send_and_wait("alice", "hello")
        secure.signal(signal.SIGTERM)
        await until(lambda: alice.visit.close_code is not None, "she is told")
        assert alice.visit.close_code == 1012
    assert await asyncio.to_thread(secure.wait, 60) == 0


# Who is sent away ---------------------------------------------------------------------------------


async def until_refused(server: ServerProcess, reason: str, count: int = 1) -> None:
    def reasons() -> list[str]:
        return [line["reason"] for line in lines(server, "tls_refused")]

    await until(lambda: len(reasons()) >= count, "it is in the log")
    assert reasons()[-1] == reason
    assert lines(server, "tls_refused")[-1]["peer"].startswith("127.0.0.1:")


NO_TLS: dict[str, tuple[bytes, str]] = {
    "HTTP": (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "this is HTTP without TLS; connect with https:// or wss://",
    ),
    "an upgrade": (request(1), "this is HTTP without TLS; connect with https:// or wss://"),
    "another method": (
        b"DELETE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "this is not TLS; connect with https:// or wss://",
    ),
    "SSH": (b"SSH-2.0-OpenSSH_9.2p1\r\n", "this is not TLS; connect with https:// or wss://"),
}


@pytest.mark.parametrize("what", NO_TLS)
async def test_who_speaks_no_tls_is_cut_with_a_line_that_says_so(
    what: str, secure: TlsServerProcess
) -> None:
    data, reason = NO_TLS[what]
    async with dialled(secure.port) as raw:
        await raw.write(data)
        await raw.until_cut()
    await until_refused(secure, reason)
    page = (await asyncio.to_thread(secure.get, "/metrics"))[1]
    assert "landline_upgrades_refused_total 1.0" in page


async def test_old_versions_are_refused(secure: TlsServerProcess, papers: Papers) -> None:
    context = papers.client()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r".*"):
        await asyncio.open_connection(HOST, secure.port, ssl=context)
    await until_refused(secure, "the client speaks only versions of TLS before 1.2")


async def test_slow_handshakes_are_cut_and_keep_nobody_waiting(
    secure: TlsServerProcess, papers: Papers
) -> None:
    slow = [await RawSocket.dial(secure.port) for _ in range(50)]
    for raw in slow:
        await raw.write(b"\x16\x03\x01")
    async with session(secure, papers.client()) as raw:  # meanwhile others get in
        await raw.ask('{"type":"ping"}')
    assert lines(secure, "tls_refused") == []
    await asyncio.gather(*(raw.until_cut() for raw in slow))
    await until_refused(secure, "no complete TLS handshake within 5 s", count=50)
    for raw in slow:
        await raw.close()


async def test_who_hangs_up_without_a_word_has_no_line(
    secure: TlsServerProcess, papers: Papers
) -> None:
    """As probes of balancers do, every few seconds."""
    for _ in range(20):
        async with dialled(secure.port):
            pass
    await shown_certificate(secure, papers.client())
    assert lines(secure, "tls_refused") == []


async def test_tls_at_a_plain_port_is_told_so(server: ServerProcess) -> None:
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection(
            HOST, server.port, ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
    await until(lambda: bool(lines(server, "request_refused")), "it is in the log")
    [line] = lines(server, "request_refused")
    assert line["reason"] == "this is not HTTP; this port does not accept TLS"


# Certificates that change -------------------------------------------------------------------------


async def test_a_new_certificate_is_for_new_connections_and_drops_none(
    secure: TlsServerProcess, papers: Papers
) -> None:
    before = await shown_certificate(secure, papers.client())
    async with session(secure, papers.client()) as raw:
        new = papers.renew()
        assert new != before
        assert await shown_certificate(secure, papers.client()) == before, "nobody has said so yet"
        secure.signal(signal.SIGHUP)
        await until(lambda: bool(lines(secure, "certificate_reloaded")), "it is read")
        [line] = lines(secure, "certificate_reloaded")
        assert line["not_after"].endswith("Z")
        assert await shown_certificate(secure, papers.client()) == new
        assert (await raw.ask('{"type":"ping"}'))["type"] == "pong"


async def test_files_that_cannot_be_used_leave_the_certificate_as_it_is(
    secure: TlsServerProcess, papers: Papers
) -> None:
    before = await shown_certificate(secure, papers.client())
    good = papers.certificate.read_bytes()
    old_key = papers.key.read_bytes()
    papers.renew()
    new_key = papers.key.read_bytes()
    steps: list[tuple[Callable[[], object], str]] = [
        (lambda: papers.certificate.write_bytes(b"nothing"), "no certificate that can be read"),
        (papers.certificate.unlink, "No such file"),
        (lambda: papers.certificate.write_bytes(good), "does not fit"),  # with the new key
        (lambda: papers.key.write_bytes(new_key[:100]), "no key that can be used"),
    ]
    for number, (step, reason) in enumerate(steps, 1):
        step()
        secure.signal(signal.SIGHUP)
        await until(
            lambda: len(lines(secure, "certificate_not_reloaded")) == number,  # noqa: B023
            "it is told",
        )
        assert reason in lines(secure, "certificate_not_reloaded")[-1]["reason"]
        assert await shown_certificate(secure, papers.client()) == before
    papers.key.write_bytes(old_key)
    secure.signal(signal.SIGHUP)
    await until(lambda: bool(lines(secure, "certificate_reloaded")), "both fit again")


def encrypt(key: Path) -> None:
    made = load_pem_private_key(key.read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))


def become_a_directory(papers: Papers) -> None:
    papers.key.unlink()
    papers.key.mkdir()


BAD: dict[str, tuple[Callable[[Papers], object], str, str]] = {
    "no certificate": (lambda each: each.certificate.unlink(), "--tls-cert", "No such file"),
    "no key": (lambda each: each.key.unlink(), "--tls-key", "No such file"),
    "not PEM": (lambda each: each.certificate.write_bytes(b"\x30\x82"), "--tls-cert", "PEM"),
    "a key that is none": (lambda each: each.key.write_bytes(b"x"), "--tls-key", "PEM"),
    "the other's key": (
        lambda each: each.key.write_bytes(Papers.made(each.ca.parent / "other").key.read_bytes()),
        "--tls-key",
        "does not fit",
    ),
    "an encrypted key": (lambda each: encrypt(each.key), "--tls-key", "encrypted"),
    "a directory": (become_a_directory, "--tls-key", "directory"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_start_with_bad_files_says_which_and_what_to_do(
    what: str, papers: Papers, tmp_path: Path
) -> None:
    spoil, option, word = BAD[what]
    spoil(papers)
    server = TlsServerProcess(tmp_path / "data", port=free_port(), args=papers.arguments)
    server.launch()
    try:
        assert server.wait(60) == 2
    finally:
        server.kill()
    said = server.log().strip().splitlines()
    assert 1 <= len(said) <= 2, said
    assert option in said[0]
    assert str(papers.key if option == "--tls-key" else papers.certificate) in said[0]
    assert word in " ".join(said)
    assert "secret" not in server.log()


def test_one_of_the_two_alone_is_refused(papers: Papers, tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)):
        server = ServerProcess(tmp_path / "data", args=papers.arguments[:2])
        server.launch()
        try:
            assert server.wait(60) == 2
        finally:
            server.kill()
    assert "--tls-cert" in server.log()
    assert "add --tls-key" in server.log()


async def test_sockets_count_before_their_handshake(tmp_path: Path, papers: Papers) -> None:
    """Or one address would have any number of them for as long as a handshake may take."""
    args = [*papers.arguments, "--limit-address-connections", "2"]
    with TlsServerProcess(tmp_path / "data", args=args) as server:
        assert await cut_at_once(HOST, server.port, 12, 12 - 6, HANDSHAKE_SECONDS) == 12 - 6
