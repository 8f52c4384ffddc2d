"""Mutated tokens: each is refused, or says who the good one says."""

import json
import random
from collections.abc import Mapping
from typing import Any, Final

import jwt

from fuzz.attacks import Found
from fuzz.mutations import NASTY, VALUES, bent, source
from landline.auth.keys import KeySet, public_key, secret_key
from landline.auth.principal import Principal
from landline.auth.tokens import BadToken, Claims, FileKeys, Tokens
from support.keys import EC, ED, RSA, pem

NOW: Final = 1_800_000_000  # PyJWT looks at the system's clock: far enough away from it
SECRET: Final = b"a secret of thirty-two bytes, or more"
CLAIMS: Final = Claims(issuer="https://id.example", audience="chat")
SAID: Final[Mapping[str, Any]] = {
    "sub": "alice", "exp": 4_000_000_000, "iss": "https://id.example", "aud": "chat",
}  # fmt: skip
KEYS: Final[Mapping[str, Any]] = {"HS256": SECRET, "RS256": RSA, "ES256": EC, "EdDSA": ED}


def checker() -> Tokens:
    """Return what is attacked: it has a key for each of the four algorithms."""
    keys = KeySet([secret_key(SECRET), *(public_key(pem(key)) for key in (RSA, EC, ED))])
    return Tokens([FileKeys(lambda: keys)], CLAIMS, lambda: float(NOW))


def _encoded(part: bytes) -> str:
    return jwt.utils.base64url_encode(part).decode()


def _mutated(rng: random.Random, token: str, others: list[str]) -> str:
    """Return a token that nobody has signed, unless the change means nothing."""
    parts = token.split(".")
    choice = rng.random()
    if choice < 0.35:
        return bent(rng, token.encode()).decode("utf-8", "replace")
    if choice < 0.5:  # parts of two good tokens
        other = rng.choice(others).split(".")
        place = rng.randrange(3)
        return ".".join([*parts[:place], other[place], *parts[place + 1 :]])
    place = rng.randrange(2)
    said = json.loads(jwt.utils.base64url_decode(parts[place]))
    names = ("alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "zip") if place == 0 else (
        "sub", "exp", "nbf", "iss", "aud", "role", "iat", "jti"
    )  # fmt: skip
    algorithms = ("none", "None", "HS256", "RS256", "ES256", "EdDSA", "HS512", "PS256", "")
    said[rng.choice(names)] = rng.choice((*VALUES, *algorithms, 1e400, "alice", "service"))
    part = json.dumps(said).encode()
    parts[place] = _encoded(part if rng.random() < 0.8 else part + rng.choice(NASTY))
    if rng.random() < 0.3:
        parts[2] = rng.choice(("", "AA", _encoded(rng.randbytes(64))))
    return ".".join(parts)


async def attack(seed: int, count: int) -> None:
    """Check so many tokens. Raises: Found."""
    good = {name: jwt.encode(dict(SAID), key, name) for name, key in KEYS.items()}
    tokens = checker()
    alice = Principal("alice", is_service=False, expires_at=float(SAID["exp"]))
    for token in good.values():
        assert await tokens.check(token) == alice
    for index in range(count):
        rng = source(seed, "tokens", index)
        token = _mutated(rng, rng.choice(list(good.values())), list(good.values()))
        try:
            principal = await tokens.check(token)
        except BadToken:
            continue
        except Exception as error:
            why = f"it raised {error!r}"
            raise Found(seed, "tokens", index, token.encode(), why) from error
        if principal != alice:
            raise Found(seed, "tokens", index, token.encode(), f"it was taken for {principal}")
