"""A connection until it is known what it wants: one request is read, and answered or let in."""

import asyncio
import re
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Protocol, cast
from urllib.parse import unquote

from landline.api.http import HttpResponse, RequestRefused
from landline.gateway.http_request import HEAD_BYTES, Request, read_head
from landline.observability.logging import get_logger

HANDSHAKE_SECONDS: Final = 5.0
# An answer is followed by the end of our side; then what still comes is thrown away for a while.
# Hanging up at once would be a reset, which can overtake the answer (RFC 9112, section 9.6).
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1024 * 1024
# Frames behind an upgrade request that is not answered yet: some clients do not wait.
EARLY_BYTES: Final = 8 * 1024
# How long a slow reader may take for a page.
RESPONSE_SECONDS: Final = 30.0

# Before a request. No honest client sends more of them.
EMPTY_LINES: Final = 8

_END: Final = b"\r\n\r\n"
_NOT_BEGUN: Final = (bytearray(), bytearray(b"\r"))
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_SHOWN_CHARACTERS: Final = 200
_METHOD: Final = re.compile(r"[A-Za-z-]{1,20}")
# People misspell the sign before a query, and libraries escape it, sometimes twice.
_QUERY: Final = re.compile(r"[ \t?#;&]|%(?:25)*(?:3f|23|3b|26)", re.IGNORECASE)
_ORIGIN: Final = re.compile(r"^((?:[^/?#]*:/*)?[^/?#]*).*$", re.DOTALL)

log = get_logger(__name__)


class Admission(Protocol):
    """A WebSocket that is let in."""

    def take_over(self, transport: asyncio.Transport, early: bytes) -> None:
        """Answer the upgrade and own the connection; `early` is what came behind the request."""


class Reception(Protocol):
    """Decides on requests. It knows every connection, so that none outlives the listener."""

    def decide(self, request: Request, peer: str) -> HttpResponse | Admission:
        """Return what becomes of a request. Raises: RequestRefused."""

    def refused(self) -> None:
        """Count one that was sent away."""

    def came(self, connection: "HttpConnection") -> None:
        """Somebody has connected."""

    def went(self, connection: "HttpConnection") -> None:
        """They are let in, or gone."""


class HttpConnection(asyncio.Protocol):
    """Reads one request head, within bounds of time and bytes."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._transport: asyncio.Transport | None = None
        self._peer = "unknown"
        self._received = bytearray()
        self._thrown_away = 0
        self._empty_lines = 0
        self._is_answered = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._peer = shown_peer(transport.get_extra_info("peername"))
        self._wait(HANDSHAKE_SECONDS, self._time_is_up)
        self._reception.came(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._is_answered:
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_BYTES:
                self.abort()
            return
        looked_at = len(self._received)
        self._received += data
        looked_at = max(0, looked_at - self._skip_empty_lines())
        if self._received in _NOT_BEGUN:
            return
        end = self._received.find(_END, max(0, looked_at - len(_END) + 1))
        try:
            if end >= 0:
                self._take(end)
            else:
                self._check_beginning(looked_at)
        except RequestRefused as refused:
            self._refuse(refused)

    def eof_received(self) -> bool:
        """The peer says no more. Returns whether to keep our side open: no."""
        if self._received and not self._is_answered:
            self._refuse(RequestRefused(HTTPStatus.BAD_REQUEST, "the request is incomplete"))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone. An error is the peer's: when it is we who hang up, there is none."""
        if error is not None and self._received and not self._is_answered:
            self._note(
                RequestRefused(
                    HTTPStatus.BAD_REQUEST, "the request is incomplete: the connection was cut"
                )
            )
        self._leave()
        self._transport = None

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self, end: int) -> None:
        if end > HEAD_BYTES:
            raise _too_large()
        request = read_head(bytes(self._received[:end]))
        decided = self._reception.decide(request, self._peer)
        if isinstance(decided, HttpResponse):
            self._answer(decided, is_head=request.method == "HEAD")
            return
        early = bytes(self._received[end + len(_END) :])
        if len(early) > EARLY_BYTES:
            raise RequestRefused(
                HTTPStatus.BAD_REQUEST, "wait for the answer before you send frames"
            )
        transport = self._transport
        assert transport is not None, "bytes come from a connection"
        self._leave()
        decided.take_over(transport, early)

    def _skip_empty_lines(self) -> int:
        """Drop empty lines before the request, and return their bytes: some clients end what they
        have sent before with one too many (RFC 9112, section 2.2).
        """
        skipped = 0
        while self._empty_lines < EMPTY_LINES and self._received.startswith(b"\r\n"):
            del self._received[:2]
            self._empty_lines += 1
            skipped += 2
        return skipped

    def _check_beginning(self, looked_at: int) -> None:
        """Refuse at once what can never become a request, instead of waiting for its end."""
        if len(self._received) >= HEAD_BYTES + len(_END):  # its end may have come in part
            raise _too_large()
        if not self._received[:1].isalpha():
            raise RequestRefused(
                HTTPStatus.BAD_REQUEST, "this is not HTTP; this port does not accept TLS"
            )
        if _BARE_LINE_FEED.search(self._received, max(0, looked_at - 1)):
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "each line must end with CR LF")

    def _time_is_up(self) -> None:
        reason = f"no complete request within {HANDSHAKE_SECONDS:g} s"
        self._refuse(RequestRefused(HTTPStatus.REQUEST_TIMEOUT, reason))

    def _refuse(self, refused: RequestRefused) -> None:
        self._note(refused)
        if not self._received:  # it never spoke: it may be a browser's spare connection
            self.abort()
            return
        self._answer(refused.answer(), is_head=self._received.startswith(b"HEAD "))

    def _note(self, refused: RequestRefused) -> None:
        """Count it, and say whose it was."""
        self._reception.refused()
        facts = _facts(bytes(self._received[: HEAD_BYTES + 1]))
        log.info(
            "upgrade_refused" if facts.pop("is_upgrade") else "request_refused",
            status=int(refused.status),
            reason=refused.reason,
            peer=self._peer,
            **facts,
        )

    def _answer(self, answer: HttpResponse, *, is_head: bool) -> None:
        transport = self._transport
        assert transport is not None, "there is somebody to answer"
        self._is_answered = True
        self._received.clear()
        transport.write(_response(answer, is_head=is_head))
        if transport.can_write_eof():
            transport.write_eof()
            self._wait(LINGER_SECONDS, self._hang_up, RESPONSE_SECONDS)
        else:
            transport.close()

    def _hang_up(self, seconds_left: float) -> None:
        transport = self._transport
        if transport is None:
            return
        if not transport.get_write_buffer_size():
            transport.close()
        elif seconds_left > 0:
            self._wait(LINGER_SECONDS, self._hang_up, seconds_left - LINGER_SECONDS)
        else:
            self.abort()

    def _wait(self, seconds: float, then: Callable[..., None], *arguments: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then, *arguments)

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._reception.went(self)


def shown_peer(peername: Any) -> str:
    """Return an address as the log shows it, IPv6 in brackets as in a URL."""
    if not peername:
        return "unknown"
    host, port = peername[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _response(answer: HttpResponse, *, is_head: bool) -> bytes:
    """Return the response (RFC 9112, section 4). The connection is never used again."""
    headers = {
        "Date": formatdate(usegmt=True),
        "Content-Type": answer.content_type,
        "Content-Length": str(len(answer.body)),
        "Connection": "close",
        **answer.headers,
    }
    lines = [f"HTTP/1.1 {answer.status.value} {answer.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    return head if is_head else head + answer.body


def _too_large() -> RequestRefused:
    return RequestRefused(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"a request's headers have at most {HEAD_BYTES} bytes",
    )


def _facts(head: bytes) -> dict[str, Any]:
    """Return what a line in the log says of a request, however broken it is.

    It leaves out the query, however it was misspelt, and the user info of a URL: they may hold a
    secret. It also leaves out a method that is none.
    """
    text = head.decode("utf-8", "surrogateescape")
    method, rest = re.split(r"[ \t]|$", text.partition("\r\n")[0], maxsplit=1)
    query = re.split(r"[ #]", rest, maxsplit=1)[0].partition("?")[2]
    user = _find(r"^username:[ \t]*([^\r\n]*)", text) or _find(r"(?:^|&)username=([^&;?]*)", query)
    origin = _find(r"^origin:[ \t]*([^\r\n]*)", text)
    given = {
        "method": method if _METHOD.fullmatch(method) else "",
        "path": _QUERY.split(_without_credentials(rest), maxsplit=1)[0],
        "origin": _ORIGIN.sub(r"\1", _without_credentials(origin)),
        "user": unquote(user, errors="backslashreplace"),
    }
    facts: dict[str, Any] = {name: value for name, value in given.items() if value}
    facts = {name: value[:_SHOWN_CHARACTERS] for name, value in facts.items()}
    return facts | {"is_upgrade": bool(_find(r"^upgrade:[ \t]*([^\r\n]*)", text))}


def _without_credentials(target: str) -> str:
    """Return it as it is where it is a path, which has no host and nothing before one.

    Elsewhere all up to the last @ may be user and password, whatever stands between.
    """
    if target.startswith("/") and not target.startswith("//"):
        return target
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:/+|/*).*@", r"\1***@", target, flags=re.DOTALL)


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""
