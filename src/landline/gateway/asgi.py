"""One connection's requests for the application, run by uvicorn.

uvicorn's protocol never sees the socket. It gets a request whose head was read strictly before, and
as much of its body as the head announced (`http_connection`), and writes its response here. So
what it would let through, such as a bare line feed or two lengths, never comes to it, and what it
does well is its own: the life of a request, flow control, `Expect`, chunks.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from landline.gateway.http_request import HEAD_BYTES, Request

Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]],
    Awaitable[None],
]

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
    """What all connections share: the application, and the tasks of its requests."""

    def __init__(self, application: Application) -> None:
        self.config = Config(
            application,
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

    @property
    def request_count(self) -> int:
        """Return how many requests are being answered."""
        return len(self.state.tasks)


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
        """A piece of the body has come."""
        self._protocol.data_received(data)

    @property
    def has_begun_to_answer(self) -> bool:
        """Say whether something of the response is written."""
        return self._protocol.cycle.response_started

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

    def lost(self, error: Exception | None) -> None:
        """The connection is gone: the application hears of it."""
        self._protocol.connection_lost(error)


class _Protocol(H11Protocol):
    """Tells the line when a response is complete."""

    def __init__(self, runner: Runner, line: Line) -> None:
        super().__init__(runner.config, runner.state, {})
        self._line = line

    def _should_upgrade(self) -> bool:
        """Upgrades are made before; another page ignores the wish (RFC 9110, section 7.8). uvicorn
        would warn of each in the log.
        """
        return False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._line.is_closing():
            self._line.answered()


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
