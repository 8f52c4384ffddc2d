"""From an address to a connection: headers, proxies, and the reason when it fails.

Something between client and server may answer instead: a proxy whose servers are being replaced, a
page that asks people to sign in, a network that wants to be paid. All of that passes. Only Landline
refuses a client for good, and it marks that answer.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import parse_uri

from landline.client.address import Address
from landline.client.credentials import Token
from landline.client.errors import ClientError, Refused, WrongUser
from landline.client.reasons import is_nobody, why_refused, why_unreachable
from landline.client.reconnecting import Asked, asked_by_header
from landline.client.timeline import NotLandline
from landline.client.wire import OtherProtocol
from landline.protocol.codes import FINAL_REFUSAL, FINAL_STATUSES
from landline.protocol.codes import CloseCode as LandlineCode
from landline.protocol.limits import SUBPROTOCOL

DIAL_SECONDS = 10.0
GOODBYE_SECONDS = 3.0
# More than the largest frame that a server of this protocol sends.
MOST_FRAME_BYTES = 16 * 1024 * 1024

_REASON_CHARACTERS = 300
_OURS = frozenset({"connection", "host", "upgrade"})
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_FIELD = re.compile(r"[\t\x20-\x7e]*")

ProxyOption = str | Literal[True] | None


class DialFailed(Exception):
    """A connection could not be made. `is_final`: Landline will answer the same again;
    `is_unauthenticated`: unless it gets another token; `is_closed`: an administrator keeps this
    user away; `is_nobody_here`: nothing listens there, and it is this machine.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_final: bool = False,
        is_unauthenticated: bool = False,
        is_closed: bool = False,
        is_nobody_here: bool = False,
        asked: Asked | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final
        self.is_unauthenticated = is_unauthenticated
        self.is_closed = is_closed
        self.is_nobody_here = is_nobody_here
        self.asked = asked


@dataclass(frozen=True, slots=True)
class DialTarget:
    """Where a connection leads to, for whom, and how it gets there. Without a `username` the token
    says it. `device`: on which of the user's devices, None for none in particular.
    """

    username: str | None
    address: Address
    headers: Mapping[str, str] = field(repr=False)  # they may be secret
    proxy: ProxyOption
    device: str | None = None


class _Discreet(logging.LoggerAdapter[logging.Logger]):
    """Debugging a handshake would log the token, and debugging a session every message."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name of the logging module
        """Say no to everything below a note for people."""
        return level > logging.DEBUG and super().isEnabledFor(level)


_wire_log = _Discreet(logging.getLogger("websockets.client"), {})


async def dial(target: DialTarget, token: Token | None = None) -> ClientConnection:
    """Return a connection; the caller closes it, see `leaving`.

    Raises: DialFailed; ClientError if something on this side must be changed first.
    """
    address, proxy = target.address, target.proxy
    url = address.dialled_as(target.username, target.device)
    try:
        if proxy is True:
            # For a proxy of the environment 127.0.0.1 is another machine.
            proxy = None if address.is_loopback else get_proxy(parse_uri(url))
        if proxy is not None:
            _check_proxy(proxy)
        return await _Dialer(
            url,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]  # a NewType of str
            compression=None,
            additional_headers={**target.headers, **_authorization(token)},
            logger=_wire_log,
            proxy=proxy,
            open_timeout=DIAL_SECONDS,
            close_timeout=GOODBYE_SECONDS,
            max_size=MOST_FRAME_BYTES,
            max_queue=64,
        )
    except InvalidStatus as error:
        raise _refusal(address, error.response) from error
    except (InvalidHandshake, OSError, EOFError) as error:
        raise DialFailed(
            why_unreachable(address, error, has_proxy=proxy is not None),
            is_nobody_here=address.is_loopback and proxy is None and is_nobody(error),
        ) from error
    except ImportError as error:
        raise ClientError(
            "a SOCKS proxy needs the package python-socks: pip install 'python-socks[asyncio]'"
        ) from error
    except (InvalidURI, ValueError):  # no resolver takes this for a host
        raise Refused(f"{address.server} is no address of a server") from None


@asynccontextmanager
async def leaving(socket: ClientConnection) -> AsyncIterator[None]:
    """Close a connection at the end of the block, with the code for the way it ended."""
    try:
        yield
    except BaseException as problem:
        await socket.close(_goodbye(problem))
        raise
    await socket.close(CloseCode.NORMAL_CLOSURE)


def _goodbye(problem: BaseException) -> CloseCode:
    match problem:
        case asyncio.CancelledError():  # the program has left the chat
            return CloseCode.NORMAL_CLOSURE
        case NotLandline() | OtherProtocol():
            return CloseCode.PROTOCOL_ERROR
        case WrongUser():
            return CloseCode.POLICY_VIOLATION
        case _:  # this side cannot go on
            return CloseCode.INTERNAL_ERROR


def _check_proxy(proxy: str) -> None:
    """Raises: ClientError, without what may be the proxy's password."""
    try:
        parsed = parse_proxy(proxy)
        parsed.host.encode("idna")  # the resolver does it too, and would blame the server
        is_usable = urlsplit(proxy).port != 0
    except (InvalidProxy, ValueError):
        is_usable = False
    if not is_usable:
        scheme, separator, rest = proxy.rpartition("://")
        shown = repr(scheme.rpartition("@")[2] + separator + rest.rpartition("@")[2])
        raise ClientError(
            f"the proxy cannot be used: {shown} is none; give one like http://HOST:PORT or "
            "socks5://HOST:PORT, as `proxy` or in the environment (https_proxy and the like)"
        )


class _Dialer(connect):
    """Landline never redirects. A redirect comes from a proxy that wants something of a browser. To
    follow it would send messages for this server to another one.
    """

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow none."""
        return exc


def check_headers(headers: Mapping[str, str], *, has_token: bool = False) -> Mapping[str, str]:
    """Return headers that a request can have. Raises: ClientError, without the values: they may
    be secret.
    """
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ClientError(f"{name!r} cannot be the name of a header")
        if name.lower() in _OURS or name.lower().startswith("sec-websocket-"):
            raise ClientError(f"the header {name} is the WebSocket handshake's own: leave it out")
        if has_token and name.lower() == "authorization":
            raise ClientError(f"the header {name} is that of `token`: leave one of them out")
        if not _FIELD.fullmatch(value):
            raise ClientError(f"the value of the header {name} must be printable ASCII on one line")
    return dict(headers)


def _authorization(token: Token | None) -> Mapping[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token.text}"}


def _refusal(address: Address, response: Response) -> DialFailed:
    status = response.status_code
    name, value = FINAL_REFUSAL
    is_final = status in FINAL_STATUSES and response.headers.get_all(name) == [value]
    body = bytes(response.body or b"").decode("utf-8", "replace").strip()
    # Landline answers in a sentence; others may answer with any page.
    is_sentence = "\n" not in body and "<" not in body and len(body) < _REASON_CHARACTERS
    sentence = body if is_sentence else ""
    # The refusal is not final: it ends one day. But no client should ask for it all that time.
    is_closed = status == HTTPStatus.FORBIDDEN and body.startswith(LandlineCode.FORBIDDEN.means)
    return DialFailed(
        sentence
        if (is_final or is_closed) and sentence
        else why_refused(address, status, sentence),
        is_final=is_final,
        is_unauthenticated=is_final and status == HTTPStatus.UNAUTHORIZED,
        is_closed=is_closed,
        asked=asked_by_header(", ".join(response.headers.get_all("Retry-After"))),
    )
