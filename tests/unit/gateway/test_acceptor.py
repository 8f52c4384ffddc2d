"""Many who connect at once are let in within a few turns of the loop."""

import asyncio
import socket
from contextlib import ExitStack

import uvloop

from landline.gateway.acceptor import PlainServer
from support.waiting import WAIT_SECONDS

COUNT, TURNS = 200, 60


def test_a_crowd_at_the_door_is_let_in_in_a_few_turns() -> None:
    """A server of uvloop takes one in a turn: it would need 200."""
    assert uvloop.run(_turns()) < TURNS


async def _turns() -> int:
    came: list[asyncio.BaseTransport] = []

    class Guest(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            came.append(transport)

    with ExitStack() as exits:
        sock = exits.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(COUNT)
        for _ in range(COUNT):
            exits.enter_context(socket.create_connection(sock.getsockname()))
        server = PlainServer(sock, lambda _peer: Guest(), lambda _guest: None)
        turns = 0
        async with asyncio.timeout(WAIT_SECONDS):
            while len(came) < COUNT:
                turns += 1
                await asyncio.sleep(0)
        server.close()
        for transport in came:
            transport.close()
        await asyncio.sleep(0)
    return turns
