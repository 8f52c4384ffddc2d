"""What a connection asks about its requests: what becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from landline.gateway.asgi import Runner
from landline.gateway.http_request import Request

if TYPE_CHECKING:
    from landline.gateway.http_connection import HttpConnection


class Admission(Protocol):
    """A WebSocket that is let in."""

    def take_over(self, transport: asyncio.Transport, early: bytes) -> None:
        """Answer the upgrade and own the connection; `early` is what came behind the request."""

    def withdraw(self) -> None:
        """It is let in no more: the connection is gone, or was not sound."""


@dataclass(frozen=True, slots=True)
class ForTheApplication:
    """A request that the application answers."""


# The address of a socket's other end, and its port.
Peer = tuple[str, int]


class Reception(Protocol):
    """Decides on requests. It knows every connection, so that none outlives the listener."""

    runner: Runner

    def decide(
        self, request: Request, peer: Peer
    ) -> Admission | ForTheApplication | Coroutine[Any, Any, Admission]:
        """Return what becomes of a request; a coroutine, where that has to be found out.

        Raises: RequestRefused, as the coroutine does.
        """

    def whose(self, request: Request, peer: Peer) -> dict[str, str]:
        """Return what the log says of where a request comes from."""

    def refused(self, address: str) -> dict[str, int] | None:
        """Count one of an address that was sent away. Returns what its line in the log says
        besides, None where it has none (`Refusals`).
        """

    def came(self, connection: HttpConnection, peer: Peer) -> bool:
        """Somebody has connected. Returns False where their address has too many connections."""

    def went(self, connection: HttpConnection) -> None:
        """They are let in, or gone."""
