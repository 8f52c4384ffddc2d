"""A drain that a client holds up: for three seconds, in which a test has to do its work."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable

from landline.gateway.connection import CLOSE_WITHIN_SECONDS
from support.raw import dialled, opened, request
from support.server import ServerProcess
from support.waiting import until

_TRIES = 3


async def in_time_for_a_drain(
    server: ServerProcess, act: Callable[[ServerProcess], Awaitable[None]]
) -> None:
    """Do something that ends a server. Where it fails and has taken longer than a drain does, on a
    machine that stood still, it is done again.
    """
    for last in (*[False] * (_TRIES - 1), True):
        began = time.monotonic()
        try:
            await act(server)
        except (AssertionError, OSError, ValueError, KeyError):  # the last two: of no answer
            if last or time.monotonic() - began < CLOSE_WITHIN_SECONDS:
                raise
            server.kill()
            server.start()
        else:
            return


async def test_a_server_that_drains_says_so_and_lets_nobody_in(server: ServerProcess) -> None:
    await in_time_for_a_drain(server, look_at_a_drain)


async def look_at_a_drain(server: ServerProcess) -> None:
    async with opened(server.port) as raw:  # which will not answer the goodbye
        server.signal(signal.SIGTERM)
        await until(server.says_that_it_drains, "the server drains")
        status, body = server.get("/readyz")
        assert (status, json.loads(body)["problems"]) == (503, {"server": "draining"})
        assert server.get("/healthz")[0] == 200
        async with dialled(server.port) as late:
            answer = await late.upgrade(request(server.port))
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert await raw.close_code() == 1012
        assert await asyncio.to_thread(server.wait, 30) == 0


async def test_a_second_signal_ends_a_drain_that_a_client_holds_up(server: ServerProcess) -> None:
    """A client that does not answer the goodbye costs seconds; a second SIGTERM does not wait."""
    await in_time_for_a_drain(server, end_a_drain)


async def end_a_drain(server: ServerProcess) -> None:
    async with opened(server.port) as raw:
        server.signal(signal.SIGTERM)
        await until(server.says_that_it_drains, "the server drains")
        assert await raw.close_code() == 1012
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, 30) == 128 + signal.SIGTERM
