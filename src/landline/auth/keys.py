"""Keys that tokens are checked with: from a file, or from a set that the issuer publishes.

Which algorithm a key is for follows from the key, never from a token. So a public key is never
taken for a secret (RFC 8725, section 2.1).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt import PyJWK
from jwt.exceptions import PyJWTError

# RFC 7518, sections 3.2 and 3.3.
SECRET_BYTES: Final = 32
_RSA_BITS: Final = 2048
# An issuer has a handful. More would only cost those who are asked which one it is.
JWKS_KEYS: Final = 100

# Whoever checks with a secret could sign with it: it is never published.
PUBLISHED: Final = frozenset({"RS256", "ES256", "EdDSA"})

_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_PEM: Final = b"-----BEGIN "


class BadKey(ValueError):
    """What tokens cannot be checked with. `str(error)` says why, and nothing of the key."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, the one algorithm that it is for, and its name (`kid`), if it has one."""

    algorithm: str
    material: Any
    kid: str | None = None

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, kid={self.kid!r})"


class KeySet:
    """The keys that are good now."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def are_named(self) -> bool:
        """Say whether every key has a name, so that a token can say which one it means."""
        return all(key.kid is not None for key in self._keys)

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Return the keys that a token with this header may be signed with. A key without a name
        is meant by every name, and a token without one means every key of its algorithm.
        """
        return [
            key
            for key in self._keys
            if key.algorithm == algorithm and (kid is None or key.kid is None or key.kid == kid)
        ]


def secret_key(content: bytes) -> Key:
    """Return the key of a file with a secret. Line ends behind it are not part of it.

    Raises: BadKey.
    """
    secret = content.rstrip(b"\r\n")
    if secret.lstrip().startswith(_PEM):
        raise BadKey("holds a key or a certificate, not a secret")
    if len(secret) < SECRET_BYTES:
        raise BadKey(f"holds {len(secret)} bytes, and a secret has {SECRET_BYTES} or more")
    return Key("HS256", secret)


def public_key(content: bytes) -> Key:
    """Return the key of a PEM file: a public key, or a certificate with one. Raises: BadKey."""
    if b"PRIVATE KEY-----" in content:
        raise BadKey("holds a private key, which stays with whoever signs tokens")
    try:
        if _CERTIFICATE in content:
            material: Any = load_pem_x509_certificate(content).public_key()
        else:
            material = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("holds no public key in PEM") from None
    return Key(_algorithm_of(material), material)


def published_keys(content: bytes) -> KeySet:
    """Return the keys of a JSON Web Key Set (RFC 7517) that are for signatures and of a kind that
    is taken here. Others are skipped: an issuer may publish keys for other purposes.

    Raises: BadKey, where it is no such set.
    """
    try:
        listed = orjson.loads(content)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise BadKey("is no JSON Web Key Set") from None
    if not isinstance(listed, list) or len(listed) > JWKS_KEYS:
        raise BadKey(f"is no JSON Web Key Set with at most {JWKS_KEYS} keys")
    found = (_published_key(each) for each in listed if isinstance(each, dict))
    return KeySet(key for key in found if key is not None)


def _published_key(entry: Mapping[str, Any]) -> Key | None:
    """Return the key of an entry, None where it is not for us. A secret is never published."""
    kid = entry.get("kid")
    operations = entry.get("key_ops", ["verify"])
    if (
        entry.get("kty") not in ("RSA", "EC", "OKP")
        or entry.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
        or not (kid is None or isinstance(kid, str))
        or "d" in entry  # a private key, which its owner has to replace
    ):
        return None
    try:
        material = PyJWK({**entry, "alg": None}).key
        algorithm = _algorithm_of(material)
    except (PyJWTError, BadKey, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return Key(algorithm, material, kid) if _is_for(entry.get("alg"), algorithm) else None


def _is_for(named: object, algorithm: str) -> bool:
    """Say whether an entry that names this algorithm, or none, is a key for ours."""
    # RFC 9864 has a name of its own for the one curve of EdDSA that is taken here.
    return named in (None, algorithm) or (algorithm == "EdDSA" and named == "Ed25519")


def _algorithm_of(material: Any) -> str:
    match material:
        case RSAPublicKey():
            if material.key_size < _RSA_BITS:
                raise BadKey(
                    f"holds an RSA key of {material.key_size} bits; {_RSA_BITS} are needed"
                )
            return "RS256"
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
        case _:
            raise BadKey("holds a key that is neither RSA, nor P-256, nor Ed25519")
