"""What becomes of a request: a page, a WebSocket, or a refusal that says why."""

import asyncio
import json
import socket
import ssl
from ipaddress import ip_network

import pytest
from websockets.utils import accept_key

from landline.api.http import RequestRefused
from landline.gateway import http_connection
from landline.gateway.gatekeeper import Gatekeeper
from landline.gateway.http_request import read_head
from landline.gateway.origins import is_same_origin
from landline.gateway.reception import ForTheApplication
from landline.observability.metrics import series
from landline.protocol.client_frames import Ping
from landline.protocol.codes import FINAL_STATUSES
from landline.protocol.limits import SUBPROTOCOL
from support.pair import Edge
from support.raw import TEXT, WAIT_SECONDS, dialled, frame, request
from support.waiting import until


def asked(target: str = "/ws/chat?username=alice", **headers: str) -> bytes:
    """Return the head of an upgrade request; `-` in a header's name is written `_`."""
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return request(8081, target, given).removesuffix(b"\r\n\r\n")


REFUSALS = {
    "another method": (asked().replace(b"GET", b"POST", 1), 405, "POST is not supported here"),
    "no upgrade": (asked(Upgrade="h2c"), 426, "this address is for WebSocket clients"),
    "no connection option": (asked(Connection="close"), 426, "is for WebSocket clients"),
    "HTTP/1.0": (asked().replace(b"HTTP/1.1", b"HTTP/1.0"), 426, "is for WebSocket clients"),
    "another version": (asked(Sec_WebSocket_Version="8"), 426, "version 13 of WebSocket"),
    "no key": (asked(Sec_WebSocket_Key="short"), 400, "is not 16 bytes in base64"),
    "no name": (asked("/ws/chat"), 401, "no user name?"),
    "two names": (asked(username="bob"), 400, "two different values of username are given"),
    "a bad name": (asked("/ws/chat?username=a:b"), 400, "user name"),
    "no UTF-8": (asked("/ws/chat?username=%FF"), 400, "the address is not UTF-8"),
    "another way to ack": (asked("/ws/chat?username=a&ack=no"), 400, "must be client or auto"),
    **{
        case: (asked(f"/ws/chat?username=a&{query}"), 400, "device must be one name of 1 to 64")
        for case, query in {
            "a device without a name": "device=",
            "two devices": "device=phone&device=tablet",
            "the same device twice": "device=phone&device=phone",
            "a device with a blank": "device=my%20phone",
            "a device with a slash": "device=a/b",
            "a device with a colon": "device=a:b",
            "a device with a star": "device=*",
            "a device with a letter of another alphabet": "device=tel%C3%A9",
            "a device with a line's end": "device=phone%0A",
            "a long device": f"device={'d' * 65}",
        }.items()
    },
    "another site's page": (asked(Origin="https://evil.example"), 403, "may not connect"),
    "a name that was pointed here": (
        asked(Host="evil.example", Origin="http://evil.example"), 403, "as 127.0.0.1 or localhost",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_request_that_is_no_sound_upgrade_is_refused_with_the_reason(case: str) -> None:
    head, status, reason = REFUSALS[case]
    edge = Edge()
    edge.admit()
    with pytest.raises(RequestRefused, match=reason) as refused:
        edge.listener.decide(read_head(head), ("192.0.2.1", 4711))
    assert refused.value.status == status


@pytest.mark.parametrize(
    "head",
    [
        asked(),
        asked("/ws?username=alice&ack=auto"),
        asked("/ws?username=alice&device=phone"),
        asked("/ws/chat", username="alice"),
        asked(username="alice"),
        asked(Origin="http://127.0.0.1:8081"),
        asked(Connection="keep-alive, Upgrade"),
    ],
)
async def test_a_sound_upgrade_is_let_in(head: bytes) -> None:
    edge = Edge()
    edge.admit()
    assert not isinstance(
        edge.listener.decide(read_head(head), ("192.0.2.1", 4711)), ForTheApplication
    )


@pytest.mark.parametrize("device", [None, "p", "A-Z.a_z-0.9", "d" * 64])
async def test_a_connection_has_the_device_that_its_address_names(device: str | None) -> None:
    async with Edge() as edge:
        target = "/ws/chat?username=alice" + (f"&device={device}" if device else "")
        async with dialled(edge.port) as client:
            assert (await client.upgrade(request(edge.port, target))).status == 101
            await until(lambda: len(edge.hub.open) == 1, "it is open")
            assert edge.hub.open[0].device == device


@pytest.mark.parametrize("path", ["/metrics", "/v1/messages"])
@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1:8081", True),
        ("localhost", True),
        ("[::1]:8081", True),
        ("chat.example.org", True),
        ("evil.example:8081", False),
        ("localhost.evil.example", False),
    ],
)
async def test_a_server_for_this_machine_knows_its_names(
    path: str, host: str, *, is_ours: bool
) -> None:
    """A page whose name was pointed here (DNS rebinding) says no origin where it reads."""
    head = read_head(asked(path, Host=host))
    networks = [ip_network("192.0.2.0/24")]
    for origins in (["https://chat.example.org"], []):
        edge = Edge(allowed_origins=origins)
        edge.admit()
        proxied = Edge(proxies=networks)
        proxied.admit()
        proxied.listener.decide(head, ("192.0.2.1", 4711))
        if is_ours and (origins or "example" not in host):
            edge.listener.decide(head, ("192.0.2.1", 4711))
            continue
        with pytest.raises(RequestRefused, match=r"as 127\.0\.0\.1 or localhost"):
            edge.listener.decide(head, ("192.0.2.1", 4711))


async def test_without_a_host_it_is_no_browser() -> None:
    head = read_head(b"GET /healthz HTTP/1.0")
    assert isinstance(Edge().listener.decide(head, ("192.0.2.1", 4711)), ForTheApplication)


async def test_with_tls_a_page_without_it_is_of_another_origin() -> None:
    edge = Edge()
    edge.admit()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await edge.listener.open(sock, lambda: ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        edge.listener.decide(read_head(asked(Origin="https://127.0.0.1:8081")), ("192.0.2.1", 4711))
        with pytest.raises(RequestRefused, match="this origin may not connect"):
            edge.listener.decide(
                read_head(asked(Origin="http://127.0.0.1:8081")), ("192.0.2.1", 4711)
            )
        edge.listener.close()


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-origin", 400)])
async def test_behind_a_proxy_another_sites_page_sends_nothing(site: str, status: int) -> None:
    """The browser's cookies may sign its user in. What has an origin is judged by that."""
    networks = [ip_network("127.0.0.0/8")]
    async with Edge(gate=Gatekeeper("proxy"), proxies=networks) as edge:
        head = "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nusername: alice\r\n"
        head += f"Sec-Fetch-Site: {site}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        assert await answers(edge, head.encode()) == [str(status).encode()]


async def test_connections_that_ask_for_pages_are_counted_too() -> None:
    async with Edge(max_sockets=2) as edge, edge.client(), dialled(edge.port) as idle:
        assert (await idle.upgrade(GET.replace(b"GET", b"HEAD") + b"\r\n")).status == 200
        async with dialled(edge.port) as one_too_many:
            await one_too_many.until_cut()
        assert edge.listener.measure() == {series("landline_upgrades_refused_total"): 1}


async def test_a_user_whom_an_administrator_has_sent_away_is_refused_for_good() -> None:
    edge = Edge()
    edge.admit()
    edge.hub.revocations.add("alice")
    with pytest.raises(RequestRefused, match="closed by an administrator") as refused:
        edge.listener.decide(read_head(asked()), ("192.0.2.1", 4711))
    assert refused.value.status in FINAL_STATUSES
    bob = read_head(asked("/ws/chat?username=bob"))
    assert not isinstance(edge.listener.decide(bob, ("192.0.2.1", 4711)), ForTheApplication)


@pytest.mark.parametrize("origin", ["https://chat.example.org", "http://127.0.0.1:8081"])
async def test_only_origins_of_the_list_are_let_in_where_there_is_one(origin: str) -> None:
    edge = Edge(allowed_origins=["https://chat.example.org"])
    edge.admit()
    head = read_head(asked(Origin=origin))
    if origin == "https://chat.example.org":
        edge.listener.decide(head, ("192.0.2.1", 4711))
    else:
        with pytest.raises(RequestRefused, match="allowed-origins"):
            edge.listener.decide(head, ("192.0.2.1", 4711))


async def test_a_server_that_takes_no_clients_says_why() -> None:
    """They may come back soon, or go elsewhere."""
    edge = Edge()
    writer = Edge(max_connections=0)
    full = Edge(max_connections=1)
    full.admit()
    full.hub.open.append(None)  # type: ignore[arg-type]  # it is only counted
    stopping = Edge()
    stopping.admit()
    stopping.listener.refuse_upgrades("this server is stopping")
    page = read_head(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1")
    for each, why in (
        (edge, "is starting"),
        (writer, "role gateway"),
        (full, "too many connections"),
        (stopping, "is stopping"),
    ):
        with pytest.raises(RequestRefused, match=why) as refused:
            each.listener.decide(read_head(asked()), ("192.0.2.1", 4711))
        assert refused.value.status == 503
        assert refused.value.headers == {"Retry-After": "1"}
        assert isinstance(each.listener.decide(page, ("192.0.2.1", 4711)), ForTheApplication)


# On the wire --------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [SUBPROTOCOL, f"other, {SUBPROTOCOL}", "other", None])
async def test_an_upgrade_is_answered_with_key_and_subprotocol(offered: str | None) -> None:
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    headers = {"Sec-WebSocket-Key": key}
    if offered is not None:
        headers["Sec-WebSocket-Protocol"] = offered
    async with Edge() as edge, dialled(edge.port) as client:
        response = await client.upgrade(request(edge.port, headers=headers.items()))
        assert response.status == 101
        assert response.headers["sec-websocket-accept"] == accept_key(key)
        chosen = SUBPROTOCOL if offered is not None and SUBPROTOCOL in offered else None
        assert response.headers.get("sec-websocket-protocol") == chosen


async def test_a_connection_has_what_the_request_said() -> None:
    async with Edge() as edge, dialled(edge.port) as client:
        await client.upgrade(request(edge.port, "/ws?username=al%C3%AFce&ack=auto"))
        await until(lambda: len(edge.hub.open) == 1, "it is open")
        [connection] = edge.hub.open
        assert (connection.user, connection.session, connection.auto_ack) == ("alïce", "s0", True)


async def test_frames_right_behind_the_request_are_heard() -> None:
    """Some clients do not wait for the answer. A request in pieces is one, too."""
    ping = frame(TEXT, b'{"type":"ping"}')
    async with Edge() as edge, dialled(edge.port) as client:
        head = request(edge.port)
        await client.write(head[:40])
        assert (await client.upgrade(head[40:] + ping * 3)).status == 101
        await until(lambda: edge.hub.of("s0") == [Ping()] * 3, "all are heard")


async def test_refusals_and_pages_are_answers_and_refusals_are_counted() -> None:
    async with Edge() as edge:
        for path, status in (("/healthz", 200), ("/nothing", 404), ("/ws", 426)):
            async with dialled(edge.port) as client:
                head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
                assert (await client.upgrade(head.encode())).status == status
        assert edge.listener.measure() == {series("landline_upgrades_refused_total"): 2}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"no size\r\n", 400),
        (b"fffff\r\n" + b"x" * 131_072, 413),
        ((b"400\r\n" + b"x" * 1024 + b"\r\n") * 65 + b"0\r\n\r\n", 413),
    ],
)
async def test_a_body_in_chunks_that_is_not_taken_is_answered(body: bytes, status: int) -> None:
    """While the application waits for more of it."""
    async with Edge() as edge, dialled(edge.port) as client:
        head = (
            b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        )
        head += b"username: alice\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await client.upgrade(head + body)).status == status
        await client.until_cut()


GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


async def test_a_websocket_after_a_page_is_nothing_but_a_websocket() -> None:
    """What has answered the page forgets the connection."""
    async with Edge() as edge, dialled(edge.port) as client:
        head = GET.replace(b"GET", b"HEAD") + b"\r\n"
        assert (await client.upgrade(head)).status == 200
        assert (await client.upgrade(request(edge.port))).status == 101
        assert not edge.listener.runner.state.connections
        await client.write(frame(TEXT, b'{"type":"ping"}'))
        await until(lambda: edge.hub.of("s0") == [Ping()], "it is heard")


async def answers(edge: Edge, data: bytes, *, ends: bool = False) -> list[bytes]:
    """Return the statuses of the answers, until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(data)
    if ends:
        writer.write_eof()
    async with asyncio.timeout(WAIT_SECONDS):
        answer = await reader.read()
    writer.close()
    return [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]


async def test_many_requests_at_once_are_all_answered() -> None:
    """More than are kept while one is answered: the rest is read later."""
    one = GET + b"X: " + b"x" * 3_000 + b"\r\n\r\n"
    last = GET + b"Connection: close\r\n\r\n"
    async with Edge() as edge:
        assert await answers(edge, one * 60 + last) == [b"200"] * 61


async def test_the_beginning_of_another_request_has_no_more_time_than_a_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_connection, "HANDSHAKE_SECONDS", 0.5)
    async with Edge() as edge:
        assert await answers(edge, GET + b"\r\nG") == [b"200", b"408"]


async def test_the_beginning_of_another_request_is_refused_where_nothing_follows() -> None:
    async with Edge() as edge:
        assert await answers(edge, GET + b"\r\nG", ends=True) == [b"200", b"400"]


async def test_a_listener_that_is_closed_keeps_its_websockets_alone() -> None:
    """A client that has not said what it wants is cut; nobody else gets in."""
    async with Edge() as edge, edge.client() as pair, dialled(edge.port) as undecided:
        await until(lambda: len(edge.listener._http_connections) == 1, "the other one is accepted")
        edge.listener.close()
        await undecided.until_cut()
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            async with dialled(edge.port):
                pass
        pair.connection.transmit(json.dumps({"type": "pong"}).encode())
        assert (await pair.client.answer())["type"] == "pong"


# Whose page it is that connects -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host", "is_same"),
    [
        # A default port may be given or left out: some proxies write it into `Host`, and no
        # browser writes it into `Origin`.
        ("https://chat.example.org", "chat.example.org", True),
        ("https://chat.example.org", "chat.example.org:443", True),
        ("http://chat.example.org", "chat.example.org:80", True),
        ("https://chat.example.org:443", "chat.example.org", True),
        ("https://chat.example.org:8443", "chat.example.org:8443", True),
        ("https://chat.example.org", "Chat.Example.org", True),
        ("https://chat.example.org", "chat.example.org:", True),
        ("http://[::1]:8081", "[::1]:8081", True),
        ("http://[::1]", "[::1]:80", True),
        # Another port, scheme or host is another origin.
        ("https://chat.example.org", "chat.example.org:80", False),
        ("http://chat.example.org", "chat.example.org:443", False),
        ("https://chat.example.org", "chat.example.org:8443", False),
        ("https://chat.example.org:8443", "chat.example.org", False),
        ("https://evil.example", "chat.example.org", False),
        ("https://chat.example.org.evil.example", "chat.example.org", False),
        ("HTTPS://chat.example.org", "chat.example.org", False),
        ("https://chat.example.org/", "chat.example.org", False),
        ("capacitor://localhost", "localhost", False),
        ("null", "null", False),
        ("https://", "", False),
        ("", "", False),
    ],
)
def test_a_page_is_of_the_same_origin(origin: str, host: str, is_same: bool) -> None:
    assert is_same_origin(origin, host) is is_same
