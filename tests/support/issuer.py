"""An issuer of tokens, as a product has one."""

import secrets
import time
from pathlib import Path

from landline.auth.tokens import Claims, minted

Headers = dict[str, str]


class Issuer:
    """Makes tokens with a secret that it keeps in a file."""

    def __init__(self, directory: Path) -> None:
        self.secret = secrets.token_urlsafe(32).encode()
        self.file = directory / "secret"
        self.file.write_bytes(self.secret + b"\n")

    def token(self, user: str = "alice", seconds: float = 3600, *, is_service: bool = False) -> str:
        """Return a token that is good for so long."""
        expires_at = time.time() + seconds
        return minted(
            self.secret, user, expires_at=expires_at, is_service=is_service, claims=Claims()
        )

    def bearer(self, user: str = "alice", seconds: float = 3600) -> Headers:
        """Return the header with a token."""
        return {"Authorization": f"Bearer {self.token(user, seconds)}"}

    @property
    def args(self) -> list[str]:
        """Return the options of a server that takes these tokens."""
        return ["--auth", "jwt", "--jwt-secret-file", str(self.file)]
