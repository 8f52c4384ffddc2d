"""The one listener for WebSocket and HTTP."""

import asyncio
import re
import socket
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from picows import (
    WSAutoPingStrategy,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stub leaves it out
from starlette.requests import Request as Asked

from landline.api.application import application
from landline.api.http import METHODS, Http, RequestRefused, method_refused
from landline.config.hosts import is_loopback
from landline.gateway.asgi import Runner
from landline.gateway.connection import Connection
from landline.gateway.http_connection import (
    HANDSHAKE_SECONDS,
    ForTheApplication,
    HttpConnection,
)
from landline.gateway.http_request import Request
from landline.gateway.hub import Hub
from landline.gateway.request_facts import shown_peer
from landline.observability.logging import get_logger
from landline.observability.metrics import Measured, series
from landline.protocol.identity import BadName, check_user_name
from landline.protocol.limits import FRAME_BYTES, SUBPROTOCOL

WEBSOCKET_PATHS = frozenset({"/ws", "/ws/chat"})
READ_BUFFER_BYTES = 2048  # per connection and idle or not; it grows for those that send more
# One read. Its frames may have to wait for their turn, so this bounds what waits; and a buffer that
# never fills is not doubled for a client that sends fast.
SOCKET_READ_BYTES = 8 * 1024
BACKLOG = 1024

# As browsers send it: lower case (RFC 6454, section 6.2). A host without its port: what is asked.
_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_AUTHORITY: Final = re.compile(r"([a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]{0,5}))?")
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")
log = get_logger(__name__)


class Listener:
    """Accepts connections and decides what each request is.

    It listens from the first moment of a server to the last, so that pages say how far it is.
    Upgrades are made between `admit` and `refuse_upgrades`.
    """

    def __init__(
        self,
        http: Http,
        *,
        new_id: Callable[[], str],
        allowed_origins: Collection[str],
        max_connections: int,
        is_local: bool,
    ) -> None:
        """`is_local`: it is for this machine alone, so no name but loopback's can mean it."""
        self.runner = Runner(application(http, self._note))
        self._new_id = new_id
        self._allowed_origins = frozenset(allowed_origins)
        self._max_connections = max_connections
        self._is_local = is_local
        self._hub: Hub | None = None
        self._why_not = "this server is starting; try again soon"
        self._server: asyncio.Server | None = None
        self._http_connections: set[HttpConnection] = set()
        self._refused = 0

    async def open(self, sock: socket.socket) -> None:
        """Listen on a bound socket. Raises: OSError."""
        sock.listen(BACKLOG)  # uvloop would keep to itself that it could not
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: HttpConnection(self), sock=sock, backlog=BACKLOG
        )

    def admit(self, hub: Hub) -> None:
        """Make upgrades from now on; the hub has their connections."""
        self._hub = hub

    def refuse_upgrades(self, why: str) -> None:
        """Make no more upgrades; pages are answered still."""
        self._hub = None
        self._why_not = why

    def close(self) -> None:
        """Accept no more connections; WebSockets that are open stay."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._http_connections):
            connection.abort()

    def measure(self) -> Measured:
        """Return what the metrics show of the listener."""
        return {series("landline_upgrades_refused_total"): self._refused}

    # What a connection asks for -------------------------------------------------------------------

    def came(self, connection: HttpConnection) -> None:
        """See `Reception`."""
        self._http_connections.add(connection)

    def went(self, connection: HttpConnection) -> None:
        """See `Reception`."""
        self._http_connections.discard(connection)

    def refused(self) -> None:
        """See `Reception`."""
        self._refused += 1

    def decide(self, request: Request, peer: str) -> "_Upgrade | ForTheApplication":
        """See `Reception`."""
        if request.path not in WEBSOCKET_PATHS:
            return ForTheApplication()
        if request.method not in METHODS:
            raise method_refused(request.method)
        key = _upgrade_key(request)
        try:
            query = parse_qs(request.query, keep_blank_values=True, errors="strict")
        except ValueError:  # bytes that are not UTF-8 must not turn into a good name
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "the address is not UTF-8") from None
        origin = request.header("origin")
        self._check_origin(origin, request.header("host") or "")
        user = _user_name(request, query)
        ack = query.get("ack", ["client"])
        if ack not in (["client"], ["auto"]):
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "ack must be client or auto")
        connection = Connection(
            self._free_hub(),
            user,
            self._new_id(),
            auto_ack=ack == ["auto"],
            peer=peer,
            origin=origin,
        )
        return _Upgrade(connection, key, SUBPROTOCOL in request.listed("sec-websocket-protocol"))

    def _note(self, request: Asked, refused: RequestRefused) -> None:
        """The application has refused a request."""
        self._refused += 1
        log.info(
            "request_refused",
            status=int(refused.status),
            reason=refused.reason,
            peer=shown_peer(request.client),
            method=request.method,
            path=request.url.path,
        )

    def _free_hub(self) -> Hub:
        """Return the hub, when it takes one more. Raises: RequestRefused."""
        if not self._max_connections:
            raise _unavailable(
                "this server only applies the log; connect to one with the role gateway"
            )
        if self._hub is None:
            raise _unavailable(self._why_not)
        if self._hub.connection_count >= self._max_connections:
            raise _unavailable("too many connections; try again later")
        return self._hub

    def _check_origin(self, origin: str | None, host: str) -> None:
        """Refuse other sites' pages: a browser says whose page it is that connects."""
        if origin is None or origin in self._allowed_origins:
            return
        if self._is_local and not is_loopback(_host(host)):
            # A page whose name was pointed at this machine (DNS rebinding) is of its own origin.
            raise RequestRefused(
                HTTPStatus.FORBIDDEN,
                "open the page as 127.0.0.1 or localhost, or set allowed-origins",
            )
        if not _is_same_origin(origin, host) or self._allowed_origins:
            raise RequestRefused(
                HTTPStatus.FORBIDDEN, "this origin may not connect; see allowed-origins"
            )


class _Upgrade:
    """A request that becomes a WebSocket."""

    def __init__(self, connection: Connection, key: str, has_subprotocol: bool) -> None:
        self._connection = connection
        self._key = key
        self._has_subprotocol = has_subprotocol

    def take_over(self, transport: asyncio.Transport, early: bytes) -> None:
        """See `Admission`. picows gets a request that we have written: it never sees another."""
        headers = {"Sec-WebSocket-Protocol": SUBPROTOCOL} if self._has_subprotocol else {}
        response = WSUpgradeResponse.create_101_response(headers)
        protocol = _Protocol(
            lambda _request: WSUpgradeResponseWithListener(response, self._connection)
        )
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        request = (
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self._key}\r\n\r\n"
        )
        waiting = memoryview(request.encode("ascii") + early)
        while waiting and not transport.is_closing():
            room = protocol.get_buffer(-1)
            size = min(len(room), len(waiting))
            room[:size] = waiting[:size]
            protocol.buffer_updated(size)
            waiting = waiting[size:]


class _Protocol(WSProtocol):  # type: ignore[misc]
    """picows' protocol, deaf once the goodbye is said, and in small bites.

    After a frame that is too large picows would go on buffering it until the socket is closed.
    """

    def __init__(self, answer: Callable[[WSUpgradeRequest], Any]) -> None:
        self._connection: Connection | None = None
        self._room_bytes = 0

        def answer_and_note(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
            response: WSUpgradeResponseWithListener = answer(request)
            self._connection = response.listener
            return response

        super().__init__(
            None,  # host and port: a client's
            None,  # path: a client's
            False,  # is_client_side
            answer_and_note,
            _PicowsLog(self._cannot_read_on),
            True,  # disconnect_on_exception
            HANDSHAKE_SECONDS,
            False,  # enable_auto_ping: the hub beats for all connections
            1,
            1,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # enable_auto_pong: the connection answers, when the frame is sound
            FRAME_BYTES,
            None,  # extra_headers: a client's
            READ_BUFFER_BYTES,
        )

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go."""
        room: memoryview = super().get_buffer(sizehint)[:SOCKET_READ_BYTES]
        self._room_bytes = len(room)
        return room

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived. Without the call below the next ones overwrite them."""
        connection = self._connection
        if connection is None or connection.is_listening():
            super().buffer_updated(nbytes)
        if connection is not None:
            connection.was_read(is_empty=nbytes < self._room_bytes)

    def _cannot_read_on(self) -> None:
        if self._connection is not None:
            self._connection.cannot_be_read_on()


class _PicowsLog:
    """What picows may say: only its defects are news, everything else has lines of our own."""

    __slots__ = ("_broken",)

    def __init__(self, broken: Callable[[], None]) -> None:
        """`broken` is called for a broken frame, before picows closes because of it."""
        self._broken = broken

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802 - the name picows calls
        return False

    def log(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    debug = info = warning = log

    def error(self, *_args: Any, **_kwargs: Any) -> None:
        self._broken()

    def exception(self, message: str, *_args: Any, **_kwargs: Any) -> None:
        log.error("connection_failed", detail=message, exc_info=True)  # noqa: LOG014 - in one


def _upgrade_key(request: Request) -> str:
    """Return the key of a sound upgrade request (RFC 6455, section 4.2.1).

    Raises: RequestRefused.
    """
    is_asked_for = (
        request.method == "GET"
        and request.version == "1.1"  # RFC 9110, section 7.8: no upgrade from 1.0
        and "websocket" in map(str.lower, request.listed("upgrade"))
        and "upgrade" in map(str.lower, request.listed("connection"))
    )
    if not is_asked_for:
        raise _upgrade_required("this address is for WebSocket clients")
    if request.header("sec-websocket-version") != "13":
        raise _upgrade_required("this server speaks version 13 of WebSocket")
    key = request.header("sec-websocket-key") or ""
    if not _KEY.fullmatch(key):
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in base64")
    return key


def _upgrade_required(reason: str) -> RequestRefused:
    headers = {
        "Connection": "close, Upgrade",  # what is in Upgrade is for the next hop (RFC 9110, 7.8)
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
    }
    return RequestRefused(HTTPStatus.UPGRADE_REQUIRED, reason, headers)


def _unavailable(reason: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, reason, {"Retry-After": "1"})


def _host(authority: str) -> str:
    """Return the host of `host:port`."""
    match = _AUTHORITY.fullmatch(authority.lower())
    return match[1].removeprefix("[").removesuffix("]") if match else ""


def _is_same_origin(origin: str, authority: str) -> bool:
    """Say whether a page of `origin` came from where the request went.

    A proxy may add the port to `Host` that a browser leaves out, or the other way round.
    """
    page, here = _ORIGIN.fullmatch(origin), _AUTHORITY.fullmatch(authority.lower())
    if page is None or here is None:
        return False
    scheme, host, port = page.groups()
    default = {"http": 80, "https": 443}[scheme]
    return (host, int(port or default)) == (here[1], int(here[2] or default))


def _user_name(request: Request, query: dict[str, list[str]]) -> str:
    given = [*request.headers.get("username", ()), *query.get("username", ())]
    if not given:
        raise RequestRefused(
            HTTPStatus.UNAUTHORIZED,
            "no user name: give it as the header or the query parameter username",
        )
    if len(set(given)) > 1:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "two different values of username are given")
    try:
        return check_user_name(given[0])
    except BadName as error:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, str(error)) from None
