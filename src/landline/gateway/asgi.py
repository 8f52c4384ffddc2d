"""One connection's requests for the application, run by uvicorn.

uvicorn's protocol never sees the socket. It gets a request whose head was read strictly before, and
as much of its body as the head announced (`http_connection`), and writes its response here. So
what it would let through, such as a bare line feed or two lengths, never comes to it, and what it
does well is its own: the life of a request, flow control, `Expect`, chunks.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Protocol

import h11
from starlette.requests import ClientDisconnect
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from landline.api.http import RequestRefused
from landline.gateway.http_request import BODY_BYTES, HEAD_BYTES, Request, body_too_large
from landline.gateway.request_turns import RequestTurns
from landline.ports import Clock

Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]],
    Awaitable[None],
]

# For defects alone: uvicorn would warn of each request that cannot be read, without saying whose it
# was. Those have lines of ours (`landline.gateway.refusals`).
_LOGGER: Final = logging.getLogger("uvicorn.error.requests")
_LOGGER.setLevel(logging.ERROR)

# How long a connection may wait for its next request.
IDLE_SECONDS: Final = 75.0


class Line(Protocol):
    """The connection, as the one who answers sees it."""

    def write(self, data: bytes) -> None:
        """Write a piece of the response."""

    def finish(self) -> None:
        """Close, once everything is written."""

    def answered(self) -> None:
        """The response is complete, and the connection is for another request."""

    def is_closing(self) -> bool:
        """Say whether nothing more is written."""

    def pause_reading(self) -> None:
        """Take no more of the body."""

    def resume_reading(self) -> None:
        """Take more of the body."""


class Runner:
    """What all connections share: the application, the tasks of its requests, and their turns."""

    def __init__(self, application: Application, clock: Clock) -> None:
        self.config = Config(
            _until_nobody_waits(application),
            interface="asgi3",
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(IDLE_SECONDS),
            h11_max_incomplete_event_size=2 * HEAD_BYTES,
        )
        self.config.load()
        self.state = ServerState()
        self.turns = RequestTurns(clock)

    @property
    def request_count(self) -> int:
        """Return how many requests are being answered, or wait for their turn."""
        return len(self.state.tasks) + len(self.turns)


def _until_nobody_waits(application: Application) -> Application:
    """Return the application without what it raises when a client is gone in the middle of a body,
    which is no defect.
    """

    async def served(scope: Any, receive: Any, send: Any) -> None:
        with suppress(ClientDisconnect):
            await application(scope, receive, send)

    return served


class Exchange:
    """The requests of one connection, one after the other."""

    def __init__(
        self, runner: Runner, line: Line, client: tuple[str, int], *, is_tls: bool
    ) -> None:
        self._line = line
        self._protocol = _Protocol(runner, line)
        self._protocol.connection_made(_Pipe(line))  # type: ignore[arg-type]
        self._protocol.client = client
        self._protocol.scheme = "https" if is_tls else "http"

    def begin(self, request: Request, *, closes: bool) -> None:
        """A request's head has come. With `closes` the connection ends with its response."""
        target = f"{request.path}?{request.query}" if request.query else request.path
        lines = [f"{request.method} {target} HTTP/{request.version}"]
        lines += [
            f"{name}: {value}"
            for name, values in request.headers.items()
            if not (closes and name == "connection")
            for value in values
        ]
        lines += ["connection: close"] if closes else []
        head = "\r\n".join([*lines, "", ""])
        self._protocol.data_received(head.encode("utf-8", "surrogateescape"))

    def take(self, data: bytes) -> None:
        """A piece of the body has come. Raises: RequestRefused."""
        self._protocol.data_received(data)

    @property
    def has_begun_to_answer(self) -> bool:
        """Say whether something of the response is written."""
        cycle = self._protocol.cycle  # none before the first request is understood
        return cycle is not None and cycle.response_started  # type: ignore[redundant-expr]

    @property
    def has_whole_body(self) -> bool:
        """Say whether the body has ended; only a chunked one says so itself."""
        return self._protocol.conn.their_state is not h11.SEND_BODY

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._protocol.resume_writing()

    def lost(self) -> None:
        """The connection is gone, or is no longer for requests: the application hears of it."""
        self._protocol.connection_lost(None)  # of an error uvicorn would keep its timers


class _Protocol(H11Protocol):
    """Tells the line when a response is complete."""

    def __init__(self, runner: Runner, line: Line) -> None:
        super().__init__(runner.config, runner.state, {})
        self.conn = _Bounded(h11.SERVER, runner.config.h11_max_incomplete_event_size or HEAD_BYTES)
        self.logger = _LOGGER
        self._line = line

    def _should_upgrade(self) -> bool:
        """Upgrades are made before; another page ignores the wish (RFC 9110, section 7.8). uvicorn
        would warn of each in the log.
        """
        return False

    def send_400_response(self, _msg: str) -> None:
        """Refuse what cannot be read. uvicorn would answer it while the application goes on to
        answer as well, which then ends in a traceback.
        """
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "the request's body cannot be read") from None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # The line has a timer of its own. This one would go off on what the line is by then: a
        # WebSocket, or nothing.
        self._unset_keepalive_if_required()
        if not self._line.is_closing():
            self._line.answered()


class _Bounded(h11.Connection):
    """Takes no body above the limit, whatever its chunks cost on the way."""

    _body_bytes = 0

    def next_event(self) -> Any:
        """See h11. Raises: RequestRefused."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._body_bytes = 0
        elif isinstance(event, h11.Data):
            self._body_bytes += len(event.data)
            if self._body_bytes > BODY_BYTES:
                raise body_too_large()
        return event


class _Pipe:
    """What uvicorn takes for its transport."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def write(self, data: bytes) -> None:
        self._line.write(data)

    def close(self) -> None:
        self._line.finish()

    def is_closing(self) -> bool:
        return self._line.is_closing()

    def pause_reading(self) -> None:
        self._line.pause_reading()

    def resume_reading(self) -> None:
        self._line.resume_reading()

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default
