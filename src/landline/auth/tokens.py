"""JSON Web Tokens: from the text that a client shows to who it is.

Checked with PyJWT, and more strictly where it is lenient: one algorithm a key, `exp` needed, times
that are numbers, no critical extension, a bound on the length.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)
from jwt.types import Options

from landline.auth.keys import Key, KeySet
from landline.auth.principal import LEEWAY_SECONDS, Principal
from landline.protocol.identity import BadName, check_user_name

# A frame with a token, which is the first one, has 8 KiB altogether.
TOKEN_BYTES: Final = 8_000
# The issuer's clock may be ahead of ours: that is no reason to send its users away.
EARLY_SECONDS: Final = 30.0
# Later than that is no time: the year 9999 ends before.
_LAST_TIME: Final = 253_402_300_800
_KIDS: Final = 256

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

# What a token is checked for here rather than by PyJWT, or not at all: `iat` is only information.
_OPTIONS: Final[Options] = {
    "require": ["exp"],
    "verify_iat": False,
    "verify_nbf": False,
    "verify_sub": False,
    "verify_jti": False,
}


class BadToken(Exception):
    """A token that is not taken. `str(error)` says why, in words that hold nothing of it."""


class UnknownKey(BadToken):
    """A token of a key that is not known: it may have come a moment too early."""


class KeysUnavailable(Exception):
    """Nobody can say whether a token is good: there are no keys yet."""


class KeySource(Protocol):
    """Where the keys are."""

    async def keys_for(self, algorithm: str, kid: str | None) -> KeySet:
        """Return the keys that are good now; it looks again where none of them fits.

        Raises: KeysUnavailable, where it cannot say whether there is one that fits.
        """

    def may_get_more(self, algorithm: str) -> bool:
        """Say whether keys for this algorithm may come without anybody's doing here."""

    async def look_again(self, keys: KeySet, kid: str | None) -> KeySet | None:
        """None of these has signed a token. Return the keys that are good by now, where there may
        be another one that this `kid` means; None where there is none.
        """


class FileKeys:
    """Keys from files, which are read again when somebody says so."""

    def __init__(self, read: Callable[[], KeySet]) -> None:
        """`read` returns the keys. Raises: whatever `read` does."""
        self._read = read
        self._keys = read()

    def read_again(self) -> None:
        """Read the files again. Where that fails, the keys stay as they were."""
        self._keys = self._read()

    async def keys_for(self, _algorithm: str, _kid: str | None) -> KeySet:
        """See `KeySource`."""
        return self._keys

    def may_get_more(self, _algorithm: str) -> bool:
        """See `KeySource`."""
        return False

    async def look_again(self, _keys: KeySet, _kid: str | None) -> KeySet | None:
        """See `KeySource`."""
        return None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token has to say: `issuer` and `audience` where they are asked for; `user` and `role`
    are the names of the claims that say who it is.
    """

    issuer: str | None = None
    audience: str | None = None
    user: str = "sub"
    role: str = "role"


SERVICE_ROLE: Final = "service"


class Tokens:
    """Checks tokens."""

    def __init__(
        self, sources: Sequence[KeySource], claims: Claims, wall_seconds: Callable[[], float]
    ) -> None:
        """`sources`: where keys are, e.g. the backend's own in a file and those of an issuer."""
        self._sources = sources
        self._claims = claims
        self._wall_seconds = wall_seconds

    async def check(self, token: str) -> Principal:
        """Return who shows this token. Raises: BadToken, KeysUnavailable."""
        if len(token) > TOKEN_BYTES:
            raise BadToken(f"the token has more than {TOKEN_BYTES} bytes")
        if not _SHAPE.fullmatch(token):
            raise BadToken("this is not a signed JSON Web Token")
        algorithm, kid = _header(token)
        missing: KeysUnavailable | None = None
        is_known = False
        for source in self._sources:
            try:
                keys = await source.keys_for(algorithm, kid)
                found = self._claims_of(token, algorithm, keys.find(algorithm, kid))
                if found is None and (others := await source.look_again(keys, kid)) is not None:
                    found = self._claims_of(token, algorithm, others.find(algorithm, kid))
            except KeysUnavailable as error:  # another source may know it
                missing = error
                continue
            if found is not None:
                return self._principal(found)
            is_known = is_known or bool(keys.find(algorithm, kid))
        if missing is not None:
            raise missing
        if is_known:
            raise BadToken("the token's signature is wrong")
        reason = "the token is signed with a key or an algorithm that is not known here"
        may_come = any(source.may_get_more(algorithm) for source in self._sources)
        raise UnknownKey(reason) if may_come else BadToken(reason)

    def _claims_of(
        self, token: str, algorithm: str, keys: Sequence[Key]
    ) -> Mapping[str, Any] | None:
        """Return the claims of a token that one of these keys has signed; None where none has.

        Raises: BadToken.
        """
        for key in keys:
            with suppress(InvalidSignatureError):
                return self._decoded(token, key.material, algorithm)
        return None

    def _decoded(self, token: str, material: Any, algorithm: str) -> Mapping[str, Any]:
        try:
            return jwt.decode(
                token,
                material,
                algorithms=[algorithm],
                audience=self._claims.audience,
                issuer=self._claims.issuer,
                leeway=LEEWAY_SECONDS,
                options=_OPTIONS,
            )
        except InvalidSignatureError:
            raise
        except PyJWTError as error:
            raise BadToken(self._reason(error)) from None
        except (ValueError, TypeError, RecursionError):
            raise BadToken("the token cannot be read") from None

    def _reason(self, error: PyJWTError) -> str:
        match error:
            case ExpiredSignatureError():
                return "the token has expired"
            case MissingRequiredClaimError(claim="exp"):
                return "the token has no time at which it expires (exp)"
            case MissingRequiredClaimError(claim="aud") | InvalidAudienceError():
                if self._claims.audience is None:
                    return "the token is for an audience (aud); this server has no --jwt-audience"
                return "the token is for another audience (aud)"
            case MissingRequiredClaimError(claim="iss") | InvalidIssuerError():
                return "the token is from another issuer (iss)"
            case _:
                return "the token cannot be read"

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        now = self._wall_seconds()
        expires_at = _time(claims, "exp")
        if expires_at is None or expires_at <= now - LEEWAY_SECONDS:
            raise BadToken("the token has expired")
        not_before = _time(claims, "nbf")
        if not_before is not None and not_before > now + EARLY_SECONDS:
            raise BadToken("the token is not valid yet")
        user, role = claims.get(self._claims.user), claims.get(self._claims.role)
        if user is None:
            raise BadToken(f"the token does not say who it is for ({self._claims.user})")
        if not isinstance(user, str):
            raise BadToken(
                f"the token names who it is for by what is no text ({self._claims.user})"
            )
        try:
            check_user_name(user)
        except BadName as error:
            raise BadToken(f"the token is for nobody: {error}") from None
        return Principal(user, role == SERVICE_ROLE, expires_at, is_late=expires_at <= now)


def _header(token: str) -> tuple[str, str | None]:
    try:
        header = jwt.get_unverified_header(token)
    except (PyJWTError, ValueError, TypeError, RecursionError):
        raise BadToken("the token cannot be read") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not (kid is None or isinstance(kid, str)):
        raise BadToken("the token cannot be read")
    if kid is not None and len(kid) > _KIDS:
        raise BadToken("the token names its key by more than 256 characters")
    if "crit" in header:  # RFC 7515, section 4.1.11: who does not know the extension refuses
        raise BadToken("the token needs an extension that is not known here (crit)")
    return algorithm, kid


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a time in seconds since the Unix epoch; PyJWT takes text for a number as well."""
    given = claims.get(name)
    if given is None:
        return None
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or not 0 <= given < _LAST_TIME:  # which no infinity is, and no NaN
        raise BadToken(f"the token has a time that cannot be read ({name})")
    return float(given)


def minted(secret: bytes, user: str, *, expires_at: float, is_service: bool, claims: Claims) -> str:
    """Return a token for this user, signed with a secret: for development, and for tests."""
    said: dict[str, Any] = {claims.user: user, "exp": int(expires_at)}
    if is_service:
        said[claims.role] = SERVICE_ROLE
    if claims.issuer is not None:
        said["iss"] = claims.issuer
    if claims.audience is not None:
        said["aud"] = claims.audience
    return jwt.encode(said, secret, "HS256")
