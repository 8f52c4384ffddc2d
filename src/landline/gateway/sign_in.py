"""A connection that has not said yet who it is: it costs a socket, and that not for long."""

import asyncio
from collections.abc import Callable
from typing import Final

from landline.protocol.client_frames import Auth, BadFrame, decode
from landline.protocol.codes import CloseCode

SIGN_IN_SECONDS: Final = 5.0
SIGN_IN_BYTES: Final = 8 * 1024

_FIRST: Final = 'the first frame must be {"type":"auth","token":...}'


class NotSignedIn(Exception):
    """It was no sign-in; `str(error)` says why."""


class SignIn:
    """The wait for the first frame, which is a token."""

    __slots__ = ("_bytes", "_timer")

    def __init__(self, close: Callable[[CloseCode, str], None]) -> None:
        """`close` is called where nothing comes in time."""
        self._bytes = 0
        self._timer = asyncio.get_running_loop().call_later(
            SIGN_IN_SECONDS,
            close,
            CloseCode.NOT_AUTHENTICATED,
            f"no token within {SIGN_IN_SECONDS:g} s",
        )

    def cancel(self) -> None:
        """It is over, whichever way."""
        self._timer.cancel()

    def is_too_much(self, size_bytes: int) -> bool:
        """Bytes have come. Say whether they are more than a sign-in has."""
        self._bytes += size_bytes
        return self._bytes > SIGN_IN_BYTES

    def token(self, payload: bytes) -> str:
        """Return the token of the first frame. Raises: NotSignedIn."""
        try:
            frame = decode(payload.decode())
        except (UnicodeDecodeError, BadFrame):
            raise NotSignedIn(_FIRST) from None
        if not isinstance(frame, Auth):
            raise NotSignedIn(_FIRST)
        return frame.token
