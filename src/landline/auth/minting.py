"""Makes tokens for development, from the secret that a server checks them with."""

import math
from pathlib import Path
from typing import Final

from landline.auth.keys import BadKey, secret_key
from landline.auth.tokens import Claims, minted
from landline.config.loading import printable_path
from landline.config.settings import Settings
from landline.errors import ConfigError

# No secret is longer, and a wrong file may have no end.
_MOST_BYTES: Final = 64 * 1024


def make_token(settings: Settings, user: str, *, is_service: bool, expires_at: float) -> str:
    """Return a token that a server with these settings takes until `expires_at` (seconds since the
    Unix epoch). Raises: ConfigError, without anything of the secret.
    """
    assert settings.jwt_secret_file is not None, "loading has seen to that"
    claims = Claims(
        settings.jwt_issuer, settings.jwt_audience, settings.jwt_user_claim, settings.jwt_role_claim
    )
    return minted(
        _secret(settings.jwt_secret_file),
        user,
        expires_at=math.ceil(expires_at),
        is_service=is_service,
        claims=claims,
    )


def _secret(path: Path) -> bytes:
    named = f"--jwt-secret-file {printable_path(str(path))}"
    how = f"make one: openssl rand -base64 32 > {printable_path(str(path))}"
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{named}: there is no such file;\n{how}") from None
    except OSError as error:
        raise ConfigError(f"{named}: it cannot be read ({error.strerror}); give another") from None
    try:
        material: bytes = secret_key(content).material
    except BadKey as error:
        raise ConfigError(f"{named}: it {error};\n{how}") from None
    return material
