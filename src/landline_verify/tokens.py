"""Tokens for the users of a run, where the servers check who somebody is (HS256)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import jwt

from landline_verify.errors import VerifyError

# RFC 7518, section 3.2.
SECRET_BYTES: Final = 32
# Each connection has a token of its own.
_LIFE_SECONDS: Final = 3_600.0
_MOST_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class TokenMaker:
    """Makes tokens with the servers' secret; the rest is what they ask of a token."""

    secret: bytes = field(repr=False)
    issuer: str | None = None
    audience: str | None = None
    user_claim: str = "sub"

    def make(self, user: str) -> str:
        """Return a token for this user."""
        claims: dict[str, object] = {self.user_claim: user, "exp": time.time() + _LIFE_SECONDS}
        if self.issuer is not None:
            claims["iss"] = self.issuer
        if self.audience is not None:
            claims["aud"] = self.audience
        return jwt.encode(claims, self.secret, "HS256")


def headers(maker: TokenMaker | None, user: str) -> Mapping[str, str]:
    """Return what a handshake of this user has besides its name."""
    return {} if maker is None else {"Authorization": f"Bearer {maker.make(user)}"}


def read_secret(path: Path) -> bytes:
    """Return the secret of a file, as a server reads it. Raises: VerifyError, without it."""
    try:
        with path.open("rb") as file:
            secret = file.read(_MOST_BYTES).rstrip(b"\r\n")
    except OSError as error:
        raise VerifyError(
            f"--jwt-secret-file {path}: this file cannot be read ({error.strerror});"
            " give the one of the servers"
        ) from None
    if len(secret) < SECRET_BYTES:
        raise VerifyError(
            f"--jwt-secret-file {path}: this file holds {len(secret)} bytes, and a secret has"
            f" {SECRET_BYTES} or more; give the one of the servers"
        )
    return secret
