"""From a request to a WebSocket: picows' protocol, which reads frames at full speed."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from picows import (
    WSAutoPingStrategy,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stub leaves it out

from landline.api.http import RequestRefused
from landline.gateway.connection import Connection
from landline.gateway.http_connection import HANDSHAKE_SECONDS
from landline.gateway.http_request import Request
from landline.gateway.hub import Hub
from landline.observability.logging import get_logger
from landline.protocol.limits import FRAME_BYTES, SUBPROTOCOL

READ_BUFFER_BYTES = 2048  # per connection and idle or not; it grows for those that send more
# One read. Its frames may have to wait for their turn, so this bounds what waits; and a buffer that
# never fills is not doubled for a client that sends fast.
SOCKET_READ_BYTES = 8 * 1024
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeAsked:
    """What a sound upgrade request asks for."""

    key: str
    has_subprotocol: bool
    auto_ack: bool
    device: str | None
    place: str
    claimed: str | None
    facts: dict[str, str]


class Upgrade:
    """A request that becomes a WebSocket."""

    def __init__(self, connection: Connection, hub: Hub, asked: UpgradeAsked) -> None:
        self._connection = connection
        self._hub = hub
        self._asked = asked

    def withdraw(self) -> None:
        """See `Admission`."""
        self._hub.lobby.gone(self._connection)

    def take_over(self, transport: asyncio.Transport, early: bytes) -> None:
        """See `Admission`. picows gets a request that we have written: it never sees another."""
        headers = {"Sec-WebSocket-Protocol": SUBPROTOCOL} if self._asked.has_subprotocol else {}
        response = WSUpgradeResponse.create_101_response(headers)
        protocol = _Protocol(
            lambda _request: WSUpgradeResponseWithListener(response, self._connection)
        )
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        request = (
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self._asked.key}\r\n\r\n"
        )
        waiting = memoryview(request.encode("ascii") + early)
        while waiting and not transport.is_closing():
            room = protocol.get_buffer(-1)
            size = min(len(room), len(waiting))
            room[:size] = waiting[:size]
            protocol.buffer_updated(size)
            waiting = waiting[size:]
        if not self._connection.was_open:
            self.withdraw()


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
        if connection is None or connection.may_have(nbytes):
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


def upgrade_key(request: Request) -> str:
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
