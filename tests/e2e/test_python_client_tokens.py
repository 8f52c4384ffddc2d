"""The client with tokens: where they go, where they never are, and what becomes of refused ones.

The server is scripted, because it has to refuse and to expire when a test says so.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import (
    ClosedByAdministrator,
    Connected,
    ConnectionFailed,
    Disconnected,
    Event,
    ForeignOutbox,
    MessageRejected,
    Refused,
    TokenRefused,
    TokenUnavailable,
    WrongUser,
    credentials,
    renewal,
)
from support.scripted import Scripted, accept, accept_all, scripted, scripted_chat, tell, welcome
from support.waiting import until

FINAL = {"Landline-Refused": "final"}
SECRET = "s" * 32


def shown(server: Scripted) -> list[str | None]:
    """Return the header of each request to connect."""
    return [request.headers.get("Authorization") for request in server.requests]


def numbered() -> Callable[[], str]:
    """Return a function that brings a token of its own each time."""
    numbers = itertools.count(1)
    return lambda: f"token-{next(numbers)}"


def lasting(seconds: float) -> Callable[[], str]:
    """Return a function that brings tokens that expire after so many seconds."""
    numbers = itertools.count(1)
    return lambda: jwt.encode(
        {"exp": int(time.time() + seconds), "jti": str(next(numbers))}, SECRET, "HS256"
    )


async def test_a_token_is_in_the_header_alone_and_fresh_for_each_connection() -> None:
    async def script(seen: Scripted, socket: ServerConnection) -> None:
        if len(seen.sessions) == 1:
            await welcome(socket)
            await socket.close(1012)
        else:
            await accept_all(seen, socket)

    async with scripted_chat(script, token=numbered()) as (server, chat):
        await chat.send("b", "hello")
        assert shown(server) == ["Bearer token-1", "Bearer token-2"]
        assert not any("token" in request.path for request in server.requests)


async def test_without_a_name_the_user_is_the_one_of_the_welcome() -> None:
    async with scripted_chat(accept_all, username=None, token="t") as (server, chat):
        assert chat.username == "a"
        assert server.requests[0].path == "/ws/chat"


async def test_another_user_of_a_fresh_token_ends_the_chat() -> None:
    """A chat is one user's: what was begun for one is not sent for another."""

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket, user="a" if len(seen.sessions) == 1 else "b")
        if len(seen.sessions) == 1:
            await socket.close(1012)
        await socket.wait_closed()

    async with scripted_chat(script, username=None, token=numbered()) as (_server, chat):
        with pytest.raises(WrongUser, match="got one of 'b'"):
            await anext(chat)


async def test_an_outbox_without_a_name_belongs_to_the_user_of_the_first_session(
    tmp_path: Path,
) -> None:
    path = tmp_path / "outbox"
    async with scripted(accept_all) as server:
        async with landline.connect(server.url, token="t", outbox=path) as chat:
            await chat.send("b", "hello")
        with pytest.raises(ForeignOutbox, match="belongs to 'a'"):
            async with landline.connect(server.url, username="b", outbox=path):
                pass

    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket, user="b")
        await socket.wait_closed()

    port = int(server.url.rsplit(":", 1)[1].split("/")[0])
    async with scripted(script, port=port) as server:
        with pytest.raises(ForeignOutbox, match="belongs to 'a'"):
            async with landline.connect(server.url, token="t", outbox=path):
                pass
        assert server.frames == []


async def test_a_draft_without_a_name_is_not_kept_before_it_is_known_whose_it_is(
    tmp_path: Path,
) -> None:
    """Nothing is sent in another user's name later."""

    def door(_seen: Scripted) -> tuple[int, dict[str, str], str]:
        return 401, FINAL, "no"

    async with scripted(accept_all, door=door) as server:
        chat = landline.connect(
            server.url, token="t", outbox=tmp_path / "outbox", connect_timeout=None
        )
        async with chat:
            with pytest.raises(landline.ClientError, match=r"not kept: .* the token has expired"):
                await chat.send("b", "hello")
    async with (
        scripted(accept_all, port=int(server.url.rsplit(":", 1)[1].split("/")[0])) as server,
        landline.connect(server.url, username="a", outbox=tmp_path / "outbox") as chat,
    ):
        assert chat.unanswered == []


@pytest.mark.parametrize("how", ["before the upgrade", "before the welcome", "in the session"])
async def test_a_string_that_is_refused_or_has_expired_ends_the_chat(how: str) -> None:
    def door(_seen: Scripted) -> tuple[int, dict[str, str], str] | None:
        return (401, FINAL, "it is too old\n") if how == "before the upgrade" else None

    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        if how == "in the session":
            await welcome(socket)
        await socket.close(4401, "it is too old")

    with pytest.raises(TokenRefused, match=r"^the token has expired or was refused: it is too old"):
        async with scripted_chat(script, door, token="t", connect_timeout=None) as (server, chat):
            await anext(chat)
    assert len(server.requests) == 1


@pytest.mark.parametrize("how", ["before the upgrade", "before the welcome", "in the session"])
async def test_a_function_brings_a_fresh_token_after_one_that_is_refused(how: str) -> None:
    def door(seen: Scripted) -> tuple[int, dict[str, str], str] | None:
        is_stale = how == "before the upgrade" and len(seen.requests) == 1
        return (401, FINAL, "it is too old\n") if is_stale else None

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        if len(seen.requests) > 1:
            await accept_all(seen, socket)
            return
        if how == "in the session":
            await welcome(socket)
        await socket.close(4401, "it is too old")

    async with scripted_chat(script, door, token=numbered()) as (server, chat):
        await chat.send("b", "hello")
        assert shown(server) == ["Bearer token-1", "Bearer token-2"]


async def test_fresh_tokens_that_are_refused_for_long_end_the_chat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "REFUSED_SECONDS", 0.2)
    refusal = 401, FINAL, "wrong key\n"
    with pytest.raises(TokenRefused, match="wrong key"):
        async with scripted_chat(
            accept_all, lambda _seen: refusal, token=numbered(), connect_timeout=None
        ) as (server, chat):
            await anext(chat)
    assert len(server.requests) > 1
    assert len(set(shown(server))) == len(server.requests)


@pytest.mark.parametrize("token", ["t", numbered()])
async def test_a_user_who_may_not_connect_is_not_tried_again(
    token: str | Callable[[], str],
) -> None:
    refusal = 403, FINAL, "not this one\n"
    with pytest.raises(Refused, match="not this one"):
        async with scripted_chat(
            accept_all, lambda _seen: refusal, token=token, connect_timeout=None
        ) as (server, chat):
            await anext(chat)
    assert len(server.requests) == 1


@pytest.mark.parametrize("said", ["closed by an administrator", "closed by an administrator: x"])
async def test_a_user_whom_an_administrator_keeps_away_does_not_come_back(said: str) -> None:
    """Such a refusal is not final, and says when it is over."""
    refusal = 403, {"Retry-After": "1"}, f"{said}\n"
    with pytest.raises(ClosedByAdministrator, match=said):
        async with scripted_chat(
            accept_all, lambda _seen: refusal, token=numbered(), connect_timeout=None
        ) as (server, chat):
            await anext(chat)
    assert len(server.requests) == 1


async def test_an_administrator_who_closes_the_session_ends_the_chat() -> None:
    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.close(4403, "until tomorrow")

    async with scripted_chat(script, token=numbered()) as (server, chat):
        with pytest.raises(ClosedByAdministrator, match="until tomorrow"):
            await anext(chat)
        assert len(server.requests) == 1


async def test_a_session_is_renewed_in_place_before_its_token_expires() -> None:
    fresh: list[str] = []

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for frame in seen.hear(socket):
            if frame["type"] == "auth":
                fresh.append(frame["token"])
                await tell(socket, type="authenticated", expires="2026-01-02T03:04:05.678Z")
            else:
                await accept(socket, frame)

    async with scripted_chat(script, token=lasting(3)) as (server, chat):
        await until(lambda: len(fresh) == 2, "it is renewed twice")
        await chat.send("b", "hello")
        assert len(server.sessions) == 1
        first = str(shown(server)[0]).removeprefix("Bearer ")
        assert len({first, *fresh}) == 3


@pytest.mark.parametrize("problem", ["forbidden", "the function fails", "the same again"])
async def test_a_renewal_that_fails_is_tried_again_in_the_same_session(
    problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "_FIRST_SECONDS", 0.01)
    bring = lasting(3)
    calls: list[str] = []
    answered: list[str] = []

    def source() -> str:
        calls.append(bring())
        if len(calls) == 2 and problem == "the function fails":
            raise OSError
        return calls[0] if len(calls) == 2 and problem == "the same again" else calls[-1]

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for frame in seen.hear(socket):
            answered.append(frame["token"])
            if len(answered) == 1 and problem == "forbidden":
                await tell(socket, type="error", code="forbidden", message="no")
            else:
                await tell(socket, type="authenticated", expires="2026-01-02T03:04:05.678Z")

    async with scripted_chat(script, token=source) as (server, _chat):
        wanted = 2 if problem == "forbidden" else 1
        await until(lambda: len(answered) == wanted, "it is tried again")
        assert answered[-1] == calls[2]
        assert len(server.sessions) == 1


async def test_a_function_that_fails_is_asked_again_when_it_connects() -> None:
    events: list[Event] = []
    problems: list[Exception] = [OSError("secret-canary"), TokenUnavailable("sign in first")]

    async def source() -> str:
        await asyncio.sleep(0)
        if problems:
            raise problems.pop(0)
        return "t"

    async with scripted_chat(accept_all, token=source, on_event=events.append) as (server, _chat):
        assert shown(server) == ["Bearer t"]
    assert [event.reason for event in events if isinstance(event, Disconnected)] == [
        "the function `token` raised OSError",
        "sign in first",
    ]
    assert isinstance(events[-1], Connected)


async def test_the_reason_why_there_is_no_token_is_that_of_the_failure() -> None:
    def source() -> str:
        raise OSError("secret-canary")

    with pytest.raises(ConnectionFailed, match=r"`token` raised OSError$") as caught:
        async with scripted_chat(accept_all, token=source, connect_timeout=0.5):
            pass
    assert isinstance(caught.value.__cause__, TokenUnavailable)
    assert isinstance(caught.value.__cause__.__cause__, OSError)


async def test_a_function_that_says_that_the_user_has_signed_out_ends_the_chat() -> None:
    def source() -> str:
        raise TokenRefused("signed out")

    with pytest.raises(TokenRefused, match="signed out"):
        async with scripted_chat(accept_all, token=source, connect_timeout=None) as (server, chat):
            await anext(chat)
    assert server.requests == []


async def test_a_server_with_too_many_connections_is_left_alone_for_as_long_as_it_asks() -> None:
    times: list[float] = []

    def door(_seen: Scripted) -> tuple[int, dict[str, str], str] | None:
        times.append(time.monotonic())
        return (429, {"Retry-After": "1"}, "too many\n") if len(times) == 1 else None

    async with scripted_chat(accept_all, door, token="t"):
        assert times[1] - times[0] >= 1


async def test_sends_that_are_too_fast_wait_as_long_as_the_server_asks_and_go_out_again() -> None:
    times: list[float] = []

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for frame in seen.hear(socket):
            times.append(time.monotonic())
            if len(times) <= 2:
                outcome = "unknown" if len(times) == 2 else "rejected"
                await tell(
                    socket, type="error", code="too_fast", message="slower", ref=frame["ref"],
                    outcome=outcome, retry_after_ms=300,
                )  # fmt: skip
            else:
                await accept(socket, frame)

    async with scripted_chat(script) as (server, chat):
        await chat.send("b", "hello")
        assert [frame.get("retry") for frame in server.frames] == [None, None, True]
        assert len({frame["ref"] for frame in server.frames}) == 1
        assert min(times[1] - times[0], times[2] - times[1]) >= 0.3


async def test_a_send_to_somebody_else_waits_while_the_user_is_too_fast() -> None:
    heard: list[str] = []

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for frame in seen.hear(socket):
            heard.append(frame["to"])
            if len(heard) == 1:
                await tell(
                    socket, type="error", code="too_fast", message="slower", ref=frame["ref"],
                    outcome="rejected", retry_after_ms=60_000,
                )  # fmt: skip
            else:
                await accept(socket, frame)

    async with scripted_chat(script) as (_server, chat):
        with pytest.raises(landline.SendTimeout):
            await chat.send("b", "1", timeout=0.5)
        with pytest.raises(landline.SendTimeout):
            await chat.send("c", "2", timeout=0.5)
        assert heard == ["b"]


async def test_a_send_that_is_forbidden_raises_that() -> None:
    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for frame in seen.hear(socket):
            await tell(
                socket, type="error", code="forbidden", message="not to b", ref=frame["ref"],
                outcome="rejected",
            )  # fmt: skip

    async with scripted_chat(script, token="t") as (_server, chat):
        with pytest.raises(MessageRejected) as caught:
            await chat.send("b", "hello")
        assert (caught.value.code, caught.value.reason) == ("forbidden", "not to b")
        assert chat.unanswered == []


async def test_no_log_at_any_level_has_a_token_or_a_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("", "websockets", "websockets.client", "landline"):
        caplog.set_level(logging.DEBUG, logger=name)
    # The server's own log has both, and is not ours.
    logging.getLogger("websockets.server").setLevel(logging.INFO)
    async with scripted_chat(accept_all, token="canary-token") as (_server, chat):
        await chat.send("b", "canary-content")
    async with scripted_chat(
        accept_all, lambda _seen: (401, FINAL, "no\n"), token="canary-token", connect_timeout=None
    ) as (_server, chat):
        with pytest.raises(TokenRefused) as caught:
            await anext(chat)
    assert "canary" not in caplog.text
    assert "canary" not in repr(caught.value)
    assert "canary" not in repr(vars(chat))


def test_a_header_beside_a_token_is_refused() -> None:
    with pytest.raises(landline.ClientError, match="Authorization is that of `token`"):
        landline.connect("ws://h/", token="t", headers={"Authorization": "Basic x"})
