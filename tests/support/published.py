"""An issuer that publishes the keys of its tokens, as a JSON Web Key Set on an HTTP server."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from support.product import HttpServer, Request, response

PATH = "/keys"


class Publisher:
    """Signs tokens with keys that have names. It notes every token: none may be seen anywhere."""

    def __init__(self) -> None:
        self.server = HttpServer(self._answer)
        self.made: list[str] = []
        self._keys: dict[str, tuple[str, Any]] = {}
        self._withdrawn: set[str] = set()

    def add(self, kid: str, algorithm: str = "ES256") -> None:
        """Have one key more, and publish it."""
        self._keys[kid] = algorithm, _new_key(algorithm)

    def take_back(self, kid: str) -> None:
        """Publish a key no longer. Tokens can still be made with it."""
        self._withdrawn.add(kid)

    def token(self, kid: str, **claims: Any) -> str:
        """Return a token of alice, signed with a key that was added once."""
        algorithm, key = self._keys[kid]
        said = {"sub": "alice", "exp": int(time.time()) + 3600, **claims}
        self.made.append(jwt.encode(said, key, algorithm, headers={"kid": kid}))
        return self.made[-1]

    @property
    def args(self) -> list[str]:
        """Return the options of a server that fetches the keys. The HTTP server has a port once it
        was started, and keeps it.
        """
        return ["--auth", "jwt", "--jwks-url", self.server.url(PATH)]

    async def _answer(self, _request: Request) -> bytes:
        published = [kid for kid in self._keys if kid not in self._withdrawn]
        return response({"keys": [self.entry(kid) for kid in published]})

    def entry(self, kid: str) -> dict[str, Any]:
        """Return what is published of a key."""
        algorithm, key = self._keys[kid]
        made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key())
        return {**json.loads(made), "use": "sig", "alg": algorithm, "kid": kid}


def _new_key(algorithm: str) -> Any:
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()
