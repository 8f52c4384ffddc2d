"""A connection that has not said yet who it is: it costs a socket, and that not for long."""

import asyncio
from collections.abc import Callable
from typing import Final

from landline.protocol.client_frames import Auth, BadFrame, decode

SIGN_IN_SECONDS: Final = 5.0
SIGN_IN_BYTES: Final = 8 * 1024

_FIRST: Final = 'the first frame must be {"type":"auth","token":...}'


class NotSignedIn(Exception):
    """It was no sign-in; `str(error)` says why."""


class SignIn:
    """The wait for the first frame, which is a token."""

    __slots__ = ("_bytes", "_timer", "is_checking")

    def __init__(self, too_late: Callable[[], None]) -> None:
        self._bytes = 0
        self._timer = asyncio.get_running_loop().call_later(SIGN_IN_SECONDS, too_late)
        self.is_checking = False  # then frames wait

    def cancel(self) -> None:
        """It is over, whichever way."""
        self._timer.cancel()

    def is_too_much(self, size_bytes: int) -> bool:
        """Bytes have come. Say whether they are more than a sign-in has."""
        self._bytes += size_bytes
        return self._bytes > SIGN_IN_BYTES

    def token(self, payload: bytes) -> str:
        """Return the token of the first frame. From now on frames wait. Raises: NotSignedIn."""
        try:
            frame = decode(payload.decode())
        except (UnicodeDecodeError, BadFrame):
            raise NotSignedIn(_FIRST) from None
        if not isinstance(frame, Auth):
            raise NotSignedIn(_FIRST)
        self.is_checking = True
        return frame.token
