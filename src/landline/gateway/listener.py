"""The one listener for WebSocket and HTTP."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from math import ceil
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request as Asked

from landline.api.application import application
from landline.api.http import INTERFACE, METHODS, Http, RequestRefused, method_refused
from landline.auth.principal import Principal
from landline.delivery.rooms import NOT_YET
from landline.gateway.acceptor import PlainServer
from landline.gateway.addresses import Caller, TrustedProxies, place_of
from landline.gateway.asgi import Runner
from landline.gateway.connection import Connection
from landline.gateway.doors import Doors
from landline.gateway.gatekeeper import Gatekeeper, Shown, check_expiry, claimed_name
from landline.gateway.http_connection import HttpConnection
from landline.gateway.http_request import Request
from landline.gateway.hub import Hub
from landline.gateway.lobby import FULL_RETRY_MS
from landline.gateway.origins import Origins, check_site
from landline.gateway.reception import ForTheApplication, Peer
from landline.gateway.refusals import Refusals
from landline.gateway.request_facts import facts_of, shown_peer
from landline.gateway.tls import TlsServer
from landline.gateway.upgrade import Upgrade, UpgradeAsked, upgrade_key
from landline.model import OpenSession, Revocation
from landline.observability.logging import get_logger
from landline.observability.metrics import Measured, series
from landline.ports import Clock
from landline.protocol.client_frames import ChangeMember, LogRequest, MarkRead, Question
from landline.protocol.codes import CloseCode
from landline.protocol.identity import is_device
from landline.protocol.limits import DEVICE_BYTES, SUBPROTOCOL

WEBSOCKET_PATHS = frozenset({"/ws", "/ws/chat"})
BACKLOG = 1024
# Where a service says whose sessions end (see `api.application`).
USERS: Final = "/v1/users/"

_CROWDED: Final = "this address has too many connections that have not signed in yet"
_FULL: Final = "this server has as many connections as it may have files"
# Refusals of whoever may only try: too many of them, and nobody of that address is heard.
_STRANGERS: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED)
# What says who sends a request, and from where.
_WHO: Final = (
    "authorization",
    "host",
    "origin",
    "sec-fetch-site",
    "username",
    "x-forwarded-for",
    "x-forwarded-proto",
)
_UNKNOWN: Final = ("unknown", 0)
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
        gate: Gatekeeper,
        doors: Doors,
        proxies: TrustedProxies,
        origins: Origins,
        clock: Clock,
        max_connections: int,
        max_sockets: int = 0,
        frame_rate: float = 0.0,
    ) -> None:
        """`max_connections`: how many WebSockets; `max_sockets`: how many with those that are none
        yet, 0 for any. `frame_rate`: how many frames a second a session may send, 0 for any.
        """
        self.runner = Runner(application(http, self, self._note), clock)
        self._new_id = new_id
        self._gate = gate
        self._doors = doors
        self._proxies = proxies
        self._origins = origins
        self._clock = clock
        self._max_connections = max_connections
        self._max_sockets = max_sockets
        self._frame_rate = frame_rate
        self._has_tls = False
        self._hub: Hub | None = None
        self._why_not = "this server is starting; try again soon"
        self._server: PlainServer[HttpConnection] | TlsServer[HttpConnection] | None = None
        self._http_connections: dict[HttpConnection, str | None] = {}
        self._refusals = Refusals(clock)

    async def open(
        self, sock: socket.socket, tls: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        """Listen on a bound socket. `tls`: what a new connection is encrypted with; None: nothing.

        Raises: OSError.
        """
        sock.listen(BACKLOG)  # uvloop would keep to itself that it could not
        if tls is not None:
            self._has_tls = True
            self._server = TlsServer(sock, tls, self._comes, self.went, self.refused)
            return
        self._server = PlainServer(sock, self._comes, self.went)

    def admit(self, hub: Hub) -> None:
        """Make upgrades from now on; the hub has their connections."""
        self._hub = hub

    def refuse_upgrades(self, why: str) -> None:
        """Make no more upgrades; pages are answered still."""
        self._hub = None
        self._why_not = why

    async def finish(self, seconds: float) -> None:
        """Wait until every request is answered, but no longer than this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.runner.request_count:  # noqa: ASYNC110 - at the end, once
                    await asyncio.sleep(0.01)

    def close(self) -> None:
        """Accept no more connections; WebSockets that are open stay."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._http_connections):
            connection.abort()

    def measure(self) -> Measured:
        """Return what the metrics show of the listener."""
        return {series("landline_upgrades_refused_total"): self._refusals.count}

    # What a connection asks for -------------------------------------------------------------------

    def came(self, connection: HttpConnection, peer: Peer) -> bool:
        """See `Reception`. Of one address a trusted proxy may have any number."""
        if connection in self._http_connections:
            return True  # before there was a protocol for it
        sockets = len(self._http_connections) + (self._hub.connection_count if self._hub else 0)
        if self._max_sockets and sockets >= self._max_sockets:
            return self._turn_away(peer, _FULL)
        caller = self._proxies.caller(peer[0], ())
        place = None if caller.is_trusted else caller.place
        if place is not None and not self._doors.accept(place):
            return self._turn_away(peer, _CROWDED)
        self._http_connections[connection] = place
        return True

    def _comes(self, peer: Peer) -> HttpConnection | None:
        """Return who has a connection; None where it is refused."""
        connection = HttpConnection(self)
        return connection if self.came(connection, peer) else None

    def _turn_away(self, peer: Peer, reason: str) -> bool:
        untold = self.refused(peer[0])
        if untold is not None:
            log.warning("connection_refused", peer=shown_peer(peer), reason=reason, **untold)
        return False

    def went(self, connection: HttpConnection) -> None:
        """See `Reception`."""
        place = self._http_connections.pop(connection, None)
        if place is not None:
            self._doors.release(place)

    def refused(self, address: str) -> dict[str, int] | None:
        """See `Reception`."""
        return self._refusals.add(place_of(address))

    def whose(self, request: Request, peer: Peer) -> dict[str, str]:
        """See `Reception`."""
        caller = self._caller(request, peer)
        shown = shown_peer(peer)
        if not caller.is_trusted or caller.address is None or str(caller.address) == peer[0]:
            return {"peer": shown}
        return {"peer": str(caller.address), "proxy": shown}

    def decide(
        self, request: Request, peer: Peer
    ) -> Upgrade | ForTheApplication | Coroutine[Any, Any, Upgrade]:
        """See `Reception`."""
        caller = self._caller(request, peer)
        # Browsers say with all else whose page asks; and probes call this machine what they like.
        is_private = request.path == "/metrics" or request.path.startswith(INTERFACE)
        if is_private and not caller.is_trusted:
            self._origins.check_host(request.header("host"))
        if request.path not in WEBSOCKET_PATHS:
            return ForTheApplication()
        if request.method not in METHODS:
            raise method_refused(request.method)
        key = upgrade_key(request)
        self._free_hub()
        self._knock(caller)
        try:
            query = parse_qs(request.query, keep_blank_values=True, errors="strict")
        except ValueError:  # bytes that are not UTF-8 must not turn into a good name
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "the address is not UTF-8") from None
        origin = request.header("origin")
        self._origins.check(origin, request.header("host") or "", self._scheme(request, caller))
        ack = query.get("ack", ["client"])
        if ack not in (["client"], ["auto"]):
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "ack must be client or auto")
        device = query.get("device")
        if device is not None and not (len(device) == 1 and device[0] and is_device(device[0])):
            raise RequestRefused(
                HTTPStatus.BAD_REQUEST,
                f"device must be one name of 1 to {DEVICE_BYTES} characters A-Z a-z 0-9 . _ -",
            )
        shown = Shown(
            request.headers.get("username", ()),
            query.get("username", ()),
            request.headers.get("authorization", ()),
            caller.is_trusted,
        )
        facts = self.whose(request, peer) | ({"origin": origin} if origin is not None else {})
        asked = UpgradeAsked(
            key=key,
            has_subprotocol=SUBPROTOCOL in request.listed("sec-websocket-protocol"),
            auto_ack=ack == ["auto"],
            device=device[0] if device is not None else None,
            place=caller.place,
            claimed=claimed_name(shown),
            facts=facts,
        )
        claimed = self._gate.claimed(shown)
        if isinstance(claimed, str):
            return self._admit_with(claimed, asked)
        return self._admit(claimed, asked)

    async def _admit_with(self, token: str, asked: UpgradeAsked) -> Upgrade:
        return self._admit(await self._gate.check(token, asked.claimed), asked)

    def _admit(self, principal: Principal | None, asked: UpgradeAsked) -> Upgrade:
        """Make a connection. Raises: RequestRefused, where there are too many."""
        hub = self._free_hub()
        if principal is not None:
            _check_revoked(hub, principal)
        if not self._doors.enter(asked.place):
            raise _too_many("this address has too many connections", FULL_RETRY_MS / 1000)
        is_limited = principal is not None and not principal.is_service
        if principal is not None and is_limited and not self._doors.sign_in(principal.user):
            self._doors.leave(asked.place)
            raise _too_many("this user has too many connections", FULL_RETRY_MS / 1000)
        connection = Connection(
            hub,
            principal,
            self._new_id(),
            auto_ack=asked.auto_ack,
            device=asked.device,
            facts=asked.facts,
            place=asked.place,
            claimed=asked.claimed,
            frame_rate=self._frame_rate,
        )
        return Upgrade(connection, hub, asked)

    # What the application asks for (`Backend`) ----------------------------------------------------

    async def identify(self, request: Asked) -> Principal:
        """See `Backend`."""
        asked = _as_read(request)
        caller = self._caller(asked, request.client or _UNKNOWN)
        now = self._clock.monotonic()
        if wait_seconds := self._doors.seconds_until_heard(caller.place, now):
            raise _too_many("too many requests of this address were refused", wait_seconds)
        try:
            return await self._identify(asked, caller)
        except RequestRefused as refused:
            if refused.status in _STRANGERS:
                self._doors.was_stranger(caller.place, self._clock.monotonic())
            raise

    async def _identify(self, asked: Request, caller: Caller) -> Principal:
        origin = asked.header("origin")
        self._origins.check(origin, asked.header("host") or "", self._scheme(asked, caller))
        # With `proxy` a browser's cookies may be what signs its user in.
        if self._gate.auth == "proxy" and origin is None:
            check_site(asked.header("sec-fetch-site"))
        shown = Shown(
            asked.headers.get("username", ()),
            (),
            asked.headers.get("authorization", ()),
            caller.is_trusted,
        )
        principal = await self._gate.identify(shown)
        # A service may always come back for what it has said itself of users, so of its own name.
        is_spared = principal.is_service and asked.path.startswith(USERS)
        if self._hub is not None and not is_spared:
            _check_revoked(self._hub, principal)
        return principal

    async def sessions_of(self, user: str) -> Sequence[OpenSession]:
        """See `Backend`."""
        return await self._served_by().sessions.of(user)

    async def revoke(self, user: str, until_ms: int | None, by: str) -> Revocation:
        """See `Backend`."""
        return await self._served_by().revocations.revoke(user, until_ms, by)

    async def end_user(
        self, principal: Principal, user: str, name: str, until_ms: int | None
    ) -> tuple[int | None, int, int]:
        """See `Backend`."""
        hub = self._served_by()
        if not hub.knows_rooms:
            raise RequestRefused(HTTPStatus.TOO_MANY_REQUESTS, NOT_YET.reason, {"Retry-After": "1"})
        ended = await hub.departures.end(user, name, until_ms, principal.user)
        return ended.revocation.until_ms, ended.rooms, ended.devices

    async def post(self, principal: Principal, sender: str, request: LogRequest) -> bytes:
        """See `Backend`."""
        hub = self._served_by()
        return await hub.posts.post(
            sender,
            request,
            is_service=principal.is_service,
            is_product=_is_product(principal, sender),
            check=partial(self._check, hub, principal),
        )

    async def place(self, principal: Principal, sender: str, change: ChangeMember) -> bytes:
        """See `Backend`."""
        hub = self._served_by()
        return await hub.posts.place(
            sender,
            change,
            is_service=principal.is_service,
            is_product=_is_product(principal, sender),
            check=partial(self._check, hub, principal),
        )

    async def mark(self, principal: Principal, user: str, mark: MarkRead) -> bytes:
        """See `Backend`."""
        hub = self._served_by()
        return await hub.marks.mark(
            user, mark, is_service=principal.is_service, check=partial(self._check, hub, principal)
        )

    async def ask(self, principal: Principal, user: str, question: Question) -> bytes:
        """See `Backend`."""
        questions = self._served_by().questions
        return await questions.ask(user, question, is_product=_is_product(principal, user))

    def _check(self, hub: Hub, principal: Principal) -> None:
        """Raises: RequestRefused, where somebody may ask for nothing any more."""
        check_expiry(principal, self._clock.wall_ms())
        _check_revoked(hub, principal)

    def _served_by(self) -> Hub:
        """Return the hub. Raises: RequestRefused, where there is none, or none for clients."""
        if not self._max_connections:
            raise _unavailable(
                "this server only applies the log; connect to one with the role gateway"
            )
        if self._hub is None:
            raise _unavailable(self._why_not)
        return self._hub

    def _note(self, request: Asked, refused: RequestRefused) -> None:
        """The application has refused a request."""
        asked, peer = _as_read(request), request.client or _UNKNOWN
        untold = self.refused(str(self._caller(asked, peer).address))
        if untold is None:
            return
        log.info(
            "request_refused",
            status=int(refused.status),
            reason=refused.reason,
            **self.whose(asked, peer),
            **facts_of(request),
            **untold,
        )

    # Inside ----------------------------------------------------------------------------------

    def _caller(self, request: Request, peer: Peer) -> Caller:
        return self._proxies.caller(peer[0], request.listed("x-forwarded-for"))

    def _scheme(self, request: Request, caller: Caller) -> str | None:
        """Return how the client has asked, where that is known for sure: a proxy that is not
        declared may have ended TLS.
        """
        if not caller.is_trusted:
            return "https" if self._has_tls else None
        given = request.listed("x-forwarded-proto")[-1:]
        return given[0].lower() if given and given[0].lower() in ("http", "https") else None

    def _knock(self, caller: Caller) -> None:
        wait_seconds = self._doors.knock(caller.place, self._clock.monotonic())
        if wait_seconds:
            raise _too_many("this address connects too often", wait_seconds)

    def _free_hub(self) -> Hub:
        """Return the hub, when it takes one more. Raises: RequestRefused."""
        hub = self._served_by()
        if hub.connection_count >= self._max_connections:
            raise _unavailable("too many connections; try again later")
        return hub


def _as_read(request: Asked) -> Request:
    """Return what the application was asked, as its head was read: what says who asks."""
    headers = {
        name: [value.encode("latin-1").decode(errors="surrogateescape") for value in values]
        for name in _WHO
        if (values := request.headers.getlist(name))
    }
    return Request(request.method, request.url.path, "", "1.1", headers)


def _is_product(principal: Principal, user: str) -> bool:
    """Say whether the product's backend acts in nobody's name."""
    return principal.is_service and principal.user == user


def _check_revoked(hub: Hub, principal: Principal) -> None:
    """Raises: RequestRefused, where an administrator has said so."""
    if hub.revocations.is_refused(principal.user):
        raise RequestRefused(HTTPStatus.FORBIDDEN, CloseCode.FORBIDDEN.means, is_passing=True)


def _unavailable(reason: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, reason, {"Retry-After": "1"})


def _too_many(reason: str, wait_seconds: float) -> RequestRefused:
    headers = {"Retry-After": str(max(1, ceil(wait_seconds)))}
    return RequestRefused(HTTPStatus.TOO_MANY_REQUESTS, f"{reason}; try again later", headers)
