"""Clients that read slowly get whole frames, whatever waits behind them."""

import contextlib
import json
import random
import socket
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from support.peer import Peer
from support.server import ServerProcess

COUNT = 200
SMALL_BYTES = 4_096  # of a socket's buffer, so that little is on its way at a time


@contextlib.asynccontextmanager
async def slow(server: ServerProcess, user: str) -> ClientConnection:  # type: ignore[misc]
    """Connect with small buffers."""
    address = urlsplit(server.ws_url)
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        raw.connect((address.hostname, address.port))
        raw.setblocking(False)
        url = f"{server.ws_url}?username={user}"
        async with connect(url, sock=raw, max_queue=1, max_size=None, compression=None) as it:
            yield it


async def test_large_frames_of_many_sizes_arrive_as_they_were_sent(server: ServerProcess) -> None:
    chance = random.Random(1)
    # In a frame they are six times as large: the system takes 4 MB before anything waits here.
    contents = ["\x01" * chance.randrange(2_000, 10_000) for _ in range(COUNT)]
    received: list[str] = []
    async with Peer(server.ws_url, "alice") as alice, slow(server, "bob") as bob:
        for content in contents:  # most of them before anything is read
            await alice.send_and_wait("bob", content)
        while len(received) < COUNT:
            frame = json.loads(await bob.recv())
            if frame["type"] == "message":
                received.append(frame["content"])
                await bob.send(json.dumps({"type": "ack", "ids": [frame["id"]]}))
    assert received == contents
