"""Who gets in and how: handshakes of all kinds against a real server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from support.peer import Peer, until_caught_up
from support.raw import dialled, request
from support.server import ServerProcess
from support.waiting import paced, until

EMOJI = "\U0001f600"  # 4 bytes of UTF-8
BAD_NAMES = [
    *("", " ", "bo b", " bob", "bob ", "bo\tb", "bob\n", "bo\rb", "\u00a0bob", "bo\u2003b"),
    *("bob\u3000", "bo\u2028b", "bob:", ":", "dm:bob", "a/b", "/", "bo\x01b", "bo\x7fb"),
    *("bo\x85b", "\x00", "bob\x00", "e\u0301", "\u212b", "x" * 65, "é" * 33, EMOJI * 17),
    *("bo\u200bb", "bob\u200d", "\u202ebob", "bo\ufe0fb", "\u3164", "bo\xadb", "bo\U000e0062b"),
    *("bo\ue000b", "bo\u0378b", "\ufeffbob"),
]


async def status_of(port: int, data: bytes) -> int:
    """Return the HTTP status that a request gets; 0 when the server hangs up instead."""
    async with dialled(port) as raw:
        return (await raw.upgrade(data)).status


async def test_silent_sockets_and_slow_headers_are_cut(server: ServerProcess) -> None:
    """A client that does not finish its request is hung up on, and keeps nobody else waiting."""

    async def silent() -> None:
        async with dialled(server.port) as raw:
            await raw.until_cut()

    async def slow() -> None:
        async with dialled(server.port) as raw:
            cut = asyncio.create_task(raw.until_cut())
            slowly = request(server.port, headers=[("X-Slow", "x" * 10_000)])
            async for number in paced(0.1):
                if cut.done() or not await raw.write(slowly[number : number + 1]):
                    break
            await cut

    async def again(attack: Callable[[], Awaitable[None]]) -> None:
        while True:
            await attack()
            if is_over.is_set():
                return

    is_over = asyncio.Event()
    process = psutil.Process(server.pid)
    async with Peer(server.ws_url, "bob") as bob:
        await until_caught_up(bob)
        files = process.num_fds()
        attacks = [asyncio.create_task(again(attack)) for attack in [silent, slow] * 100]
        async with Peer(server.ws_url, "alice") as alice:
            await alice.send_and_wait("alice", "in the meantime")
        is_over.set()
        await asyncio.gather(*attacks)
        await until(lambda: process.num_fds() <= files, "every socket is closed")


async def test_huge_requests_are_refused(server: ServerProcess) -> None:
    """A request is bounded in bytes and in headers; its method and version are known."""
    port = server.port
    requests = {
        "a header of 64 KiB": request(port, headers=[("X-Large", "x" * 65_536)]),
        "an address of 64 KiB": request(port, f"/ws/chat?username=raw&x={'x' * 65_536}"),
        "1,000 headers": request(port, headers=[(f"X-{n}", "x") for n in range(1_000)]),
        "a megabyte without an end": b"GET /ws/chat?username=raw HTTP/1.1\r\nX: "
        + b"x" * 1_000_000,
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "POST": request(port).replace(b"GET", b"POST", 1),
        "a folded header": request(port, headers=[("X", "a\r\n b")]),
        "a body": request(port, headers=[("Content-Length", "4")]) + b"body",
        "no key": request(port, headers=[("Sec-WebSocket-Key", "")]),
        "a short key": request(port, headers=[("Sec-WebSocket-Key", "eA==")]),
        "version 12": request(port, headers=[("Sec-WebSocket-Version", "12")]),
        "no connection option": request(port, headers=[("Connection", "keep-alive")]),
        "no upgrade": request(port, headers=[("Upgrade", "h2c")]),
    }
    for name, data in requests.items():
        status = await status_of(port, data)
        assert status == 0 or 400 <= status < 500, f"{name}: {status}"
    assert server.get("/healthz")[0] == 200


NO_NAMES = ["/ws/chat", "/ws", "/ws/chat?user=raw", "/ws/chat?username", "/ws/chat?username="]
NAMES_IN_ADDRESSES = [
    *(f"/ws/chat?username={quote(name)}" for name in BAD_NAMES),
    *("/ws/chat?username=a+b", "/ws/chat?username=%ff", "/ws/chat?username=a%C3"),
    *("/ws/chat?username=%ED%A0%80", "/ws/chat?username=%C0%80", "/ws/chat?username=a&username=b"),
    *("/ws/chat?username=raw&ack=", "/ws/chat?username=raw&ack=yes"),
]
NAMES_IN_HEADERS = [
    [("username", name)]
    for name in BAD_NAMES
    if name.strip() == name and name.isprintable()
] + [
    [("username", "\udcff")],
    [("username", "a\udcc3")],
    [("username", "alice"), ("username", "bob")],
]  # fmt: skip


async def test_nobody_without_a_good_name_is_let_in(server: ServerProcess) -> None:
    """A bad or missing name gets 400 or 401 instead of the upgrade."""
    port = server.port
    requests = [request(port, target) for target in [*NO_NAMES, *NAMES_IN_ADDRESSES]]
    requests += [request(port, "/ws/chat", headers) for headers in NAMES_IN_HEADERS]
    requests += [request(port, "/ws/chat?username=alice", [("username", "bob")])]
    wrong = {}
    for data in requests:
        status = await status_of(port, data)
        if status not in (400, 401):
            wrong[data[:120]] = status
    assert wrong == {}
    assert "landline_connections 0" in server.get("/metrics")[1]
    for target, headers in [
        ("/ws/chat?username=Zo%C3%AB", []),
        ("/ws", [("username", "Zoë")]),
        ("/ws/chat?username=Zo%C3%AB", [("Username", "Zoë")]),
    ]:
        async with dialled(port) as raw:
            assert (await raw.upgrade(request(port, target, headers))).status == 101
            read = await raw.read_frame()
            assert read is not None
            assert json.loads(read[1])["user"] == "Zoë"


def origins(good: str) -> list[str]:
    """Return what hostile pages send, or look like, where `good` is a page that may connect."""
    scheme, _, rest = good.partition("://")
    host, _, port = rest.partition(":")
    port = port or "443"
    return [
        *("null", "", "*", "file://", "about:blank", "javascript://x", f"{scheme}://"),
        *(
            f"{scheme}://{host}.evil.example",
            f"{scheme}://{rest}.evil.example",
            "http://evil.example",
        ),
        *(f"{scheme}://evil.example?{good}", f"{scheme}://evil.example/{good}", f"{good}/"),
        *(f"{scheme}://evil.example#{good}", f"{good}@evil.example", f"{scheme}://x@{rest}"),
        *(f"{scheme}://{host}:1", f"{scheme}://{host}:{port}0", f"{scheme}://x{rest}", f"x{good}"),
        *(f"{good} http://evil.example", f"http://evil.example {good}", f"ws://{rest}", rest),
        *(f"{scheme.upper()}://{rest.upper()}", f"{good},{good}", f"{good}%00", f"{scheme}:{rest}"),
    ]


async def test_pages_of_other_sites_are_refused_before_the_upgrade(tmp_path: Path) -> None:
    """Origins are compared as a whole: with the list, or with the server's own address."""
    listed = "https://chat.example"
    for allowed in (None, listed):
        args = ["--allowed-origins", allowed] if allowed else []
        with ServerProcess(tmp_path / f"data-{allowed is None}", args=args) as server:
            port = server.port
            good = allowed or f"http://127.0.0.1:{port}"
            statuses = {
                origin: await status_of(port, request(port, headers=[("Origin", origin)]))
                for origin in [*origins(good), *([f"http://127.0.0.1:{port}"] if allowed else [])]
            }
            assert len(statuses) >= 20
            assert {origin: status for origin, status in statuses.items() if status != 403} == {}
            assert await status_of(port, request(port, headers=[("Origin", good)])) == 101
            assert await status_of(port, request(port)) == 101  # not a browser


async def test_a_name_that_was_pointed_at_this_machine_is_no_same_origin(
    server: ServerProcess,
) -> None:
    """DNS rebinding: the page's own name means 127.0.0.1 now, so the browser sees one origin."""
    port = server.port
    for host, status in [
        (f"evil.example:{port}", 403),
        (f"127.0.0.1.evil.example:{port}", 403),
        ("evil.example", 403),
        (f"localhost:{port}", 101),
        (f"[::1]:{port}", 101),
        (f"127.0.0.1:{port}", 101),
    ]:
        headers = [("Host", host), ("Origin", f"http://{host}")]
        assert await status_of(port, request(port, headers=headers)) == status, host


@pytest.mark.parametrize(
    ("headers", "selected"),
    [
        ([], None),
        ([("Sec-WebSocket-Protocol", "landline.v1")], "landline.v1"),
        ([("Sec-WebSocket-Protocol", "chat, landline.v1,other")], "landline.v1"),
        (
            [("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "landline.v1")],
            "landline.v1",
        ),
        ([("Sec-WebSocket-Protocol", "landline.v2, landline")], None),
    ],
)
async def test_what_is_negotiated(
    server: ServerProcess, headers: list[tuple[str, str]], selected: str | None
) -> None:
    """The subprotocol when it is offered; never compression, whatever is offered."""
    deflate = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
    async with dialled(server.port) as raw:
        response = await raw.upgrade(request(server.port, headers=[*headers, deflate]))
        assert response.status == 101
        assert response.headers.get("sec-websocket-protocol") == selected
        assert "sec-websocket-extensions" not in response.headers


@pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "upgrade,keep-alive", "UPGRADE"])
async def test_the_upgrade_may_be_one_of_several_connection_options(
    server: ServerProcess, connection: str
) -> None:
    """Firefox says `keep-alive, Upgrade` (RFC 9110, section 7.6.1: a list, in any case)."""
    data = request(server.port, headers=[("Connection", connection)])
    assert await status_of(server.port, data) == 101


# --- a client that knows nothing of us ------------------------------------------------------------


class PlainClient(WSListener):
    """Any WebSocket library: it sends `to` and `content`, and acknowledges nothing."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.frames.append(json.loads(frame.get_payload_as_bytes()))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.frames if one["type"] == kind]


@contextlib.asynccontextmanager
async def plain(
    server: ServerProcess, user: str, query: str = ""
) -> AsyncIterator[tuple[WSTransport, PlainClient]]:
    """A session of a plain client, its name in a header."""
    transport, client = await ws_connect(
        PlainClient, server.ws_url + query, extra_headers={"username": user}
    )
    assert isinstance(client, PlainClient)
    try:
        yield transport, client
    finally:
        transport.disconnect(graceful=False)
        await transport.wait_disconnected()


async def test_a_plain_client_can_send_and_receive(server: ServerProcess) -> None:
    """No type, no ref, no ack: with `ack=auto` it chats; without, a message comes again."""
    async with plain(server, "dora", "?ack=auto") as (transport, dora):
        transport.send(WSMsgType.TEXT, json.dumps({"to": "bob", "content": "hi bob"}).encode())
        await until(lambda: len(dora.of("accepted")) == 1, "dora's message is accepted")
        (accepted,) = dora.of("accepted")
        assert "ref" not in accepted
        async with Peer(server.ws_url, "bob") as bob:
            await until(lambda: accepted["id"] in bob.received, "bob has it")
            await until(lambda: bool(dora.of("status")), "dora hears that it was delivered")
            assert dora.of("status")[0]["ids"] == [accepted["id"]]
            live = await bob.send_and_wait("dora", "hi dora")
            await until(lambda: bool(dora.of("message")), "dora has the answer")
            assert dora.of("message")[0]["content"] == "hi dora"
            await until(lambda: bob.statuses == [live["id"]], "it counts once it is written")
            later = await bob.send_and_wait("eve", "for a client that never acknowledges")
    for _ in range(2):
        async with plain(server, "eve") as (_, eve):
            await until(lambda: bool(eve.of("message")), "eve has it, once more")
            assert eve.of("message")[0]["id"] == later["id"]
    async with plain(server, "eve", "?ack=auto") as (_, eve):
        await until(lambda: bool(eve.of("message")), "eve has it for the last time")
    async with plain(server, "eve", "?ack=auto") as (_, eve):
        await until(lambda: bool(eve.of("caught_up")), "eve has caught up")
        assert eve.of("message") == []
    async with plain(server, "dora") as (_, dora):
        await until(lambda: bool(dora.of("caught_up")), "dora has caught up")
        assert dora.of("message") == []
