"""How the Python client says goodbye: close codes show trouble only where there is some."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import ClientError, Event, WrongUser, link
from support.faults import metric
from support.scripted import Scripted, scripted, welcome
from support.server import ServerProcess
from support.waiting import until


async def leave(url: str) -> None:
    async with landline.connect(url, username="a"):
        pass


async def leave_by_an_exception(url: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with landline.connect(url, username="a"):
            raise ZeroDivisionError


async def leave_in_the_middle(url: str) -> None:
    async with landline.connect(url, username="a") as chat:
        await chat.send("a", "to myself")
        async for _message in chat:
            break


async def be_cancelled(url: str) -> None:
    is_there = asyncio.Event()

    async def stay() -> None:
        async with landline.connect(url, username="a") as chat:
            is_there.set()
            await anext(chat)

    staying = asyncio.create_task(stay())
    await is_there.wait()
    staying.cancel()
    await asyncio.wait({staying})


async def end_a_pipe(url: str) -> None:
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "landline", "chat", "--as", "a", "--to", "a", "--url", url],
        input=b"hello\n",
        check=False,
        timeout=60,
        env={**os.environ, "XDG_STATE_HOME": os.environ["STATE_OF_THE_TEST"]},
    )
    assert ended.returncode == 0


@pytest.mark.e2e
async def test_a_client_that_leaves_says_goodbye(
    server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_OF_THE_TEST", str(tmp_path))
    ways: list[Callable[[str], Awaitable[None]]] = [
        leave, leave_by_an_exception, leave_in_the_middle, be_cancelled, end_a_pipe,
    ]  # fmt: skip
    for count, way in enumerate(ways, start=1):
        await way(server.ws_url)
        await until(lambda: metric(server, "landline_connections") == 0, "it has left")
        goodbyes = metric(server, 'landline_closes_total{code="1000"}')
        assert goodbyes == count, way.__name__


async def closed_with(
    script: Callable[[ServerConnection], Awaitable[None]], use: Callable[[str], Awaitable[object]]
) -> int | None:
    """Return the code with which the client closed its first connection."""
    codes: list[int | None] = []

    async def note(_seen: Scripted, socket: ServerConnection) -> None:
        try:
            await script(socket)
            await socket.wait_closed()
        finally:
            codes.append(socket.close_code)

    async with scripted(note) as server:
        using = asyncio.ensure_future(use(server.url))
        await until(lambda: bool(codes), "it has closed")
        using.cancel()
        await asyncio.wait({using})
    return codes[0]


async def send(url: str) -> None:
    async with landline.connect(url, username="a", connect_timeout=None) as chat:
        await chat.send("b", "hello")


async def test_a_welcome_for_somebody_else() -> None:
    async def use(url: str) -> None:
        with pytest.raises(WrongUser):
            await send(url)

    assert await closed_with(lambda socket: welcome(socket, "mallory"), use) == 1008


@pytest.mark.parametrize("first", ["hello", '{"type":"welcome","protocol":2}'])
async def test_what_is_none_of_the_protocol(first: str) -> None:
    assert await closed_with(lambda socket: socket.send(first), send) == 1002


async def test_a_frame_of_a_session_that_cannot_be_read() -> None:
    async def script(socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.send("hello")

    assert await closed_with(script, send) == 1002


async def test_a_welcome_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "WELCOME_SECONDS", 0.1)

    async def script(_socket: ServerConnection) -> None:
        """Say nothing."""

    assert await closed_with(script, send) == 4408


async def test_an_answer_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.1)

    async def script(socket: ServerConnection) -> None:
        await welcome(socket)
        async for _frame in socket:
            """Say nothing."""

    assert await closed_with(script, send) == 4408


async def test_a_client_that_cannot_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_event: Event) -> None:
        raise ZeroDivisionError

    async def use(url: str) -> None:
        async with landline.connect(url, username="a", on_event=fail, connect_timeout=None) as chat:
            with pytest.raises(ClientError):
                await anext(chat)

    assert await closed_with(welcome, use) == 1011
