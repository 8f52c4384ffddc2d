"""Sends mutated frames, handshakes and requests to a server, and checks each answer."""

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from typing import TypeVar

from fuzz.mutations import frames, handshake, request, source
from fuzz.wire import CLOSES, Said, Unfit, check_frame, check_responses, split
from support.raw import CLOSE, PING, PONG, TEXT, frame
from support.raw import request as upgrade

CONNECTIONS = 16
BATCH = 30  # frames in one write
ANSWER_SECONDS = 30.0
SHOWN_BYTES = 400
TELL_SECONDS = 5.0
_T = TypeVar("_T")
_MARKER = b"marker"
_GOOD = frame(TEXT, b'{"type":"ping"}')


class Found(Exception):
    """An input that the server did not stand, with what is needed to send it again."""

    def __init__(self, seed: int, kind: str, index: int, data: bytes, why: str) -> None:
        shown = data if len(data) <= SHOWN_BYTES else data[:SHOWN_BYTES] + b"..."
        super().__init__(f"{kind} {index} of seed {seed}: {why}\n  {len(data)} bytes: {shown!r}")


class Attack:
    """So many inputs of one kind, by several connections at once."""

    def __init__(self, port: int, seed: int, kind: str, first: int, count: int) -> None:
        self._port = port
        self._seed = seed
        self._kind = kind
        self._inputs: Iterator[int] = iter(range(first, first + count))
        self._count = count
        self.done = 0
        self.seen: Counter[str] = Counter()
        self._started = time.monotonic()
        self._told = self._started

    async def run(self) -> None:
        """Send them all. Raises: Found."""
        way = self._by_frames if self._kind == "frames" else self._by_requests
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(CONNECTIONS):
                    group.create_task(way(f"127.0.1.{number + 1}"))
        except* Found as found:
            raise found.exceptions[0] from None

    def _finished(self, *what: str) -> None:
        self.done += 1
        self.seen.update(what)
        now = time.monotonic()
        if now - self._told > TELL_SECONDS:
            self._told = now
            rate = self.done / (now - self._started)
            sys.stderr.write(f"  {self._kind}: {self.done:,} of {self._count:,}, {rate:,.0f}/s\n")

    async def _patiently(self, index: int, data: bytes, work: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await work
        except (Unfit, TimeoutError, OSError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            raise Found(self._seed, self._kind, index, data, why) from None

    # Handshakes and requests ----------------------------------------------------------------------

    async def _by_requests(self, address: str) -> None:
        make = handshake if self._kind == "handshakes" else request
        for index in self._inputs:
            data = make(source(self._seed, self._kind, index))
            self._finished(await self._patiently(index, data, self._exchanged(address, data)))

    async def _exchanged(self, address: str, data: bytes) -> str:
        """Send bytes and the end of our side, and read to the end of theirs."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=(address, 0)
        )
        received = b""
        try:
            with suppress(ConnectionError):
                writer.write(data)
                writer.write_eof()
                received = await reader.read(-1)
        finally:
            writer.transport.abort()
        statuses = check_responses(received, data)
        return str(statuses[0]) if statuses else "cut"

    # Frames ---------------------------------------------------------------------------------------

    async def _by_frames(self, address: str) -> None:
        waiting: deque[tuple[int, bytes]] = deque()
        while True:
            session = await _Session.begin(self._port, address)
            try:
                while session.is_open:
                    while len(waiting) < BATCH and (index := next(self._inputs, None)) is not None:
                        rng = source(self._seed, self._kind, index)
                        waiting.append((index, frames(rng)))
                    if not waiting:
                        return
                    await self._send(session, waiting)
            finally:
                session.hang_up()

    async def _send(self, session: "_Session", waiting: deque[tuple[int, bytes]]) -> None:
        """Send a batch, and take off what was dealt with."""
        first, data = waiting[0]
        sent = session.write(item for _, item in waiting)
        answered = 0
        while answered < sent:
            await self._patiently(first, data, session.next_marker())
            self._finished(*session.take_seen())
            answered += 1
            waiting.popleft()
            if not session.is_open:
                return
            if waiting:
                first, data = waiting[0]


class _Session:
    """A WebSocket. Behind each input goes a ping, so that its pong says: it was dealt with."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._received = bytearray()
        self._said = Said()
        self._seen: list[str] = []
        self.is_open = True

    @classmethod
    async def begin(cls, port: int, address: str) -> "_Session":
        """Connect as a user of the address's name."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        writer.write(upgrade(port, f"/ws/chat?username={address}"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return cls(reader, writer)

    def write(self, items: Iterator[bytes]) -> int:
        """Write inputs, up to the first that must end the connection. Returns how many."""
        pieces: list[bytes] = []
        count = 0
        for item in items:
            count += 1
            pieces.append(self._said.add(item))
            if not self._said.is_open:
                break
            pieces.append(frame(PING, _MARKER))
            if count % 10 == 0 and not self._said.is_in_message:
                pieces.append(_GOOD)  # twenty bad ones in a row would end it
        self._writer.write(b"".join(pieces))
        return count

    async def next_marker(self) -> None:
        """Read to the next answer of a marker, or to the end."""
        while self.is_open:
            taken = split(self._received)
            if taken is None:
                await self._read()
                continue
            opcode, payload = taken
            if opcode == PONG and payload == _MARKER:
                return
            if opcode == CLOSE:
                self.is_open = False
                self._seen.append(f"close {_close_code(payload)}")
            elif opcode == TEXT:
                self._seen.append(check_frame(payload))
            elif opcode not in (PING, PONG):
                raise Unfit(f"a server does not send opcode {opcode}: {payload[:100]!r}")

    def take_seen(self) -> list[str]:
        """Return what came since the last time."""
        seen, self._seen = self._seen, []
        return seen

    async def _read(self) -> None:
        more = b""
        with suppress(ConnectionError):
            more = await self._reader.read(65_536)
        if not more:
            self.is_open = False
            self._seen.append("cut")
        self._received += more

    def hang_up(self) -> None:
        """Be gone."""
        self._writer.transport.abort()


def _close_code(payload: bytes) -> int:
    """Return the code of a close frame. Raises: Unfit."""
    code = int.from_bytes(payload[:2], "big")
    is_theirs = code in (1000, 1001) or 3000 <= code <= 4999  # which is said back to them
    if len(payload) < 2 or not (code in CLOSES or is_theirs):
        raise Unfit(f"the close code {code} is not expected: {payload!r}")
    return code
