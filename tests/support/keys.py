"""Keys that sign tokens, and how their owner publishes them."""

import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: Mapping[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


def pem(key: Any) -> bytes:
    public: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


def jwk(algorithm: str, **changes: Any) -> dict[str, Any]:
    """Return the entry of a set for one of the keys. None takes a member out."""
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(PRIVATE[algorithm].public_key())
    entry: dict[str, Any] = {**json.loads(made), "use": "sig", "alg": algorithm, "kid": algorithm}
    entry |= changes
    return {name: value for name, value in entry.items() if value is not None}


def published(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()
