"""Why there is no connection, in sentences for people."""

import errno
import os
import re
import socket
import ssl
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.exceptions import InvalidMessage

from landline.client.address import Address
from landline.client.reconnecting import RETRY_AFTER_MS
from landline.protocol.codes import CloseCode

# How OpenSSL says that the other side answers in plain text.
_PLAIN = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
_PATHS = ("/ws/chat", "/ws")
_BY_CODE: dict[int, str] = {
    CloseCode.GOING_AWAY: "the server is going away",
    CloseCode.INTERNAL: "the server had an internal error",
    CloseCode.RESTARTING: "the server is restarting",
    CloseCode.OVERLOADED: "the server is overloaded",
    CloseCode.NO_PROGRESS: "no answer came in time",
}
# If a name has several addresses, asyncio puts all their failures into one text.
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def why_closed(code: int | None, reason: str) -> str:
    """Return why a connection ended, in words, without what is meant for programs."""
    said = RETRY_AFTER_MS.sub("", reason).strip(" \t,;:.")
    return said or _BY_CODE.get(code or 0, "the connection was lost")


def why_refused(address: Address, status: int, sentence: str) -> str:
    """Return why an HTTP answer brought no WebSocket."""
    said = f"the address answers with HTTP {status}"
    if status == HTTPStatus.NOT_FOUND or status < HTTPStatus.BAD_REQUEST:
        is_usual = urlsplit(address.server).path.endswith(_PATHS)
        return f"{said}: is {'it right' if is_usual else 'the path /ws/chat'}?"
    return f"{said}: {sentence}" if sentence else said


def why_unreachable(address: Address, error: Exception, *, has_proxy: bool) -> str:
    """Return why the server could not be reached."""
    where = _host_and_port(address)
    if isinstance(error, socket.gaierror):
        return f"there is no address for {where}: {error.strerror}"
    if isinstance(error, ssl.SSLError):
        is_plain = error.reason in _PLAIN
        advice = "; it speaks no TLS: is it ws:// and not wss://?" if is_plain else ""
        return f"TLS with {where} fails: {error}{advice}"
    if isinstance(error, InvalidMessage) and address.server.startswith("ws:"):
        return f"{where} does not speak HTTP: is it wss:// and not ws://?"
    if has_proxy or not isinstance(error, OSError):
        return str(error) or type(error).__name__
    if is_nobody(error):
        return f"nothing listens at {where}"
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"{where} does not answer"
    numbers = _errnos(error)
    said = os.strerror(numbers[-1]).lower() if numbers else str(error) or type(error).__name__
    return f"{where} cannot be reached: {said}"


def is_nobody(error: Exception) -> bool:
    """Say whether nothing listens at an address, or at any of several that a name has."""
    return errno.ECONNREFUSED in _errnos(error)


def _errnos(error: Exception) -> list[int]:
    number = getattr(error, "errno", None)
    return [number] if number is not None else [int(each) for each in _ERRNO.findall(str(error))]


def _host_and_port(address: Address) -> str:
    return urlsplit(address.server).netloc
