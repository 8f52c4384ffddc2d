"""The Python client and what answers at its address: what passes, and what ends it for good."""

import asyncio
import json
import random
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import (
    Connected,
    Disconnected,
    Event,
    Refused,
    WrongUser,
    reconnecting,
    repeats,
)
from support.connecting import why_not_connected
from support.door import answer, door
from support.scripted import (
    ID,
    Scripted,
    accept,
    accept_all,
    scripted,
    scripted_chat,
    tell,
    welcome,
)
from support.server import ServerProcess
from support.waiting import until

FINAL = "Landline-Refused: final"

SIGN_IN = "Location: https://sign-in.example.org/"


@pytest.mark.parametrize(
    "passing",
    [
        answer("200 OK"),
        answer("302 Found", SIGN_IN),
        answer("307 Temporary Redirect", "Location: ws://127.0.0.1:1/elsewhere"),
        *(
            answer(f"{status} Whatever")
            for status in (400, 401, 402, 403, 404, 405, 407, 408, 409, 410, 421, 423, 425, 426,
                           429, 431, 451, 499, 500, 502, 503, 504, 520, 530)
        ),
        answer("400 Bad Request", "Landline-Refused: perhaps"),
        answer("404 Not Found", FINAL),
        answer("503 Service Unavailable", FINAL, "Retry-After: 0"),
        answer("429 Too Many Requests", "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT"),
        answer("101 Switching Protocols"),
        b"HTTP/1.0 502 Bad Gateway\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"",
    ],
)  # fmt: skip
async def test_what_a_proxy_answers_passes(passing: bytes) -> None:
    """At the beginning and later, with sends under way; the answer of the moment is told."""
    events: list[Event] = []
    async with (
        scripted(accept_all) as server,
        door(server.url, passing) as way,
        landline.connect(way.url, username="a", on_event=events.append) as chat,
    ):
        assert (await chat.send("b", "hello")).id == ID
        assert len(way.requests) == 2
    assert [type(event) for event in events[:2]] == [Disconnected, Connected]
    assert "<html>" not in str(events[0])


async def test_what_does_not_pass_is_told_when_the_time_is_up() -> None:
    async with scripted(accept_all) as server, door(server.url, *[answer("404 Gone")] * 99) as way:
        assert "answers with HTTP 404" in await why_not_connected(way.url)


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden"])
async def test_what_landline_itself_refuses_for_good_ends_it(status: str) -> None:
    refusal = answer(status, FINAL, body="this origin may not connect\n")
    async with scripted(accept_all) as server, door(server.url, refusal) as way:
        with pytest.raises(Refused, match="this origin may not connect"):
            await landline.connect(way.url, username="a").__aenter__()
        assert len(way.requests) == 1


async def test_the_server_marks_what_it_refuses_for_good_and_nothing_else(
    server: ServerProcess,
) -> None:
    for headers in ({"Origin": "https://elsewhere.example.org"}, {"username": "somebody-else"}):
        with pytest.raises(Refused, match=r"origin|pages|username"):
            await landline.connect(server.ws_url, username="a", headers=headers).__aenter__()
    assert "404" in await why_not_connected(server.ws_url + "/x")


async def test_a_proxy_that_hangs_up_as_a_server_would_passes_before_the_session() -> None:
    """Codes that a proxy uses for its own reasons mean Landline's own once it has said welcome."""

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        if len(seen.sessions) == 1:
            await socket.close(1008, "policy of the proxy")
        elif len(seen.sessions) == 2:
            await socket.close(1003, "no")
        else:
            await accept_all(seen, socket)

    async with scripted(script) as server, landline.connect(server.url, username="a") as chat:
        assert (await chat.send("b", "hello")).id == ID


async def test_something_else_at_an_address_that_was_right_passes() -> None:
    async def script(seen: Scripted, socket: ServerConnection) -> None:
        if len(seen.sessions) == 2:
            await socket.send("hello, I am an echo service")
            await socket.wait_closed()
        elif len(seen.sessions) == 1:
            await welcome(socket)
            await socket.recv()  # and no answer
        else:
            await accept_all(seen, socket)

    async with scripted(script) as server, landline.connect(server.url, username="a") as chat:
        assert (await chat.send("b", "hello")).id == ID
        assert len(server.sessions) == 3


@pytest.mark.parametrize("when", ["at first", "later"])
async def test_a_session_of_another_user_ends_it_before_anything_is_sent(when: str) -> None:
    async def script(seen: Scripted, socket: ServerConnection) -> None:
        if when == "later" and len(seen.sessions) == 1:
            await welcome(socket)
            await socket.recv()
            return
        await welcome(socket, user="mallory")
        async for _frame in seen.hear(socket):
            pass

    async with scripted(script) as server:
        chat = landline.connect(server.url, username="a", connect_timeout=None)
        async with chat:
            with pytest.raises(WrongUser, match="mallory") as caught:
                await chat.send("b", "for the eyes of b")
            assert (caught.value.asked, caught.value.user) == ("a", "mallory")
            with pytest.raises(WrongUser):
                await anext(chat)
        assert not server.frames


async def test_a_server_that_welcomes_and_hangs_up_is_not_hammered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a session that lasted starts the waiting from the beginning."""
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    events: list[Event] = []

    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)

    def waits() -> list[float | None]:
        return [event.retry_seconds for event in events if isinstance(event, Disconnected)]

    async with scripted_chat(script, on_event=events.append) as (_server, _chat):
        await until(lambda: len(waits()) >= 4, "it has come four times")
        assert waits()[:4] == [0.1, 0.2, 0.4, 0.8]
        monkeypatch.setattr(reconnecting, "LASTING_SECONDS", 0.0)
        await until(lambda: len(waits()) >= 7, "it has come three times more")
        assert waits()[4:7] == [0.1] * 3


@pytest.mark.parametrize(
    "refusal",
    [
        {"code": "unavailable", "outcome": "unknown"},
        {"code": "busy", "outcome": "rejected"},
        {"code": "too_fast", "outcome": "rejected", "retry_after_ms": 1},
    ],
    ids=lambda refusal: refusal["code"],
)
async def test_a_server_in_trouble_is_asked_with_one_send_at_a_time(
    refusal: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred sends for one recipient, who cannot be served at first; others are."""
    monkeypatch.setattr(repeats, "FIRST_REPEAT_SECONDS", 0.02)
    monkeypatch.setattr(repeats, "LAST_REPEAT_SECONDS", 0.02)
    tries, troubles = 6, 200
    accepted: list[str] = []
    is_well = asyncio.Event()
    alone: list[str] = []

    async def script(_seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        refused = 0
        async for text in socket:
            frame = json.loads(text)
            if frame["to"] == "b" and not is_well.is_set():
                refused += 1
                if refused > troubles:
                    alone.append(frame["content"])
                await tell(socket, type="error", message="no", ref=frame["ref"], **refusal)
            else:
                accepted.append(frame["content"])
                await accept(socket, frame)

    async with scripted(script) as server, landline.connect(server.url, username="a") as chat:
        waiting = [asyncio.create_task(chat.send("b", f"m{n}")) for n in range(troubles)]
        await until(lambda: len(alone) >= tries, "it is tried again and again")
        assert set(alone) == {"m0"}
        await chat.send("c", "somebody else")
        is_well.set()
        await asyncio.gather(*waiting)
    assert accepted == ["somebody else", *(f"m{n}" for n in range(troubles))]
