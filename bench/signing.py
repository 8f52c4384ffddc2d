"""Tokens for the users of a measurement, and the options of a server that checks them."""

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LIFE_SECONDS: Final = 3_600

# The largest limits that an option takes are larger still. Nothing of a load comes near these, so
# only the work of counting is left.
HIGH_LIMITS: Final = [
    "--limit-messages", "1000000", "--limit-bytes", "1024MiB", "--limit-frames", "1000000",
    "--limit-user-connections", "1000000", "--limit-address-connections", "1000000",
    "--limit-handshakes", "1000000",
]  # fmt: skip


class Signer:
    """Signs tokens with a key of one algorithm; a server checks them by a file in `directory`."""

    def __init__(self, algorithm: str, directory: Path) -> None:
        """`algorithm`: HS256, RS256 or EdDSA."""
        self._algorithm = algorithm
        self._key, public = _new_key(algorithm)
        option = "--jwt-secret-file" if public is None else "--jwt-public-key-file"
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "key"
        file.touch(mode=0o600)
        file.write_bytes(self._key if public is None else public)
        self.arguments: Sequence[str] = ["--auth", "jwt", option, str(file)]

    def token(self, user: str) -> str:
        """Return a token that lasts longer than the measurement."""
        claims = {"sub": user, "exp": int(time.time()) + LIFE_SECONDS}
        return jwt.encode(claims, self._key, self._algorithm)

    def headers(self, user: str) -> Mapping[str, str]:
        """Return what a handshake of this user has besides its name."""
        return {"Authorization": f"Bearer {self.token(user)}"}


def no_headers(_user: str) -> Mapping[str, str]:
    """Return what a handshake has where a server takes any name."""
    return {}


def _new_key(algorithm: str) -> tuple[Any, bytes | None]:
    """Return a key to sign with, and its public part in PEM; None where it is a secret."""
    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    match algorithm:
        case "HS256":
            return secrets.token_urlsafe(32).encode(), None
        case "RS256":
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
        case _:
            raise ValueError(f"no key is made here for {algorithm}")
    public = private.public_key()
    return private, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
