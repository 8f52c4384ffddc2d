"""A server that follows a script, for clients that must cope with whatever a server does."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from support.peer import Frame

ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"


class Scripted:
    """What a scripted server saw: each session's frames."""

    def __init__(self) -> None:
        self.url = ""
        self.sessions: list[list[Frame]] = []

    @property
    def frames(self) -> list[Frame]:
        """Return the frames of all sessions."""
        return [frame for session in self.sessions for frame in session]


Script = Callable[[Scripted, ServerConnection], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script, port: int = 0) -> AsyncIterator[Scripted]:
    """Serve `script` for each connection."""
    seen = Scripted()

    async def handle(socket: ServerConnection) -> None:
        seen.sessions.append([])
        await script(seen, socket)

    # Browsers and Node.js take no connection whose subprotocol was not selected.
    options: dict[str, Any] = {"compression": None, "subprotocols": ["landline.v1"]}
    async with serve(handle, "127.0.0.1", port, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        seen.url = f"ws://127.0.0.1:{port}/ws/chat"
        yield seen


async def tell(socket: ServerConnection, **frame: Any) -> None:
    """Send a frame."""
    await socket.send(json.dumps(frame))


async def welcome(socket: ServerConnection, user: str = "a") -> None:
    """Begin a session."""
    await tell(socket, type="welcome", user=user, server="ws-1", session="s", protocol=1)


async def accept(socket: ServerConnection, frame: Frame, offset: int = 1) -> None:
    """Answer a send."""
    time = "2026-01-02T03:04:05.678Z"
    await tell(
        socket, type="accepted", ref=frame["ref"], id=ID, conversation="dm:a:b", offset=offset,
        time=time,
    )  # fmt: skip


async def accept_all(seen: Scripted, socket: ServerConnection) -> None:
    """Accept every send."""
    await welcome(socket)
    async for text in socket:
        frame = json.loads(text)
        seen.sessions[-1].append(frame)
        if frame["type"] == "send":
            await accept(socket, frame)
