"""A connection that the seed decides about: frames on their way, ends, silence, full buffers."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol

import orjson

from landline.auth.principal import Principal
from landline.gateway.connection import Connection
from landline.gateway.hub import Hub
from landline.gateway.pauses import Pause
from landline.protocol.client_frames import BadFrame, ClientFrame
from landline.protocol.codes import CloseCode
from simulation.surroundings import Surroundings
from simulation.weather import OUTSIDE

# Frames that a connection holds before its server is told that it is full.
HIGH_FRAMES = 4
# How long a server takes to notice that nobody is there any more.
SILENCE_SECONDS = 3.0
CLOSE_SECONDS = 0.5


class Holder(Protocol):
    """The client that has the connection."""

    user: str
    is_auto: bool

    def lost(self, link: "Link", code: int | None) -> None:
        """A connection has ended, as the client sees it."""

    def receive(self, link: "Link", frame: dict[str, Any]) -> None:
        """A frame has arrived."""


class Server(Protocol):
    """The process at the other end."""

    is_alive: bool
    hub: Hub
    context: Context

    def as_connection(self, link: "Link") -> Connection:
        """Return a link as what the hub takes it for."""


class Link:
    """One connection: in the place of `gateway.connection.Connection`, and its client's end.

    Its attributes are many because it has both ends and what is under way between them.
    """

    def __init__(
        self,
        world: Surroundings,
        client: Holder,
        process: Server,
        session: str,
        device: str | None,
    ) -> None:
        self._world = world
        self._weather = world.weather
        self._loop = asyncio.get_running_loop()
        self.client = client
        self.process = process
        self.session = session
        self.device = device
        self.user = client.user
        self.principal = self._principal()
        self.auto_ack = client.is_auto
        self.began = self._loop.time()
        self.behaviour = "steady"  # `silent`: it acknowledges nothing; `sipping`: slowly
        self.is_open = True  # as the client sees it
        self.is_welcome = False
        self.is_live = False
        self.unacked: list[str] = []
        self.pushes = 0
        self._is_reading = True
        self._is_black_hole = False
        self.pushed_at = 0.0  # when the server wrote the frame that arrives now
        self._down: deque[tuple[float, bytes | tuple[int, str]]] = deque()
        self._up: deque[ClientFrame | BadFrame] = deque()
        self._is_down_due = self._is_up_due = False
        self._pauses: set[Pause] = set()
        self._end: int | None = None  # has come, behind frames that the server does not read yet
        self._unread_since: float | None = None
        self._is_full = False
        self._is_server_open = True
        self._is_closing = False

    # What the hub asks of a connection -----------------------------------------------------------

    def transmit(self, frame: bytes) -> None:
        """Put a frame on its way to the client."""
        if self.process.is_alive and not self.is_closing:
            self._send_down(frame)

    @property
    def is_closing(self) -> bool:
        """Say whether it has said goodbye, or is gone, as the server sees it."""
        return self._is_closing or not self._is_server_open

    def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye; the client answers, or the connection is cut."""
        if self._is_closing or not self.process.is_alive:
            return
        self._is_closing = True
        self._send_down((int(code), reason))
        self._later_at_server(CLOSE_SECONDS, self._close_at_server, int(code))

    def abort(self) -> None:
        """Cut it, from the server's side."""
        self._close_at_server(1006)
        self.lose("server", None)

    def is_flushed(self) -> bool:
        """Say whether everything has left the process."""
        return not self._is_closing and not self._down

    def pause(self, why: Pause) -> None:
        """Take no more frames from the client."""
        if not self._pauses:
            self.process.hub.reading(self.process.as_connection(self), is_read=False)
        self._pauses.add(why)
        if self._unread_since is None:
            self._unread_since = self.process.hub.clock.monotonic()

    def resume(self, why: Pause) -> None:
        """Take frames again, unless there is another reason to wait."""
        self._pauses.discard(why)
        if self._pauses:
            return
        self.process.hub.reading(self.process.as_connection(self), is_read=True)
        self._move_up()
        if self._end is not None:
            self._later_at_server(0.0, self._read_end, self._end)

    def beat(self, now: float) -> None:
        """End it with its token. A black hole is noticed by itself, see `fall_into_black_hole`."""
        expires_at = self.principal.expires_at
        if expires_at is not None and self.process.hub.clock.wall_ms() >= expires_at * 1000:
            self.close(CloseCode.NOT_AUTHENTICATED, "the token has expired")

    # What happens to it ---------------------------------------------------------------------------

    def send(self, frame: ClientFrame | BadFrame) -> None:
        """The client sends a frame."""
        if self.is_open and not self._is_black_hole:
            self._up.append(frame)
            self._move_up()

    def renew(self) -> None:
        """The client shows a fresh token, where the one that it has shown will end."""
        is_needed = self.principal.expires_at is not None
        if is_needed and self.is_open and not self._is_black_hole:
            self._later_at_server(self._weather.delay(), self._renewed, self._principal())

    def read(self, is_reading: bool) -> None:
        """The client stops reading, or reads again."""
        self._is_reading = is_reading
        self._move_down()

    def fall_into_black_hole(self) -> None:
        """Nothing arrives any more, in either direction; both ends take a while to notice."""
        self._is_black_hole = True
        self._later_at_server(SILENCE_SECONDS, self._close_at_server, 1006)
        self._loop.call_later(SILENCE_SECONDS, self.lose, "network", None, context=OUTSIDE)

    def lose(self, by: str, code: int | None) -> None:
        """The client's end is gone: what was on its way to it is lost."""
        if not self.is_open:
            return
        self.is_open = False
        self._down.clear()
        self._world.note("disconnect", user=self.user, c=self.session, code=code, by=by)
        self.client.lost(self, code)
        if not self._is_black_hole:
            is_cut = by != "client" or self._weather.strikes("network", 0.5)
            if is_cut:
                self._up.clear()
            close = self._close_at_server if is_cut else self._read_end
            self._later_at_server(self._weather.delay(), self._end_comes, close, code or 1006)

    def _principal(self) -> Principal:
        seconds = self._world.token_seconds()
        expires_at = None if seconds is None else self._loop.time() + seconds
        return Principal(self.user, expires_at=expires_at)

    def _renewed(self, principal: Principal) -> None:
        self.principal = principal

    def _end_comes(self, close: Callable[[int], None], code: int) -> None:
        """The client's end has reached the server."""
        self._later_at_server(self._weather.delay(), close, code)

    def _read_end(self, code: int) -> None:
        """The server reads the end after the frames before it. While it reads nothing, as where
        too many sends are in flight, it does not see the end either.
        """
        self._end = None
        self._arrive_up()
        if not self._pauses:
            self._close_at_server(code)
        else:
            self._end = code

    def _send_down(self, item: bytes | tuple[int, str]) -> None:
        if not self.is_open:
            return
        self._down.append((self._loop.time(), item))
        is_stuck = not self._is_reading or self._is_black_hole
        if is_stuck and not self._is_full and len(self._down) >= HIGH_FRAMES:
            self._is_full = True
            self._later_at_server(0, self._tell_writable, False)
        self._move_down()

    def _move_down(self) -> None:
        if self._down and not self._is_down_due:
            self._is_down_due = True
            self._loop.call_later(self._weather.delay(), self._arrive_down, context=OUTSIDE)

    def _arrive_down(self) -> None:
        self._is_down_due = False
        while self._down and self.is_open and self._is_reading and not self._is_black_hole:
            self.pushed_at, item = self._down.popleft()
            if isinstance(item, tuple):
                self.lose("server", item[0])
            else:
                self.client.receive(self, orjson.loads(item))
        if self._is_full and not self._down:
            self._is_full = False
            self._later_at_server(0, self._tell_writable, True)

    def _move_up(self) -> None:
        if self._up and not self._is_up_due:
            self._is_up_due = True
            self._later_at_server(self._weather.delay(), self._arrive_up)

    def _arrive_up(self) -> None:
        self._is_up_due = False
        while self._up and not self._pauses and self._is_server_open:
            frame = self._up.popleft()
            if self._is_closing or self._is_black_hole:
                continue
            if isinstance(frame, BadFrame):
                self.process.hub.received_bad(self.process.as_connection(self), frame)
            else:
                self.process.hub.received(self.process.as_connection(self), frame)
        if self._unread_since is not None:
            self.process.hub.left_unread(self.process.as_connection(self), self._unread_since)
            if not self._up:
                self._unread_since = None

    def _tell_writable(self, is_writable: bool) -> None:
        if self._is_server_open:
            self.process.hub.writable(self.process.as_connection(self), is_writable)

    def _close_at_server(self, code: int) -> None:
        if self._is_server_open and self.process.is_alive:
            self._arrive_up()
            self._is_server_open = False
            self.process.hub.closed(self.process.as_connection(self), code)

    def _later_at_server(self, delay: float, act: Any, *args: Any) -> None:
        self._loop.call_later(delay, self._at_server, act, *args, context=self.process.context)

    def _at_server(self, act: Any, *args: Any) -> None:
        if self.process.is_alive:
            act(*args)
