"""TLS before HTTP: a connection is encrypted first, and one that cannot be has a line in the log.

A server of the loop's own could do it too. But that one keeps to itself whose handshake failed, and
why.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

from landline.gateway.acceptor import Acceptor
from landline.gateway.http_connection import HANDSHAKE_SECONDS, RESPONSE_SECONDS
from landline.gateway.reception import Peer
from landline.gateway.request_facts import shown_peer
from landline.observability.logging import get_logger

# How long the peer has for its goodbye. Before that it reads what was written, which the loop does
# not tell apart: so it is as long as without TLS for a slow reader. WebSockets are cut earlier.
SHUTDOWN_SECONDS: Final = RESPONSE_SECONDS
# What waits decrypted by nobody while a connection is not read; the loop reads it all the same, and
# would let 256 KiB pile up. It is more than the largest record of TLS.
UNREAD_BYTES: Final = 32 * 1024

_NOT_TLS: Final = "this is not TLS; connect with https:// or wss://"
_TOO_OLD: Final = "the client speaks only versions of TLS before 1.2"
# OpenSSL's names for what clients do wrong. What is not here is told by its name.
_REASONS: Final = {
    "HTTP_REQUEST": "this is HTTP without TLS; connect with https:// or wss://",
    "HTTPS_PROXY_REQUEST": "this is a request for a proxy, without TLS",
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
    "VERSION_TOO_LOW": _TOO_OLD,
    "NO_SHARED_CIPHER": "the client knows none of this server's ciphers",
}

P = TypeVar("P", bound=asyncio.Protocol)

log = get_logger(__name__)


class TlsServer(Generic[P]):
    """Listens, and gives each connection to a protocol once its handshake is done."""

    def __init__(
        self,
        sock: socket.socket,
        context: Callable[[], ssl.SSLContext],
        came: Callable[[Peer], P | None],
        went: Callable[[P], None],
        refused: Callable[[str], dict[str, int] | None],
    ) -> None:
        """`sock` listens already. `context` is asked for each connection: its certificate may be
        another one by then. For `came` and `went` see `Acceptor`. `refused` counts a handshake that
        failed, by its address, and says whether it has a line (`Refusals`).
        """
        self._context = context
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(sock, came, went, self._shake_hands)

    def close(self) -> None:
        """Accept no more connections, and cut those whose handshake is not done."""
        self._acceptor.close()

    async def _shake_hands(self, connection: socket.socket, address: Any, protocol: P) -> bool:
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except ConnectionAbortedError:
            self._note(address, f"no complete TLS handshake within {HANDSHAKE_SECONDS:g} s")
        except ssl.SSLError as error:
            self._note(address, reason_of(error))
        except OSError:
            pass  # it has hung up, as a probe does: nobody was refused
        else:
            cast("Any", transport).set_read_buffer_limits(UNREAD_BYTES)
            return True
        return False

    def _note(self, address: Any, reason: str) -> None:
        untold = self._refused(address[0])
        if untold is not None:
            log.info("tls_refused", reason=reason, peer=shown_peer(address), **untold)


def reason_of(error: ssl.SSLError) -> str:
    """Return in words why no handshake could be made."""
    name = error.reason or "no reason given"
    if name in _REASONS:
        return _REASONS[name]
    words = name.lower().replace("_", " ")
    _, is_alert, alert = words.rpartition("alert ")
    if is_alert:  # so the client says, of our certificate in most cases
        return f"the client has ended the handshake: {alert}"
    return f"no handshake could be made: {words}"
