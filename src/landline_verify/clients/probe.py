"""Whether there is a server at all, before a run begins."""

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
)

from landline_verify.clients.frames import NotLandline, check_welcome, decode
from landline_verify.errors import VerifyError
from landline_verify.history.events import HANDSHAKE_SECONDS
from landline_verify.tokens import TokenMaker, headers

# A server that wants a token waits for one, as long as a handshake may take, and says so then.
_WELCOME_SECONDS = HANDSHAKE_SECONDS + 3.0
_REFUSALS = (401, 403)
_NOT_AUTHENTICATED = 4401


class _WantsToken(Exception):
    """A server that does not let this user in; with the status or the code."""


async def check_server(url: str, user: str, tokens: TokenMaker | None = None) -> None:
    """Connect as a user that nobody knows. Raises: VerifyError where no Landline answers."""
    try:
        await _probe(url, headers(tokens, user), user)
    except _WantsToken as refused:
        raise VerifyError(
            f"--url {url}: the server refuses this user ({refused}); if it checks tokens, give"
            " its secret with --jwt-secret-file, and what it wants in them (--jwt-issuer and the"
            " like)"
        ) from None
    except NotLandline as error:
        raise VerifyError(
            f"--url {url}: this is no Landline server ({error}); "
            "give its WebSocket, e.g. ws://127.0.0.1:8081/ws/chat"
        ) from None
    except OSError as error:
        raise VerifyError(
            f"--url {url}: nobody answers ({error.strerror or error}); start the server first"
        ) from None


async def _probe(url: str, shown: Mapping[str, str], user: str) -> None:
    try:
        async with connect(
            f"{url}?username={quote(user, safe='')}", compression=None,
            open_timeout=HANDSHAKE_SECONDS, close_timeout=1, proxy=None, additional_headers=shown,
        ) as socket, asyncio.timeout(_WELCOME_SECONDS):  # fmt: skip
            welcome = decode(await socket.recv())
    except InvalidStatus as error:
        if error.response.status_code in _REFUSALS:
            raise _WantsToken(error.response.status_code) from None
        raise NotLandline(str(error)) from None
    except TimeoutError:
        raise NotLandline(f"no welcome within {_WELCOME_SECONDS:g} s") from None
    except ConnectionClosed as error:
        if error.rcvd is not None and error.rcvd.code == _NOT_AUTHENTICATED:
            raise _WantsToken(error.rcvd.code) from None
        raise NotLandline(str(error)) from None
    except (InvalidHandshake, InvalidMessage, EOFError, ValueError) as error:
        raise NotLandline(str(error) or type(error).__name__) from None
    check_welcome(welcome)
