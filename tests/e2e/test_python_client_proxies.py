"""The Python client through proxies, and what it sends with its handshakes."""

from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import ClientError, Refused
from support.door import door
from support.scripted import ID, Scripted, accept_all, scripted, scripted_chat

PROXY_VARIABLES = ("ws_proxy", "wss_proxy", "http_proxy", "https_proxy", "socks_proxy", "all_proxy")


async def test_the_environments_proxies_are_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in PROXY_VARIABLES:
        for variable in (name, name.upper()):
            monkeypatch.setenv(variable, "http://127.0.0.1:1")
    async with scripted(accept_all) as server:
        for host in ("127.0.0.1", "localhost", "127.1"):
            url = server.url.replace("127.0.0.1", host)
            async with landline.connect(url, username="a") as chat:
                assert (await chat.send("b", "hello")).id == ID


@pytest.mark.parametrize("given", ["the environment", "the parameter"])
async def test_other_machines_are_reached_through_a_proxy(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*PROXY_VARIABLES, "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    async with scripted(accept_all) as server, door(server.url) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        parameters: dict[str, Any] = {}
        if given == "the parameter":
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
            parameters["proxy"] = url
        else:
            monkeypatch.setenv("http_proxy", url)
        there = "ws://chat.example.org/ws/chat"
        async with landline.connect(there, username="a", **parameters) as chat:
            assert (await chat.send("b", "hello")).id == ID
        assert proxy.requests[0].startswith(b"CONNECT chat.example.org:80 ")


async def test_a_proxy_that_was_given_is_also_used_for_this_machine() -> None:
    async with scripted(accept_all) as server, door(server.url) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with landline.connect(server.url, username="a", proxy=url) as chat:
            assert (await chat.send("b", "hello")).id == ID
        assert proxy.requests[0].startswith(b"CONNECT 127.0.0.1:")


async def test_a_proxy_that_is_not_ready_passes() -> None:
    refusal = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
    async with scripted(accept_all) as server, door(server.url, refusal) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with landline.connect(server.url, username="a", proxy=url) as chat:
            assert (await chat.send("b", "hello")).id == ID


@pytest.mark.parametrize("given", ["the environment", "the parameter"])
@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("host:3128", "host:3128"),
        ("ftp://user:secret@host", "ftp://host"),
        ("http://h/path", "http://h/path"),
        ("http://h:99999", "http://h:99999"),
        ("http://user:secret@h:99999", "http://h:99999"),
        ("http://user:se@cret://secret@h:x", "h:x"),
        ("http://h:0", "http://h:0"),
        ("socks5://h:-1", "socks5://h:-1"),
        ("http://[::1", "http://[::1"),
        ("http://a..b:80", "http://a..b:80"),
        (f"http://{'x' * 64}:80", "x" * 64),
    ],
)
async def test_what_is_no_proxy_is_named_without_its_password(
    proxy: str, shown: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*PROXY_VARIABLES, "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    parameters: dict[str, Any] = {"proxy": proxy}
    if given == "the environment":
        monkeypatch.setenv("https_proxy", proxy)
        parameters = {}
    with pytest.raises(ClientError, match="the proxy cannot be used") as caught:
        await landline.connect("ws://h.invalid/ws", username="a", **parameters).__aenter__()
    assert shown in str(caught.value)
    assert "secret" not in repr(caught.value)
    assert "server" not in str(caught.value)


async def test_headers_go_with_every_handshake() -> None:
    requests: list[dict[str, str]] = []

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        assert socket.request is not None
        requests.append(dict(socket.request.headers.raw_items()))
        if len(seen.sessions) == 2:
            await accept_all(seen, socket)

    headers = {"Authorization": "Bearer secret", "X-Tenant": "a"}
    async with scripted_chat(script, headers=headers) as (_server, chat):
        headers["X-Tenant"] = "b"  # what the caller does with it later means nothing
        await chat.send("b", "hello")
    for request in requests:
        assert (request["Authorization"], request["X-Tenant"]) == ("Bearer secret", "a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "secret\r\nX-B: 1"), ("X-A", "secret\x00"), ("X-A", "secret\u00e9"), ("", "x"),
        ("X A", "x"), ("X-A:", "x"), ("Host", "secret"), ("sec-websocket-key", "secret"),
        ("Connection", "close"), ("UPGRADE", "h2c"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_header_is_refused_without_its_value(name: str, value: str) -> None:
    with pytest.raises(ClientError, match="header") as caught:
        landline.connect("ws://h/ws", username="a", headers={name: value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("username", ["", "a b", "a:b", "a/b", "x" * 65, "\ud800", "a\x00"])
def test_a_name_that_no_user_can_have_is_refused_before_anything_is_dialled(username: str) -> None:
    with pytest.raises(Refused, match="cannot be a user"):
        landline.connect("ws://h/ws", username=username)
