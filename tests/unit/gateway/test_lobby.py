"""Who is let in after the upgrade, and what is looked at again after a wait."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request

from landline.api.http import RequestRefused
from landline.auth.principal import LEEWAY_SECONDS, Principal
from landline.auth.tokens import Tokens
from landline.config.limits import Limits
from landline.gateway import connection as connections
from landline.gateway import gatekeeper
from landline.gateway.gatekeeper import Gatekeeper
from landline.gateway.http_request import read_head
from landline.protocol.client_frames import Send
from landline.protocol.codes import CloseCode
from support import raw
from support.pair import Edge, connection_pair
from support.raw import CLOSE, TEXT, frame
from support.waiting import until

PEER = ("192.0.2.1", 4711)
AUTH = frame(TEXT, b'{"type":"auth","token":"t"}')


class SlowTokens:
    """Every token is good, once `answers` is set."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.answers = asyncio.Event()
        self.asked = 0

    async def check(self, _token: str) -> Principal:
        self.asked += 1
        await self.answers.wait()
        return self.principal


def gate_with(tokens: SlowTokens) -> Gatekeeper:
    return Gatekeeper("jwt", cast("Tokens", tokens))


def http(path: str, *headers: tuple[bytes, bytes]) -> Request:
    """Return a request as the application has it."""
    return Request(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer t"), *headers],
            "client": ("127.0.0.1", 4711),
            "server": ("127.0.0.1", 80),
            "scheme": "http",
        }
    )


async def test_a_connection_that_was_told_goodbye_is_not_let_in_by_a_late_answer() -> None:
    tokens = SlowTokens(Principal("alice"))
    async with asyncio.timeout(60), Edge(gate=gate_with(tokens)) as edge:
        async with raw.dialled(edge.port) as client:
            await client.upgrade(raw.request(edge.port, "/ws/chat"))
            await client.write(AUTH)
            await until(lambda: tokens.asked == 1, "the token is looked at")
            edge.hub.lobby.close_all(CloseCode.RESTARTING, "retry_after_ms=1")
            tokens.answers.set()
            await until(lambda: not edge.hub.tasks, "the check is done")
            assert edge.hub.open == []
            assert edge.doors._users == {}
            await client.until_cut()
        await until(lambda: len(edge.hub.lobby) == 0, "it is gone")


async def test_a_reason_is_cut_to_what_a_close_frame_holds() -> None:
    async with asyncio.timeout(60), connection_pair() as pair:
        pair.connection.close(CloseCode.POLICY, "ä" * 200)
        code = int(CloseCode.POLICY).to_bytes(2, "big")
        assert await pair.client.read_frame() == (CLOSE, code + "ä".encode() * 61)


async def test_whoever_has_not_signed_in_has_less_time_for_a_goodbye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "CLOSE_WITHIN_SECONDS", 3600)
    monkeypatch.setattr(connections, "UNKNOWN_WITHIN_SECONDS", 0.01)
    tokens = SlowTokens(Principal("alice"))
    async with (
        asyncio.timeout(60),
        Edge(gate=gate_with(tokens)) as edge,
        raw.dialled(edge.port) as client,
    ):
        await client.upgrade(raw.request(edge.port, "/ws/chat"))
        await until(lambda: len(edge.hub.lobby) == 1, "it waits")
        edge.hub.lobby.close_all(CloseCode.RESTARTING, "")
        await client.until_cut()


async def test_a_check_that_takes_too_long_is_refused_for_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gatekeeper, "CHECK_SECONDS", 0.01)
    edge = Edge(gate=gate_with(SlowTokens(Principal("alice"))))
    edge.admit()
    with pytest.raises(RequestRefused, match="cannot be checked now") as refused:
        async with asyncio.timeout(60):
            await edge.listener.identify(http("/v1/messages"))
    assert refused.value.status == 503


@pytest.mark.parametrize("change", ["revoked", "expired"])
async def test_a_message_whose_sender_was_sent_away_since_it_began_is_not_sent(change: str) -> None:
    edge = Edge()
    edge.admit()
    sent: list[Any] = []

    async def post(*args: Any, check: Any, **_options: Any) -> bytes:
        check()
        sent.append(args)
        return b"{}"

    edge.hub.posts = SimpleNamespace(post=post)  # type: ignore[attr-defined]
    expires_at = edge.hub.clock.wall_ms() / 1000 + 1
    alice = Principal("alice", expires_at=expires_at)
    assert await edge.listener.post(alice, "alice", Send("bob", "hello", "1")) == b"{}"
    if change == "revoked":
        edge.hub.revocations.add("alice")
    else:
        edge.hub.clock.now += 1 + LEEWAY_SECONDS
    with pytest.raises(RequestRefused) as refused:
        await edge.listener.post(alice, "alice", Send("bob", "hello", "2"))
    assert refused.value.status == (403 if change == "revoked" else 401)
    assert len(sent) == 1


async def test_a_server_that_only_applies_the_log_serves_no_programs() -> None:
    edge = Edge(max_connections=0)
    edge.admit()
    for work in (
        edge.listener.sessions_of("alice"),
        edge.listener.revoke("alice", None, "backend"),
        edge.listener.post(Principal("alice"), "alice", Send("bob", "hello", "1")),
    ):
        with pytest.raises(RequestRefused, match="role gateway") as refused:
            await work
        assert refused.value.status == 503


@pytest.mark.parametrize("is_service", [True, False])
async def test_a_service_cannot_lock_itself_out_of_what_lets_it_in_again(is_service: bool) -> None:
    tokens = SlowTokens(Principal("backend", is_service=is_service))
    tokens.answers.set()
    edge = Edge(gate=gate_with(tokens))
    edge.admit()
    edge.hub.revocations.add("backend")
    if is_service:
        await edge.listener.identify(http("/v1/users/backend/sessions"))
    else:
        with pytest.raises(RequestRefused, match="administrator"):
            await edge.listener.identify(http("/v1/users/backend/sessions"))
    with pytest.raises(RequestRefused, match="administrator"):
        await edge.listener.identify(http("/v1/messages"))


async def test_handshakes_are_not_counted_before_there_is_anybody_to_shake_hands() -> None:
    edge = Edge(limits=Limits(handshakes=1))
    head = read_head(raw.request(80, "/ws/chat?username=a").removesuffix(b"\r\n\r\n"))
    for _ in range(50):
        with pytest.raises(RequestRefused, match="is starting"):
            edge.listener.decide(head, PEER)
    assert len(edge.doors) == 0
