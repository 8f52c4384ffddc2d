"""An HTTP server that follows a script, for programs that ask one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. Names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ScriptedHttp:
    """Where it listens, and what it was asked."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)


@asynccontextmanager
async def scripted_http(script: Callable[[Asked], Answer]) -> AsyncIterator[ScriptedHttp]:
    """Answer each request as `script` says, one on each connection."""
    seen = ScriptedHttp()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _version = head[0].split(" ")
        fields = (line.partition(": ") for line in head[1:-2])
        seen.asked.append(Asked(method, target, {name.lower(): text for name, _, text in fields}))
        answer = script(seen.asked[-1])
        body = answer.body.encode()
        headers = {"Content-Length": str(len(body)), "Connection": "close", **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} X", *(f"{n}: {text}" for n, text in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield seen
