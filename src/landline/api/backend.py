"""What the interface for programs asks of the server behind it."""

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request

from landline.auth.principal import Principal
from landline.model import OpenSession, Revocation
from landline.protocol.client_frames import Send


class Backend(Protocol):
    """The server, as far as requests reach it."""

    async def identify(self, request: Request) -> Principal:
        """Return who sends a request. Raises: RequestRefused."""

    async def post(self, principal: Principal, sender: str, send: Send) -> bytes:
        """Send a message in this name. Returns the answer, a frame `accepted` or `error`.

        Raises: RequestRefused, where no server is behind it now.
        """

    async def sessions_of(self, user: str) -> Sequence[OpenSession]:
        """Return a user's sessions on all servers. Raises: RequestRefused, DirectoryUnavailable."""

    async def revoke(self, user: str, until_ms: int | None, by: str) -> Revocation:
        """End a user's sessions on all servers; refuse new ones, and requests, until then. None
        leaves that as it was. Returns what is in force: `until_ms` is None where nobody is refused.

        Raises: RequestRefused, StoreUnavailable.
        """
