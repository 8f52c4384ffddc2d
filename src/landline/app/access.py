"""What checks who somebody is, made from the settings."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from landline.app.front import KEYS_PART
from landline.auth.jwks import PublishedKeys
from landline.auth.keys import BadKey, Key, KeySet, public_key, secret_key
from landline.auth.tokens import Claims, FileKeys, KeySource, Tokens
from landline.config import Settings
from landline.errors import StartupError
from landline.gateway.gatekeeper import Gatekeeper
from landline.observability.logging import get_logger
from landline.ports import Clock

log = get_logger(__name__)

Fetch = Callable[[], Awaitable[bytes]]

_READERS: Final[Mapping[str, Callable[[bytes], Key]]] = {
    "jwt-secret-file": secret_key,
    "jwt-public-key-file": public_key,
}
# A key, or a certificate with its chain.
_FILE_BYTES: Final = 256 * 1024


class Access:
    """The gatekeeper, what keeps its keys fresh, and what reads key files anew."""

    def __init__(self, settings: Settings, clock: Clock, fetch: Fetch | None) -> None:
        """`fetch` gets the published keys, where there are any. Raises: StartupError."""
        self.services: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        self._files: FileKeys | None = None
        self._published: PublishedKeys | None = None
        if settings.auth != "jwt":
            self.gate = Gatekeeper(settings.auth)
            return
        sources: list[KeySource] = []
        files = {
            "jwt-secret-file": settings.jwt_secret_file,
            "jwt-public-key-file": settings.jwt_public_key_file,
        }
        given = {name: path for name, path in files.items() if path is not None}
        if given:
            self._files = FileKeys(lambda: _read(given))
            sources.append(self._files)
        if fetch is not None:
            published = PublishedKeys(fetch, clock)
            self.services["keys"] = published.run
            self._published = published
            sources.append(published)
        claims = Claims(
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            user=settings.jwt_user_claim,
            role=settings.jwt_role_claim,
        )
        tokens = Tokens(sources, claims, lambda: clock.wall_ms() / 1000)
        self.gate = Gatekeeper("jwt", tokens)

    def health(self) -> Mapping[str, str | None]:
        """Return why nobody can sign in whose key is published, where there are such keys."""
        published = self._published
        if published is None:
            return {}
        why = None
        if published.keys is None:
            why = f"the keys of --jwks-url: {published.trouble or 'they were not fetched yet'}"
        return {KEYS_PART: why}

    def read_again(self) -> None:
        """Read key files anew. Where that fails, the keys stay as they were."""
        if self._files is None:
            return
        try:
            self._files.read_again()
        except StartupError as error:
            log.error("keys_not_reloaded", reason=str(error))
        else:
            log.info("keys_reloaded")


def _read(files: Mapping[str, Path]) -> KeySet:
    return KeySet(_key(name, path) for name, path in files.items())


def _key(name: str, path: Path) -> Key:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES)
        return _READERS[name](content)
    except OSError as error:
        remedy = (
            "make one with: openssl rand -base64 32"
            if name == "jwt-secret-file"
            else "give the one that tokens are checked with"
        )
        raise StartupError(
            f"--{name} {path}: this file cannot be read ({error.strerror}); {remedy}"
        ) from None
    except BadKey as error:
        raise StartupError(f"--{name} {path}: this file {error}; give another one") from None
