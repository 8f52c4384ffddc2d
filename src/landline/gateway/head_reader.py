"""Finds the end of a request's head, and what can never become one. Sans-I/O."""

import re
from http import HTTPStatus
from typing import Final

from landline.api.http import RequestRefused
from landline.gateway.http_request import HEAD_BYTES

# Before a request. No honest client sends more of them.
EMPTY_LINES: Final = 8

_END: Final = b"\r\n\r\n"
_NOT_BEGUN: Final = (bytearray(), bytearray(b"\r"))
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")


class HeadReader:
    """Reads one head after the other; each byte is looked at once."""

    __slots__ = ("_empty_lines", "_looked_at")

    def __init__(self) -> None:
        self._looked_at = 0
        self._empty_lines = 0

    def read(self, received: bytearray) -> bytes | None:
        """Take a head out of what has come, without the empty line at its end; None where it is
        not whole yet.

        Raises: RequestRefused, for what can never become one.
        """
        self._looked_at = max(0, self._looked_at - self._skip_empty_lines(received))
        if received in _NOT_BEGUN:
            return None
        end = received.find(_END, max(0, self._looked_at - len(_END) + 1))
        if end < 0:
            _check_beginning(received, self._looked_at)
            self._looked_at = len(received)
            return None
        if end > HEAD_BYTES:
            raise _too_large()
        head = bytes(received[:end])
        del received[: end + len(_END)]
        self._looked_at = self._empty_lines = 0
        return head

    def _skip_empty_lines(self, received: bytearray) -> int:
        """Drop empty lines before the request, and return their bytes: some clients end what they
        have sent before with one too many (RFC 9112, section 2.2).
        """
        skipped = 0
        while self._empty_lines < EMPTY_LINES and received.startswith(b"\r\n"):
            del received[:2]
            self._empty_lines += 1
            skipped += 2
        return skipped


def _check_beginning(received: bytearray, looked_at: int) -> None:
    """Refuse at once what can never become a request, instead of waiting for its end."""
    if len(received) >= HEAD_BYTES + len(_END):  # its end may have come in part
        raise _too_large()
    if not received[:1].isalpha():
        raise RequestRefused(
            HTTPStatus.BAD_REQUEST, "this is not HTTP; this port does not accept TLS"
        )
    if _BARE_LINE_FEED.search(received, max(0, looked_at - 1)):
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "each line must end with CR LF")


def _too_large() -> RequestRefused:
    return RequestRefused(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"a request's headers have at most {HEAD_BYTES} bytes",
    )
