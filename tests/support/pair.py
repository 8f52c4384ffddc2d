"""A listener and clients of it, wired back to back: real sockets, no hub and no heart."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Self, cast

import uvloop

from landline.api.http import Http, Readiness
from landline.config.limits import NO_LIMITS, Limits
from landline.config.networks import Network
from landline.gateway.addresses import TrustedProxies
from landline.gateway.connection import Connection
from landline.gateway.doors import Doors
from landline.gateway.gatekeeper import Gatekeeper
from landline.gateway.hub import Hub
from landline.gateway.listener import Listener
from landline.gateway.lobby import Lobby
from landline.gateway.origins import Origins
from landline.gateway.turns import Turns
from landline.ports import Clock
from landline.protocol.client_frames import BadFrame, ClientFrame
from support import raw
from support.clock import Clock as StillClock
from support.raw import RawSocket
from support.waiting import until


class Refused(set[str]):
    """In the place of the hub's revocations: users who are refused."""

    def is_refused(self, user: str) -> bool:
        """See `Revocations`."""
        return user in self


class Heard:
    """In the place of the hub: notes what connections tell, in order."""

    def __init__(
        self,
        clock: Clock | None = None,
        gate: Gatekeeper | None = None,
        doors: Doors | None = None,
    ) -> None:
        self.clock: Any = clock or StillClock()
        self.tasks: set[asyncio.Task[None]] = set()
        self.lobby = Lobby(gate or Gatekeeper("none"), doors or Doors(NO_LIMITS), self.spawn)
        self.turns = Turns(self.clock)
        self.revocations = Refused()
        self.open: list[Connection] = []
        self.frames: list[tuple[str, ClientFrame | BadFrame]] = []
        self.closes: list[tuple[str, int]] = []
        self.is_writable = True
        self.readings: list[tuple[str, bool]] = []
        self.unread: list[tuple[str, float, int]] = []  # and how much had been heard before

    @property
    def connection_count(self) -> int:
        """See `Hub`."""
        return len(self.open)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """See `Hub`."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def opened(self, connection: Connection) -> None:
        """See `landline.gateway.connection.Owner`, as for the methods below."""
        self.open.append(connection)

    def closed(self, connection: Connection, code: int) -> None:
        if connection in self.open:  # it had signed in
            self.open.remove(connection)
        self.closes.append((connection.session, code))

    def received(self, connection: Connection, frame: ClientFrame) -> None:
        self.frames.append((connection.session, frame))

    def received_bad(self, connection: Connection, bad: BadFrame) -> None:
        self.frames.append((connection.session, bad))

    def writable(self, connection: Connection, is_writable: bool) -> None:
        self.is_writable = is_writable

    def reading(self, connection: Connection, is_read: bool) -> None:
        self.readings.append((connection.session, is_read))

    def left_unread(self, connection: Connection, since: float) -> None:
        self.unread.append((connection.session, since, len(self.frames)))

    def of(self, session: str) -> list[ClientFrame | BadFrame]:
        """Return the frames of one session."""
        return [frame for each, frame in self.frames if each == session]


class Pair:
    """One client and its connection at the server."""

    def __init__(self, hub: Heard, connection: Connection, client: RawSocket) -> None:
        self.hub = hub
        self.connection = connection
        self.client = client

    @property
    def heard(self) -> list[ClientFrame | BadFrame]:
        """Return the frames that the server has heard from this client."""
        return self.hub.of(self.connection.session)

    async def says(self, *frames: bytes) -> None:
        """Have the client send WebSocket frames, in one piece."""
        await self.client.write(b"".join(frames))

    async def until_heard(self, *frames: ClientFrame | BadFrame) -> None:
        """Wait until the server has heard as many frames; these and no others."""
        await until(lambda: len(self.heard) >= len(frames), f"{len(frames)} frames are heard")
        assert self.heard == list(frames)

    async def until_closed(self, code: int) -> None:
        """Wait until the server has noted the end of the connection, with this code."""
        session = self.connection.session
        await until(lambda: self.connection not in self.hub.open, "the connection is gone")
        assert (session, code) in self.hub.closes


class Edge:
    """A listener on a port of loopback, and what it tells its hub."""

    def __init__(
        self,
        *,
        gate: Gatekeeper | None = None,
        limits: Limits = NO_LIMITS,
        proxies: Sequence[Network] = (),
        allowed_origins: Collection[str] = (),
        **options: Any,
    ) -> None:
        """`options` are those of `Listener` that are not the usual ones."""
        self.gate = gate or Gatekeeper("none")
        self.doors = Doors(limits)
        self.hub = Heard(gate=self.gate, doors=self.doors)
        self.sessions = iter(f"s{number}" for number in range(1_000))
        usual: dict[str, Any] = {
            "new_id": lambda: next(self.sessions),
            "gate": self.gate,
            "doors": self.doors,
            "proxies": TrustedProxies(proxies),
            "origins": Origins(allowed_origins, is_local=True),
            "clock": self.hub.clock,
            "max_connections": 100,
        }
        self.listener = Listener(Http(Readiness, lambda: b"# metrics\n"), **usual | options)
        self.port = 0

    async def __aenter__(self) -> Self:
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        await self.listener.open(sock)
        self.admit()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.listener.close()
        for connection in list(self.hub.open):
            connection.abort()
        await until(lambda: not self.hub.open, "every connection is gone")

    def admit(self) -> None:
        """Let clients in."""
        self.listener.admit(cast("Hub", self.hub))

    @asynccontextmanager
    async def client(self, user: str = "alice") -> AsyncIterator[Pair]:
        """A client with a session."""
        async with raw.opened(self.port, user) as client:
            await until(lambda: any(each.user == user for each in self.hub.open), "it is open")
            yield Pair(self.hub, self.hub.open[-1], client)


@asynccontextmanager
async def connection_pair() -> AsyncIterator[Pair]:
    """One client, connected."""
    async with asyncio.timeout(60), Edge() as edge, edge.client() as pair:
        yield pair


def on_uvloop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on the event loop of the server. CPython's own one has no flow control for several
    pieces at once (`writelines`) since 3.12: there a buffer grows without end, and nobody is told.
    """

    @wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test())

    return run
