"""Clients that mean harm, many of them from one address, as a process of their own.

Each dials again when it is thrown out, so the attack goes on. Bounded in number and in time.
"""

import asyncio
import base64
import os
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final, cast

import orjson
import uvloop
from websockets.frames import Frame, Opcode

from landline.config.limits import USUAL_LIMITS

ADDRESS: Final = "127.0.0.1"
# All of them dial within this time, then each pauses before it dials again: a few hundred dials a
# second, which the ports of one address last for.
RAMP_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 2.0
_TICK_SECONDS: Final = 0.1
_BYTE_SECONDS: Final = 0.2
_HOLD_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 10.0
_MOST_WAITING_BYTES: Final = 64 * 1024
# A frame may have 128: with more an attacker would be thrown out at once.
_FRAGMENTS: Final = 120
_TIMES_THE_LIMIT: Final = 10
_NICE: Final = 10  # they share a core with the client that measures, and must not be what it shows
_NO_ANSWER: Final = 0


@dataclass(frozen=True, slots=True)
class Account:
    """A name that an attacker has, with its token. `victim` is whom its floods go to."""

    user: str
    token: str
    victim: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the process of the attackers is to do."""

    port: int
    accounts: Sequence[Account]
    kinds: Sequence[str]
    each: int
    seconds: float


class _Line(asyncio.Protocol):
    """One connection: what the server answers, and when it is gone."""

    def __init__(self, tally: Counter[str]) -> None:
        loop = asyncio.get_running_loop()
        self.status: asyncio.Future[int] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.transport: asyncio.Transport | None = None
        self._tally = tally
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        if not self.status.done():
            self._head += data
            if b"\r\n\r\n" in self._head:
                self.status.set_result(int(self._head.split(maxsplit=2)[1]))
        # Those that a border of two reads cuts are missed: they do not matter here.
        for code in ("accepted", "too_fast"):
            self._tally[code] += data.count(b'"%s"' % code.encode())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.transport = None
        if not self.status.done():
            self.status.set_result(_NO_ANSWER)
        self.gone.set_result(None)

    def write(self, data: bytes) -> None:
        """Write, unless the server does not take what was written before."""
        if (
            self.transport is not None
            and not self.transport.is_closing()
            and self.transport.get_write_buffer_size() < _MOST_WAITING_BYTES
        ):
            self.transport.write(data)

    async def is_gone_within(self, seconds: float | None) -> bool:
        """Say whether it is gone before so much time has passed; None: wait for it."""
        # To await a future itself would cancel it with the attacker.
        await asyncio.wait([self.gone], timeout=seconds)
        return self.gone.done()

    async def upgrade(self, account: Account, *, signs_in: bool = True) -> bool:
        """Ask for a session, and say whether there is one."""
        self.write(b"".join(_request(account, signs_in=signs_in)))
        await asyncio.wait([self.status], timeout=_ANSWER_SECONDS)
        return self.status.done() and self.status.result() == 101


async def _slow_headers(line: _Line, account: Account) -> None:
    for byte in b"".join(_request(account, signs_in=True)):
        line.write(bytes([byte]))
        if await line.is_gone_within(_BYTE_SECONDS):
            return


async def _silent(line: _Line, account: Account) -> None:
    """Say nothing; every other one after the upgrade, where a token is awaited."""
    if os.urandom(1)[0] % 2:
        await line.upgrade(account, signs_in=False)
    await line.is_gone_within(None)


async def _flooding(line: _Line, account: Account) -> None:
    send = orjson.dumps({"type": "send", "to": account.victim, "content": "x" * 100})
    each_tick = round(USUAL_LIMITS.messages * _TIMES_THE_LIMIT * _TICK_SECONDS)
    await _pour(line, account, Frame(Opcode.TEXT, send).serialize(mask=True) * each_tick)


async def _half_open(line: _Line, account: Account) -> None:
    """Sign in, and read nothing of what the floods send here."""
    if await line.upgrade(account) and line.transport is not None:
        line.transport.pause_reading()
        await line.is_gone_within(_HOLD_SECONDS)


async def _fragmenting(line: _Line, account: Account) -> None:
    ping = orjson.dumps({"type": "ping"}).ljust(_FRAGMENTS)
    first, *middle, last = (bytes([byte]) for byte in ping)
    frames = [
        Frame(Opcode.TEXT, first, fin=False),
        *(Frame(Opcode.CONT, each, fin=False) for each in middle),
        Frame(Opcode.CONT, last),
    ]
    await _pour(line, account, b"".join(each.serialize(mask=True) for each in frames))


async def _pour(line: _Line, account: Account, data: bytes) -> None:
    """Sign in and write this, tick by tick, until thrown out."""
    if await line.upgrade(account):
        while not await line.is_gone_within(_TICK_SECONDS):
            line.write(data)


KINDS: Final[dict[str, Callable[[_Line, Account], Awaitable[None]]]] = {
    "slow headers": _slow_headers,
    "silent": _silent,
    "flooding": _flooding,
    "half-open": _half_open,
    "fragmenting": _fragmenting,
}


def run(plan: Plan, pipe: Connection) -> None:
    """Attack. Tells the pipe `None` once all have dialled, and at the end what became of them: how
    often they met what, by kind.
    """
    os.nice(_NICE)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(_attack(plan, pipe))


async def _attack(plan: Plan, pipe: Connection) -> None:
    tallies: dict[str, Counter[str]] = {kind: Counter() for kind in plan.kinds}
    count = plan.each * len(plan.kinds)
    with suppress(TimeoutError):
        async with asyncio.timeout(plan.seconds), asyncio.TaskGroup() as group:
            for number in range(count):
                kind = plan.kinds[number % len(plan.kinds)]
                account = plan.accounts[number % len(plan.accounts)]
                attacker = _again_and_again(kind, account, plan.port, tallies[kind])
                group.create_task(attacker)
                await asyncio.sleep(RAMP_SECONDS / count)
            pipe.send(None)
    pipe.send({kind: dict(tally) for kind, tally in tallies.items()})


async def _again_and_again(kind: str, account: Account, port: int, tally: Counter[str]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        tally["dialled"] += 1
        try:
            _, line = await loop.create_connection(
                lambda: _Line(tally), ADDRESS, port, local_addr=(ADDRESS, 0)
            )
        except OSError:
            tally["not connected"] += 1
        else:
            try:
                await KINDS[kind](line, account)
            finally:
                tally[_outcome(line)] += 1
                if line.transport is not None:
                    line.transport.abort()
        await asyncio.sleep(_AGAIN_SECONDS)


def _outcome(line: _Line) -> str:
    """Return what became of a connection, in words."""
    if not line.status.done():
        return "without an answer"  # in time, or before the attack was over
    match line.status.result():
        case 101:
            return "upgraded"
        case 0:
            return "cut"
        case status:
            return str(status)


def _request(account: Account, *, signs_in: bool) -> Iterator[bytes]:
    """Yield the lines of an upgrade request."""
    yield b"GET /ws/chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    yield b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    yield b"Sec-WebSocket-Key: %s\r\n" % base64.b64encode(os.urandom(16))
    if signs_in:
        yield f"Authorization: Bearer {account.token}\r\n".encode()
    yield b"\r\n"
