"""Who this client says it is: nothing, one token, or a function that brings fresh ones.

A token is in a header or in an `auth` frame and nowhere else: in no URL, log, error or `repr`.
"""

import asyncio
import base64
import binascii
import inspect
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from landline.client.errors import ClientError, Refused, TokenRefused, TokenUnavailable

TokenSource = str | Callable[[], str | Awaitable[str]]

TOKEN_SECONDS = 30.0  # a function that brings none for this long has failed
TOKEN_BYTES = 8_000  # no server takes a longer one
# How long fresh tokens may be refused before it is certain that more of them do not help. A server
# asks for an issuer's new keys at most once in 30 s, and refuses their tokens until then.
REFUSED_SECONDS = 60.0
# A session is renewed so long before the end of its token, or a tenth of its life if that is less.
SPARE_SECONDS = 30.0
_SPARE_SHARE = 0.1

_FIT = re.compile(r"[\x21-\x7e]+")

_log = logging.getLogger("landline.client")


@dataclass(frozen=True, slots=True)
class Token:
    """A token. Its times are in seconds since the Unix epoch, if it tells them."""

    text: str = field(repr=False)
    expires_at: float | None = None
    issued_at: float | None = None

    def seconds_to_renewal(self, now: float) -> float | None:
        """Return how long a session may go on before it has to be renewed; None: for ever.

        A server has taken the token. So one that seems to have expired shows that this machine's
        clock is wrong, and only the token's own times count.
        """
        if self.expires_at is None:
            return None
        lives = [self.expires_at - now]
        if self.issued_at is not None:
            lives.append(self.expires_at - self.issued_at)
        left = min((life for life in lives if life > 0), default=None)
        return None if left is None else left - min(SPARE_SECONDS, left * _SPARE_SHARE)


def read_token(text: object) -> Token:
    """Return the token that this is. It is read without its key: only the server can check it.

    Raises: TypeError, ClientError; neither repeats it.
    """
    if not isinstance(text, str):
        raise TypeError(f"a token must be a str, not {type(text).__name__}")
    text = text.strip(" \t\r\n")  # a file ends with a line
    if not text:
        raise ClientError("the token is empty")
    if len(text) > TOKEN_BYTES:
        raise ClientError(f"a token has at most {TOKEN_BYTES:,} characters")
    if not _FIT.fullmatch(text):
        raise ClientError("a token has printable characters of ASCII alone, and no blanks")
    claims = _claims(text)
    return Token(text, _seconds(claims.get("exp")), _seconds(claims.get("iat")))


def subject(token: str) -> str | None:
    """Return whom a token names in the claim `sub`, unchecked; None if it names nobody."""
    named = _claims(token).get("sub")
    return named if isinstance(named, str) else None


class Credentials:
    """Brings a token for each connection, and knows whether another one may help."""

    def __init__(self, source: TokenSource | None) -> None:
        """Raises: TypeError, ClientError."""
        self._source = source if callable(source) else None
        self._fixed = None if source is None or callable(source) else read_token(source)
        self._refused_since: float | None = None

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return self._source is not None or self._fixed is not None

    @property
    def is_renewable(self) -> bool:
        """Say whether a function brings fresh tokens."""
        return self._source is not None

    async def token(self) -> Token | None:
        """Return a token for a connection that begins now, None where there are no credentials.

        Raises: TokenUnavailable, after which asking again may help; any other ClientError ends the
        chat, also one that the function raises.
        """
        if self._source is None:
            return self._fixed
        try:
            text = await self._asked(self._source)
        except ClientError:
            raise
        except Exception as error:
            # Its text is the program's own and may hold the token, or what bought it.
            _log.warning("the function `token` raised %s", type(error).__name__)
            raise TokenUnavailable(f"the function `token` raised {type(error).__name__}") from error
        try:
            return read_token(text)
        except (TypeError, ClientError) as error:
            raise ClientError(f"the function `token` returned none: {error}") from None

    async def _asked(self, source: Callable[[], Any]) -> object:
        answer = source()
        if not inspect.isawaitable(answer):
            return answer
        # A task of its own: what cancels the function is not what cancels the chat.
        task = asyncio.ensure_future(answer)
        try:
            await asyncio.wait({task}, timeout=TOKEN_SECONDS)
            if task.done() and not task.cancelled():
                return task.result()
        finally:
            task.cancel()
        how = "was cancelled" if task.done() else f"brought none within {TOKEN_SECONDS:g} s"
        raise TokenUnavailable(f"the function `token` {how}")

    def taken(self) -> None:
        """A server has begun a session."""
        self._refused_since = None

    def refused(self, why: str, now: float) -> Refused | None:
        """A server has not taken the token, or no longer. Return the error that ends the chat; None
        where a fresh token may help. `now`: seconds of a clock that never jumps.
        """
        if not self:
            return Refused(
                f"the server wants to know who this is: {why}; give a token, in a terminal with"
                " --token-file"
            )
        if self._source is None:
            return TokenRefused(f"the token has expired or was refused: {why}")
        if self._refused_since is None:
            self._refused_since = now
        if now - self._refused_since < REFUSED_SECONDS:
            return None
        return TokenRefused(f"fresh tokens were refused for {REFUSED_SECONDS:g} s: {why}")


def _claims(text: str) -> dict[str, Any]:
    """Return what a JSON Web Token says (RFC 7519, section 3), nothing if it is none."""
    parts = text.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _seconds(time: object) -> float | None:
    is_number = isinstance(time, int | float) and not isinstance(time, bool)
    return float(time) if is_number else None  # type: ignore[arg-type]
