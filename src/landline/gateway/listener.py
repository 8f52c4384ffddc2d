"""The one listener for WebSocket and HTTP."""

import asyncio
import socket
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from picows import (
    WSAutoPingStrategy,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stub leaves it out

from landline.api.http import Answer, Http
from landline.config.values import is_loopback
from landline.gateway.connection import Connection
from landline.gateway.hub import Hub
from landline.observability.logging import get_logger
from landline.observability.metrics import Value
from landline.protocol.codes import FINAL_REFUSAL, FINAL_STATUSES
from landline.protocol.identity import BadName, check_user_name
from landline.protocol.limits import FRAME_BYTES, SUBPROTOCOL

WEBSOCKET_PATHS = frozenset({"/ws", "/ws/chat"})
HANDSHAKE_SECONDS = 5.0
READ_BUFFER_BYTES = 2048  # per connection and idle or not; it grows for those who send more
# One read. Its frames may have to wait for their turn, so this bounds what waits; and a buffer that
# is never filled to the brim is never doubled by who only sends fast.
READ_BYTES = 8 * 1024
BACKLOG = 1024

log = get_logger(__name__)


class Refused(Exception):
    """An upgrade that is not made: HTTP status and a sentence for the client's developer."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Listener:
    """Accepts connections and decides what each request is."""

    def __init__(
        self,
        hub: Hub,
        http: Http,
        *,
        new_id: Callable[[], str],
        allowed_origins: Collection[str],
        max_connections: int,
        is_local: bool,
    ) -> None:
        """`is_local`: it is for this machine alone, so no name but loopback's can mean it."""
        self._hub = hub
        self._http = http
        self._new_id = new_id
        self._allowed_origins = frozenset(allowed_origins)
        self._max_connections = max_connections
        self._is_local = is_local
        self._server: asyncio.Server | None = None
        self._refused = 0

    async def open(self, sock: socket.socket) -> None:
        """Listen on a bound socket. Raises: OSError."""
        sock.listen(BACKLOG)  # uvloop would keep to itself that it could not
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=sock, backlog=BACKLOG)

    def close(self) -> None:
        """Accept no more connections; those that are open stay."""
        if self._server is not None:
            self._server.close()

    def measure(self) -> Mapping[str, Value]:
        """Return what the metrics show of the listener."""
        return {"landline_upgrades_refused_total": self._refused}

    def _protocol(self) -> "_Protocol":
        return _Protocol(self._answer)

    def _answer(self, request: WSUpgradeRequest) -> Any:
        try:
            url = urlsplit(request.path.decode("ascii"))
            if url.path not in WEBSOCKET_PATHS:
                return _http(self._http.answer(url.path))
            connection = self._upgrade(request, _parameters(url.query))
        except Refused as refused:
            self._refused += 1
            log.info("upgrade_refused", status=int(refused.status), reason=refused.reason)
            return _refuse(refused.status, refused.reason)
        except (ValueError, UnicodeError):
            return _refuse(HTTPStatus.BAD_REQUEST, "the request's address cannot be read")
        headers = {}
        if SUBPROTOCOL in _listed(request, "Sec-WebSocket-Protocol"):
            headers["Sec-WebSocket-Protocol"] = SUBPROTOCOL
        return WSUpgradeResponseWithListener(
            WSUpgradeResponse.create_101_response(headers), connection
        )

    def _upgrade(self, request: WSUpgradeRequest, query: dict[str, list[str]]) -> Connection:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise Refused(HTTPStatus.UPGRADE_REQUIRED, "this address is for WebSocket clients")
        if "upgrade" in map(str.lower, _listed(request, "Connection")):
            # picows takes nothing beside it; Firefox says `keep-alive, Upgrade`.
            request.headers["Connection"] = "Upgrade"
        self._check_origin(request)
        user = _user_name(request, query)
        ack = query.get("ack", ["client"])
        if ack not in (["client"], ["auto"]):
            raise Refused(HTTPStatus.BAD_REQUEST, "ack must be client or auto")
        if not self._max_connections:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "this server only applies the log; connect to one with the role gateway",
            )
        if self._hub.connection_count >= self._max_connections:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; try again later")
        return Connection(self._hub, user, self._new_id(), auto_ack=ack == ["auto"])

    def _check_origin(self, request: WSUpgradeRequest) -> None:
        """Refuse other sites' pages: a browser says whose page it is that connects."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self._allowed_origins:
            return
        scheme, _, authority = origin.partition("://")
        host = request.headers.get("Host", "")
        same = scheme in ("http", "https") and authority == host
        if self._is_local and not is_loopback(_name(host)):
            # A page whose name was pointed at this machine (DNS rebinding) is of its own origin.
            raise Refused(
                HTTPStatus.FORBIDDEN,
                "pages reach this server as 127.0.0.1 or localhost; see allowed-origins",
            )
        if not same or self._allowed_origins:
            raise Refused(HTTPStatus.FORBIDDEN, "this origin may not connect; see allowed-origins")


class _Protocol(WSProtocol):  # type: ignore[misc]
    """picows' protocol, deaf once the goodbye is said, and in small bites.

    After a frame that is too large picows would go on buffering it until the socket is closed.
    """

    def __init__(self, answer: Callable[[WSUpgradeRequest], Any]) -> None:
        self._connection: Connection | None = None

        def answer_and_note(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
            response: WSUpgradeResponseWithListener = answer(request)
            self._connection = response.listener
            return response

        super().__init__(
            None,  # host and port: a client's
            None,  # path: a client's
            False,  # is_client_side
            answer_and_note,
            _PICOWS_LOG,
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
        room: memoryview = super().get_buffer(sizehint)
        return room[:READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived. Without the call below the next ones overwrite them."""
        connection = self._connection
        if connection is None or connection.is_listening():
            super().buffer_updated(nbytes)


class _PicowsLog:
    """What picows may say: only its defects are news, everything else has lines of our own."""

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802 - the name picows calls
        return False

    def log(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    debug = info = warning = error = log

    def exception(self, message: str, *_args: Any, **_kwargs: Any) -> None:
        log.error("connection_failed", detail=message, exc_info=True)  # noqa: LOG014 - in one


_PICOWS_LOG = _PicowsLog()


def _name(authority: str) -> str:
    """Return the host of `host:port`."""
    name = authority.rpartition(":")[0] if authority[-1:] != "]" and ":" in authority else authority
    return name.removeprefix("[").removesuffix("]").lower()


def _user_name(request: WSUpgradeRequest, query: dict[str, list[str]]) -> str:
    # picows decodes headers as ASCII with surrogate escapes; user names are UTF-8.
    given = [
        value.encode("ascii", "surrogateescape").decode("utf-8", "surrogateescape")
        for value in request.headers.getall("username", [])
    ]
    given += query.get("username", [])
    if not given:
        raise Refused(
            HTTPStatus.UNAUTHORIZED, "who are you? give a header or query parameter username"
        )
    if len(set(given)) > 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "username is given twice and differs")
    try:
        return check_user_name(given[0])
    except BadName as error:
        raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None


def _parameters(query: str) -> dict[str, list[str]]:
    """Raises: UnicodeDecodeError. Bytes that are not UTF-8 must not turn into a good name."""
    return parse_qs(query, keep_blank_values=True, errors="strict")


def _listed(request: WSUpgradeRequest, header: str) -> set[str]:
    lines = request.headers.getall(header, [])
    return {item.strip() for line in lines for item in line.split(",")}


def _refuse(status: HTTPStatus, reason: str) -> WSUpgradeResponseWithListener:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    headers |= [FINAL_REFUSAL] if status in FINAL_STATUSES else []
    response = WSUpgradeResponse.create_error_response(status, f"{reason}\n".encode(), headers)
    return WSUpgradeResponseWithListener(response, None)


def _http(answer: Answer) -> WSUpgradeResponseWithListener:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    if answer.status >= HTTPStatus.BAD_REQUEST:
        response = WSUpgradeResponse.create_error_response(answer.status, answer.body, headers)
    else:
        response = WSUpgradeResponse.create_ok_response(answer.body, headers)
    return WSUpgradeResponseWithListener(response, None)
