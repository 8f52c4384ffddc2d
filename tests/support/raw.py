"""A WebSocket client that can break every rule: bytes out, frames in, no library in between."""

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Self

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
WAIT_SECONDS = 30.0
CHUNK_BYTES = 256 * 1024


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    claim: int | None = None,
    length_bytes: int | None = None,
) -> bytes:
    """Return a WebSocket frame (RFC 6455, section 5.2). `claim`: the length it says it has;
    `length_bytes`: 1, 2 or 8 where the shortest form is not wanted.
    """
    size = len(payload) if claim is None else claim
    length_bytes = length_bytes or (1 if size < 126 else 2 if size < 65_536 else 8)
    length = size if length_bytes == 1 else 126 if length_bytes == 2 else 127
    head = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | length])
    if length_bytes > 1:
        head += size.to_bytes(length_bytes, "big")
    if masked:
        # The mask 0: valid, and what is sent can be read in a dump.
        head += bytes(4)
    return head + payload


def request(
    port: int, target: str = "/ws/chat?username=raw", headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    """Return an upgrade request. A header given here replaces the usual one."""
    given = list(headers)
    names = {name.lower() for name, _ in given}
    usual = [
        ("Host", f"127.0.0.1:{port}"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode()),
        ("Sec-WebSocket-Version", "13"),
    ]
    lines = [f"GET {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in usual if name.lower() not in names]
    lines += [f"{name}: {value}" for name, value in given]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


@dataclass
class Response:
    """The answer to an upgrade request. Status 0: the server hung up without one."""

    status: int
    headers: dict[str, str]


class RawSocket:
    """A TCP connection to the server, before and after the upgrade."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def dial(cls, port: int) -> Self:
        """Connect, and say nothing."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def write(self, data: bytes) -> bool:
        """Write bytes; False when the server has hung up on us."""
        try:
            for start in range(0, len(data), CHUNK_BYTES):
                self._writer.write(data[start : start + CHUNK_BYTES])
                await self._writer.drain()
        except ConnectionError:
            return False
        return True

    async def upgrade(self, data: bytes) -> Response:
        """Send a request and return the head of the answer."""
        await self.write(data)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return Response(0, {})
        status, *lines = head.decode("latin-1").rstrip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Response(
            int(status.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
        )

    async def read_frame(self) -> tuple[int, bytes] | None:
        """Return opcode and payload of the next frame; None when the connection has ended."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                first, second = await self._reader.readexactly(2)
                assert not second & 0x80, "a server does not mask"
                size = second & 0x7F
                if size >= 126:
                    more = await self._reader.readexactly(2 if size == 126 else 8)
                    size = int.from_bytes(more, "big")
                return first & 0x0F, await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def answer(self) -> dict[str, Any]:
        """Return the next frame that is an answer: neither a push nor news."""
        while True:
            read = await self.read_frame()
            assert read is not None, "the server has hung up"
            opcode, payload = read
            assert opcode == TEXT, f"opcode {opcode}: {payload!r}"
            said: dict[str, Any] = json.loads(payload)
            if said["type"] in ("accepted", "error", "pong"):
                return said

    async def ask(self, text: str | bytes) -> dict[str, Any]:
        """Send a text frame and return its answer."""
        await self.write(frame(TEXT, text if isinstance(text, bytes) else text.encode()))
        return await self.answer()

    async def close_code(self) -> int | None:
        """Read on to the close frame and return its code; None when the line was cut."""
        while read := await self.read_frame():
            opcode, payload = read
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005
        return None

    async def until_cut(self) -> None:
        """Wait until the server has hung up."""
        async with asyncio.timeout(WAIT_SECONDS):
            with contextlib.suppress(ConnectionError):
                while await self._reader.read(CHUNK_BYTES):
                    pass

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def dialled(port: int) -> AsyncIterator[RawSocket]:
    """A TCP connection that is closed at the end."""
    raw = await RawSocket.dial(port)
    try:
        yield raw
    finally:
        await raw.close()


@contextlib.asynccontextmanager
async def opened(
    port: int, user: str = "raw", headers: Iterable[tuple[str, str]] = ()
) -> AsyncIterator[RawSocket]:
    """A session: connected and upgraded."""
    async with dialled(port) as raw:
        response = await raw.upgrade(request(port, f"/ws/chat?username={user}", headers))
        assert response.status == 101
        yield raw
