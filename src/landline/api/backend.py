"""What the interface for programs asks of the server behind it."""

from typing import Protocol

from starlette.requests import Request

from landline.auth.principal import Principal
from landline.protocol.client_frames import Send


class Backend(Protocol):
    """The server, as far as requests reach it."""

    async def identify(self, request: Request) -> Principal:
        """Return who sends a request. Raises: RequestRefused."""

    async def post(self, principal: Principal, sender: str, send: Send) -> bytes:
        """Send a message in this name. Returns the answer, a frame `accepted` or `error`.

        Raises: RequestRefused, where no server is behind it now.
        """
