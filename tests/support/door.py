"""What may lie between a client and its server, as the tests build it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager


class Door:
    """Something on the way: it answers the first connections itself, and lets later ones through.

    As a proxy (`CONNECT`) it does so after its own answer; `requests` is what it was asked.
    """

    def __init__(
        self, port: int, answers: Sequence[bytes] = (), bytes_per_second: float | None = None
    ) -> None:
        """`bytes_per_second`: so much a client can send; None: as much as it likes."""
        self.port = 0
        self.requests: list[bytes] = []
        self._answers = list(answers)
        self._inner = port
        self._bytes_per_second = bytes_per_second

    @property
    def url(self) -> str:
        """Return the address of the WebSocket behind the door."""
        return f"ws://127.0.0.1:{self.port}/ws/chat"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            if self._answers:
                writer.write(self._answers.pop(0))
                await writer.drain()
            else:
                await self._let_through(request, reader, writer)
        writer.close()

    async def _let_through(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        inner_reader, inner = await asyncio.open_connection("127.0.0.1", self._inner)
        if request.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            inner.write(request)
        slowly = _pump(reader, inner, self._bytes_per_second)
        await asyncio.gather(slowly, _pump(inner_reader, writer))


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    bytes_per_second: float | None = None,
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536 if bytes_per_second is None else 4_096):
            if bytes_per_second is not None:
                await asyncio.sleep(len(data) / bytes_per_second)
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def door(
    url: str, *answers: bytes, bytes_per_second: float | None = None
) -> AsyncIterator[Door]:
    """A door to the server at `url`."""
    it = Door(int(url.split(":")[2].split("/", maxsplit=1)[0]), answers, bytes_per_second)
    listener = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield it


def answer(status: str, *headers: str, body: str = "<html>from a proxy</html>") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()
