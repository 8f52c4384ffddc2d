"""A server that follows a script, for clients that must cope with whatever a server does."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

import landline
from landline.client import Chat
from support.peer import Frame

ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"


class Scripted:
    """What a scripted server saw: each request to connect, and each session's frames."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.sessions: list[list[Frame]] = []

    async def hear(self, socket: ServerConnection) -> AsyncIterator[Frame]:
        """Yield the frames of the newest session, and note each of them."""
        async for text in socket:
            self.sessions[-1].append(json.loads(text))
            yield self.sessions[-1][-1]

    @property
    def frames(self) -> list[Frame]:
        """Return the frames of all sessions."""
        return [frame for session in self.sessions for frame in session]


Script = Callable[[Scripted, ServerConnection], Awaitable[None]]
Answer = Callable[[ServerConnection, Frame], Awaitable[None]]
# Returns a status with more headers and a body for a request that is refused.
Door = Callable[[Scripted], tuple[int, dict[str, str], str] | None]


@asynccontextmanager
async def scripted(
    script: Script, port: int = 0, door: Door | None = None
) -> AsyncIterator[Scripted]:
    """Serve `script` for each connection that `door` lets in."""
    seen = Scripted()

    def answer(socket: ServerConnection, request: Request) -> Response | None:
        seen.requests.append(request)
        refused = None if door is None else door(seen)
        if refused is None:
            return None
        status, headers, body = refused
        response = socket.respond(status, body)
        for name, value in headers.items():
            response.headers[name] = value
        return response

    async def handle(socket: ServerConnection) -> None:
        seen.sessions.append([])
        await script(seen, socket)

    options: dict[str, Any] = {
        "compression": None,
        # Browsers and Node.js take no connection whose subprotocol was not selected.
        "subprotocols": ["landline.v1"],
        # Behind a full queue a script that has closed would not hear the client's goodbye.
        "max_queue": None,
        "process_request": answer,
    }
    async with serve(handle, "127.0.0.1", port, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        seen.url = f"ws://127.0.0.1:{port}/ws/chat"
        yield seen


@asynccontextmanager
async def scripted_chat(
    script: Script, door: Door | None = None, **options: Any
) -> AsyncIterator[tuple[Scripted, Chat]]:
    """Serve `script` for a chat of a user called `a`, which has these options."""
    async with (
        scripted(script, door=door) as server,
        landline.connect(server.url, **{"username": "a", **options}) as chat,
    ):
        yield server, chat


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
    async for frame in seen.hear(socket):
        if frame["type"] == "send":
            await accept(socket, frame)


def answering(answer: Answer) -> Script:
    """Return a script that answers each frame so."""

    async def script(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for frame in server.hear(socket):
            if frame["type"] != "ack":
                await answer(socket, frame)

    return script
