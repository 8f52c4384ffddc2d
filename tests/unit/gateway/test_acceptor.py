"""Many who connect at once are let in within a few turns of the loop."""

import asyncio
import socket
from contextlib import ExitStack
from unittest import mock

import uvloop

from landline.gateway.acceptor import PlainServer
from support.waiting import WAIT_SECONDS, until

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


def test_who_has_hung_up_meanwhile_gives_the_place_back() -> None:
    assert uvloop.run(_left()) == ["a guest"]


async def _left() -> list[str]:
    left: list[str] = []

    class Guest(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise AssertionError("nobody is there any more")

    async def broken(_protocol: object, _sock: object) -> None:
        raise ConnectionResetError

    with ExitStack() as exits:
        sock = exits.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(1)
        exits.enter_context(socket.create_connection(sock.getsockname()))
        server = PlainServer(sock, lambda _peer: Guest(), lambda _guest: left.append("a guest"))
        server._loop = mock.Mock(connect_accepted_socket=broken)
        await until(lambda: bool(left), "the place is given back")
        server.close()
    return left
