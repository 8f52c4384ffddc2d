"""A pipe ends, however many lines it has and whatever answers at the address."""

import asyncio
import io
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from http import HTTPStatus

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

import landline
from landline.client import Accepted, Event
from landline.terminal import chat as terminal
from landline.terminal.chat import Terminal
from landline.terminal.lines import Input
from landline.terminal.screen import Screen
from support.scripted import Scripted, accept, scripted, welcome

WAIT_SECONDS = 60.0
UNDER_WAY = 20


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "LINES_UNDER_WAY", UNDER_WAY)
    monkeypatch.setattr(terminal, "LAST_ANSWERS_SECONDS", WAIT_SECONDS)


def no_more_answers() -> None:
    """From now on it is not worth while to wait for one; before that a slow machine may need it."""
    terminal.LAST_ANSWERS_SECONDS = 0.2


@asynccontextmanager
async def nobody() -> AsyncIterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"ws://127.0.0.1:{taken.getsockname()[1]}/ws/chat"


@asynccontextmanager
async def a_proxy(status: HTTPStatus) -> AsyncIterator[str]:
    """Whoever answers is no server of this protocol."""

    def refuse(connection: ServerConnection, _request: Request) -> Response:
        return connection.respond(status, "")

    async def nothing(_socket: ServerConnection) -> None:
        """Not reached."""

    server: Server
    async with serve(nothing, "127.0.0.1", 0, process_request=refuse) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws/chat"


@asynccontextmanager
async def one_that_answers(count: int) -> AsyncIterator[str]:
    """A server that says nothing more after so many answers."""

    async def script(seen: Scripted, socket: ServerConnection) -> None:
        await welcome(socket, "al")
        async for text in socket:
            frame = json.loads(text)
            if frame["type"] == "send" and len(seen.frames) < count:
                seen.sessions[-1].append(frame)
                await accept(socket, frame)

    async with scripted(script) as server:
        yield server.url


async def pipe(url: str, lines: int, answered: int) -> tuple[int, str]:
    """Send numbered lines, of which so many are answered. Returns the exit code and what was said
    about those that were left.
    """
    reading, writing = os.pipe()
    accepted = 0

    def note(event: Event) -> None:
        nonlocal accepted
        chats.show_event(event)
        accepted += isinstance(event, Accepted)
        if accepted == answered:
            no_more_answers()

    def write() -> None:
        text = "".join(f"{number}\n" for number in range(1, lines + 1))
        try:
            with os.fdopen(writing, "w") as file:
                file.write(text)
        except OSError:
            """It has seen enough."""

    threading.Thread(target=write, daemon=True).start()
    errors = io.StringIO()
    if not answered:
        no_more_answers()
    with os.fdopen(reading) as stream:
        chats = Terminal("bo", Input(stream), Screen(io.StringIO()), errors)
        chat = landline.connect(url, username="al", connect_timeout=None, on_event=note)
        async with asyncio.timeout(WAIT_SECONDS):
            code = await chats.run(chat)
    return code, errors.getvalue()


PLACES: dict[str, tuple[Callable[[], AbstractAsyncContextManager[str]], int]] = {
    "nobody": (nobody, 0),
    "404": (partial(a_proxy, HTTPStatus.NOT_FOUND), 0),
    "502": (partial(a_proxy, HTTPStatus.BAD_GATEWAY), 0),
    "silent": (partial(one_that_answers, 0), 0),
    "falls silent": (partial(one_that_answers, UNDER_WAY + 5), UNDER_WAY + 5),
}


@pytest.mark.parametrize("more", [1, 200])
@pytest.mark.parametrize("place", PLACES)
async def test_more_lines_than_there_is_room_for_end_where_no_answers_come(
    place: str, more: int
) -> None:
    where, answered = PLACES[place]
    taken = answered + UNDER_WAY
    async with where() as url:
        code, said = await pipe(url, taken + more, answered)
    assert code == 1
    assert said.startswith(f"landline: {UNDER_WAY} lines were not accepted\n")
    assert f"  line {answered + 1}: no answer yet" in said
    assert said.endswith(f"  the rest of the input was not read, from line {taken + 1} on\n")


@pytest.mark.parametrize("place", PLACES)
async def test_lines_for_which_there_is_room_are_all_named(place: str) -> None:
    where, answered = PLACES[place]
    async with where() as url:
        code, said = await pipe(url, answered + 3, answered)
    assert code == 1
    assert said.startswith("landline: 3 lines were not accepted\n")
    assert "was not read" not in said
