"""The listener of `--admin-port`: health, readiness and metrics, for those who run the server."""

import asyncio
import socket
from typing import Final

from starlette.requests import Request as Asked

from landline.api.application import application
from landline.api.http import Http, RequestRefused
from landline.gateway.asgi import Runner
from landline.gateway.http_connection import HttpConnection
from landline.gateway.http_request import Request
from landline.gateway.reception import ForTheApplication, Peer
from landline.gateway.refusals import Refusals
from landline.gateway.request_facts import facts_of, shown_peer
from landline.observability.logging import get_logger
from landline.ports import Clock

_BACKLOG: Final = 128
# Probes and a few people. Their files are set aside (`app/front.py`).
CONNECTIONS: Final = 64

log = get_logger(__name__)


class AdminListener:
    """Answers a few pages. Nobody chats here, so there is nothing to decide.

    Like the main one it listens from the first moment of a server to the last.
    """

    def __init__(self, http: Http, clock: Clock) -> None:
        self.runner = Runner(application(http, None, self._note), clock)
        self._refusals = Refusals(clock)  # what operators ask in vain is no news for the metrics
        self._server: asyncio.Server | None = None
        self._connections: set[HttpConnection] = set()

    async def open(self, sock: socket.socket) -> None:
        """Listen on a bound socket. Raises: OSError."""
        sock.listen(_BACKLOG)  # uvloop would keep to itself that it could not
        self._server = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(self), sock=sock, backlog=_BACKLOG
        )

    def close(self) -> None:
        """Accept no more connections, and cut those that are there."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()

    # What a connection asks for -------------------------------------------------------------------

    def decide(self, _request: Request, _peer: Peer) -> ForTheApplication:
        """See `Reception`."""
        return ForTheApplication()

    def whose(self, _request: Request, peer: Peer) -> dict[str, str]:
        """See `Reception`."""
        return {"peer": shown_peer(peer)}

    def refused(self, address: str) -> dict[str, int] | None:
        """See `Reception`."""
        return self._refusals.add(address)

    def came(self, connection: HttpConnection, _peer: Peer) -> bool:
        """See `Reception`."""
        if len(self._connections) >= CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def went(self, connection: HttpConnection) -> None:
        """See `Reception`."""
        self._connections.discard(connection)

    def _note(self, request: Asked, refused: RequestRefused) -> None:
        untold = self.refused(request.client.host if request.client is not None else "unknown")
        if untold is not None:
            log.info(
                "request_refused",
                status=int(refused.status),
                reason=refused.reason,
                peer=shown_peer(request.client),
                **facts_of(request),
                **untold,
                listener="admin",
            )
