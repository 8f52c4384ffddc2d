"""Who somebody is: by the name that they give, by a token, or by the word of a trusted proxy.

The one place that decides it, for WebSockets and requests alike.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from landline.api.http import RequestRefused
from landline.auth.principal import LEEWAY_SECONDS, Principal
from landline.auth.tokens import BadToken, KeysUnavailable, Tokens, UnknownKey
from landline.protocol.identity import BadName, check_user_name

# The keys of the issuer may have to be fetched first.
CHECK_SECONDS: Final = 10.0
# RFC 6750, section 3: how a client learns what is wanted here.
_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}
_BAD_TOKEN: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of who sends it. `names` are those in the header `username`, `asked`
    those in the query, `authorization` the lines of that header.
    """

    names: Sequence[str] = ()
    asked: Sequence[str] = ()
    authorization: Sequence[str] = ()
    is_from_proxy: bool = False


class Gatekeeper:
    """Knows who somebody is, or why they are not let in."""

    def __init__(self, auth: str, tokens: Tokens | None = None) -> None:
        """`auth`: `none`, `jwt` or `proxy`; `tokens` checks them for `jwt`."""
        assert (auth == "jwt") == (tokens is not None), "tokens are for jwt"
        self.auth = auth
        self._tokens = tokens

    def claimed(self, shown: Shown) -> Principal | str | None:
        """Return what needs no waiting: who it is, or with `jwt` the token that says it; None where
        a token is to come as the first frame.

        Raises: RequestRefused.
        """
        if self.auth == "jwt":
            return _bearer(shown.authorization)
        if self.auth == "proxy":
            return Principal(_name_by_proxy(shown))
        return Principal(_one_name([*shown.names, *shown.asked]))

    async def identify(self, shown: Shown) -> Principal:
        """Return who sends a request. Raises: RequestRefused."""
        claimed = self.claimed(shown)
        if claimed is None:
            raise RequestRefused(
                HTTPStatus.UNAUTHORIZED, "no token: give it as Authorization: Bearer", _CHALLENGE
            )
        if isinstance(claimed, Principal):
            return claimed
        return await self.check(claimed, claimed_name(shown))

    async def check(self, token: str, name: str | None) -> Principal:
        """Return whose token this is; where a name was given too, it has to be the same.

        Raises: RequestRefused.
        """
        assert self._tokens is not None, "a token is looked at with jwt alone"
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                principal = await self._tokens.check(token)
        except BadToken as error:
            is_early = isinstance(error, UnknownKey)  # the keys are looked for again in a moment
            raise RequestRefused(
                HTTPStatus.UNAUTHORIZED, str(error), _BAD_TOKEN, is_passing=is_early
            ) from None
        except (KeysUnavailable, TimeoutError):
            raise RequestRefused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "tokens cannot be checked now; try again soon",
                {"Retry-After": "2"},
            ) from None
        if name not in (None, principal.user):
            raise RequestRefused(
                HTTPStatus.FORBIDDEN, "username is another one than the token's user"
            )
        return principal


def check_expiry(principal: Principal, now_ms: int) -> None:
    """Look at the time again, after a wait. Raises: RequestRefused, where the token has expired."""
    expires_at = principal.expires_at
    if expires_at is not None and now_ms >= (expires_at + LEEWAY_SECONDS) * 1000:
        raise RequestRefused(HTTPStatus.UNAUTHORIZED, "the token has expired", _BAD_TOKEN)


def claimed_name(shown: Shown) -> str | None:
    """Return the name that is given beside a token. Raises: RequestRefused where there are two."""
    given = {*shown.names, *shown.asked}
    if len(given) > 1:
        raise _two_names()
    return given.pop() if given else None


def _bearer(authorization: Sequence[str]) -> str | None:
    if not authorization:
        return None
    if len(authorization) > 1:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "the header authorization is given twice")
    scheme, _, token = authorization[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip(" "):
        raise RequestRefused(
            HTTPStatus.UNAUTHORIZED, "Authorization is not Bearer and a token", _CHALLENGE
        )
    return token.strip(" ")


def _name_by_proxy(shown: Shown) -> str:
    if not shown.is_from_proxy:
        raise RequestRefused(
            HTTPStatus.FORBIDDEN, "connect through the proxy that signs users in, not directly"
        )
    if len(shown.names) > 1:
        raise _two_names()
    if not shown.names:
        raise RequestRefused(
            HTTPStatus.UNAUTHORIZED, "the proxy has named no user in the header username"
        )
    return _one_name([*shown.names, *shown.asked])


def _one_name(given: Sequence[str]) -> str:
    if not given:
        raise RequestRefused(
            HTTPStatus.UNAUTHORIZED,
            "no user name: give it as the header username, or in the query of a WebSocket",
        )
    if len(set(given)) > 1:
        raise _two_names()
    try:
        return check_user_name(given[0])
    except BadName as error:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, str(error)) from None


def _two_names() -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, "two different values of username are given")
