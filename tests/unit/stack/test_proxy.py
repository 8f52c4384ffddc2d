"""A line that is cut, silent or slow does to both sides what such a line does."""

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from landline_stack.ports import free_port
from landline_stack.proxy import Proxy
from support.waiting import until

SECONDS = 20.0

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy before a server that says back what it hears, and goodbye to `bye`."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                if data.endswith(b"bye"):
                    break
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        proxy = Proxy("echo", server.sockets[0].getsockname()[1])
        await asyncio.to_thread(proxy.__enter__)
        yield proxy
        await asyncio.to_thread(proxy.__exit__)


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    async with asyncio.timeout(SECONDS):
        yield reader, writer
    writer.transport.abort()


async def say(line: Line, data: bytes) -> bytes:
    """Say something and hear it again."""
    reader, writer = line
    writer.write(data)
    return await reader.readexactly(len(data))


async def expect_reset(line: Line) -> None:
    with pytest.raises(ConnectionResetError):
        await line[0].readexactly(1)


async def test_bytes_pass_both_ways_and_so_does_the_end(proxy: Proxy) -> None:
    async with connected(proxy) as line:
        assert await say(line, b"x" * 1_000_000) == b"x" * 1_000_000
        assert await say(line, b"bye") == b"bye"
        assert await line[0].read() == b""


async def test_a_cut_ends_what_is_there_and_spares_what_comes(proxy: Proxy) -> None:
    async with connected(proxy) as line:
        assert await say(line, b"hello") == b"hello"
        proxy.cut()
        await expect_reset(line)
    async with connected(proxy) as line:
        assert await say(line, b"again") == b"again"


async def test_silence_loses_what_is_said_and_then_the_connection(proxy: Proxy) -> None:
    """Nobody is told while it lasts. A client that said nothing meanwhile notices nothing."""
    async with connected(proxy) as talking, connected(proxy) as quiet:
        assert await say(talking, b"hello") == b"hello"
        assert await say(quiet, b"hello") == b"hello"
        proxy.silence()
        async with connected(proxy) as late:  # accepted after the order, so that is carried out
            late[1].write(b"lost")
            talking[1].write(b"lost")
            await until(lambda: sum(line.has_lost for line in proxy._lines) == 2, "both are lost")
            proxy.flow()
            await expect_reset(late)
            await expect_reset(talking)
        assert await say(quiet, b"still here") == b"still here"


async def hold_up(proxy: Proxy, line: Line, hold: Callable[[], None]) -> None:
    """Have a line that works hold up what is said next."""
    assert await say(line, b"hello") == b"hello"
    hold()
    line[1].write(b"held")
    assert await asyncio.to_thread(proxy.has_held.wait, SECONDS)
    proxy.has_held.clear()


async def test_what_is_held_up_arrives_when_the_line_flows_again(proxy: Proxy) -> None:
    for hold in (proxy.hold_questions, proxy.hold_answers):
        async with connected(proxy) as line:
            await hold_up(proxy, line, hold)
            proxy.flow()
            assert await line[0].readexactly(4) == b"held"


async def test_what_is_held_up_is_lost_with_a_cut(proxy: Proxy) -> None:
    for hold in (proxy.hold_questions, proxy.hold_answers):
        async with connected(proxy) as line:
            await hold_up(proxy, line, hold)
            proxy.cut()
            await expect_reset(line)
        async with connected(proxy) as line:
            assert await say(line, b"again") == b"again"


async def test_a_slow_line_loses_nothing(proxy: Proxy) -> None:
    async with connected(proxy) as line:
        proxy.slow_down()
        assert await say(line, b"x" * 2_000) == b"x" * 2_000
        proxy.flow()
        assert await say(line, b"y" * 200_000) == b"y" * 200_000


async def test_a_server_that_is_gone_is_gone_through_the_proxy_too() -> None:
    proxy = Proxy("nobody", free_port())
    await asyncio.to_thread(proxy.__enter__)
    try:
        with pytest.raises(ConnectionResetError):  # as early as it can be noticed
            async with connected(proxy) as (reader, _):
                await reader.readexactly(1)
    finally:
        await asyncio.to_thread(proxy.__exit__)


async def test_a_connection_that_comes_with_the_end_is_closed_too() -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        proxy = Proxy("late", server.sockets[0].getsockname()[1])
        await asyncio.to_thread(proxy.__enter__)
        is_connected = threading.Event()
        proxy._soon(lambda: is_connected.wait(SECONDS))  # both find it busy
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=SECONDS) as client:
            proxy._soon(proxy._is_over.set)
            is_connected.set()
            await asyncio.to_thread(proxy._thread.join)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    gc.collect()  # what was not closed complains
