"""Who is let in: connections that show a token after the upgrade, and fresh tokens in a session."""

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from math import ceil
from typing import Any, Final, Protocol

from landline.api.http import RequestRefused
from landline.auth.principal import Principal
from landline.gateway.doors import Doors
from landline.gateway.gatekeeper import Gatekeeper
from landline.protocol import server_frames
from landline.protocol.codes import CloseCode, ErrorCode

# When to come back where a user has too many connections: one of them may be dead, and noticed.
FULL_RETRY_MS: Final = 10_000


class Guest(Protocol):
    """A connection, as far as it matters here."""

    session: str
    place: str
    claimed: str | None
    principal: Principal | None

    @property
    def is_closing(self) -> bool:
        """Say whether it has said goodbye, or is gone."""

    def signed_in(self, principal: Principal) -> None:
        """It is known who this is: the session begins."""

    def renewed(self, principal: Principal) -> None:
        """A fresh token was taken."""

    def transmit(self, frame: bytes) -> None:
        """Write a frame."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye."""


class Lobby:
    """Connections that nobody knows yet, and the checks that are under way."""

    def __init__(
        self,
        gate: Gatekeeper,
        doors: Doors,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._gate = gate
        self._doors = doors
        self._spawn = spawn
        self._waiting: dict[str, Guest] = {}
        self._renewing: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def came(self, guest: Guest) -> None:
        """A connection is open, and its token is to come."""
        self._waiting[guest.session] = guest

    def gone(self, guest: Guest) -> None:
        """A connection that was let in through the door is gone, signed in or not."""
        self._waiting.pop(guest.session, None)
        self._renewing.discard(guest.session)
        self._doors.leave(guest.place)
        if guest.principal is not None and not guest.principal.is_service:
            self._doors.sign_out(guest.principal.user)

    def close_all(self, code: CloseCode, reason: str) -> None:
        """Send away whoever still waits."""
        for guest in list(self._waiting.values()):
            guest.close(code, reason)

    def show(self, guest: Guest, token: str) -> None:
        """A connection shows its token."""
        self._spawn(self._sign_in(guest, token))

    def renew(self, guest: Guest, token: str) -> None:
        """A session shows a fresh token."""
        if self._gate.auth != "jwt":
            _answer(guest, ErrorCode.FORBIDDEN, "this server checks no tokens")
        elif guest.session in self._renewing:
            _answer(guest, ErrorCode.BUSY, "wait for the answer to the last auth frame")
        else:
            self._renewing.add(guest.session)
            self._spawn(self._renew(guest, token))

    async def _sign_in(self, guest: Guest, token: str) -> None:
        try:
            principal = await self._gate.check(token, guest.claimed)
        except RequestRefused as refused:
            is_passing = refused.status == HTTPStatus.SERVICE_UNAVAILABLE
            code = CloseCode.OVERLOADED if is_passing else CloseCode.NOT_AUTHENTICATED
            guest.close(code, refused.reason)
            return
        if guest.session not in self._waiting or guest.is_closing:
            return  # it has gone meanwhile, or was sent away
        if not principal.is_service and not self._doors.sign_in(principal.user):
            guest.close(CloseCode.OVERLOADED, f"retry_after_ms={FULL_RETRY_MS}")
            return
        del self._waiting[guest.session]
        guest.signed_in(principal)

    async def _renew(self, guest: Guest, token: str) -> None:
        try:
            principal = await self._gate.check(token, None)
        except RequestRefused as refused:
            is_passing = refused.status == HTTPStatus.SERVICE_UNAVAILABLE
            code = ErrorCode.BUSY if is_passing else ErrorCode.FORBIDDEN
            _answer(guest, code, refused.reason)
        else:
            if guest.session not in self._renewing:
                return  # it has gone meanwhile
            known = guest.principal
            assert known is not None, "a session has somebody"
            if (principal.user, principal.is_service) != (known.user, known.is_service):
                _answer(guest, ErrorCode.FORBIDDEN, "this token is not of the session's user")
            else:
                guest.renewed(principal)
                assert principal.expires_at is not None, "a token has its end"
                guest.transmit(server_frames.authenticated(ceil(principal.expires_at * 1000)))
        finally:
            self._renewing.discard(guest.session)


def _answer(guest: Guest, code: ErrorCode, reason: str) -> None:
    guest.transmit(server_frames.error(code, reason))
