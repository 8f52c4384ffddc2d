"""Whether there is a server at all, before a run begins."""

import asyncio
from urllib.parse import quote

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from landline_verify.clients.frames import NotLandline, check_welcome, decode
from landline_verify.errors import VerifyError
from landline_verify.history.events import HANDSHAKE_SECONDS


async def check_server(url: str, user: str) -> None:
    """Connect as a user that nobody knows. Raises: VerifyError where no Landline answers."""
    try:
        await _probe(url, user)
    except NotLandline as error:
        raise VerifyError(
            f"--url {url}: this is no Landline server ({error}); "
            "give its WebSocket, e.g. ws://127.0.0.1:8081/ws/chat"
        ) from None
    except OSError as error:
        raise VerifyError(
            f"--url {url}: nobody answers ({error.strerror or error}); start the server first"
        ) from None


async def _probe(url: str, user: str) -> None:
    try:
        async with connect(
            f"{url}?username={quote(user, safe='')}", compression=None,
            open_timeout=HANDSHAKE_SECONDS, close_timeout=1, proxy=None,
        ) as socket, asyncio.timeout(HANDSHAKE_SECONDS):  # fmt: skip
            welcome = decode(await socket.recv())
    except TimeoutError:
        raise NotLandline(f"no welcome within {HANDSHAKE_SECONDS:g} s") from None
    except (InvalidHandshake, InvalidMessage, EOFError, ConnectionClosed, ValueError) as error:
        raise NotLandline(str(error) or type(error).__name__) from None
    check_welcome(welcome)
