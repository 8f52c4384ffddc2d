"""What this server asks the product and the issuer of its tokens, over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import orjson

from landline.adapters.web import Page, Web
from landline.auth.jwks import CannotFetch
from landline.config import Settings
from landline.config.values import SecretUrl
from landline.errors import BadAnswer, WebUnavailable
from landline.gateway.permissions import ASK_SECONDS, Ask, Authorizing
from landline.protocol.identity import is_room

ANSWER_BYTES: Final = 64 * 1024
KEYS_BYTES: Final = 1024 * 1024
KEYS_SECONDS: Final = 3.0  # whoever waits for it has 5 s for their handshake


class Outside:
    """Everybody who is asked. Close it at the end."""

    def __init__(self, settings: Settings) -> None:
        """Raises: ConfigError."""
        # One each: many questions to a slow product must not keep the keys from being fetched.
        self._issuer, self._product = Web(), Web()
        url = settings.jwks_url
        self.fetch_keys = fetches_keys(self._issuer, url) if url is not None else None
        self.authorizing = authorizing_of(settings, self._product)

    async def close(self) -> None:
        """Let go of every connection."""
        await asyncio.gather(self._issuer.close(), self._product.close())


def authorizing_of(settings: Settings, web: Web) -> Authorizing | None:
    """Return who says who may write to whom; None: nobody. Raises: ConfigError."""
    if settings.authorize_url is None:
        return None
    ask = asks_product(web, settings.authorize_url)
    return Authorizing(ask, settings.authorize_ttl, settings.authorize_fail == "open")


def asks_product(web: Web, url: SecretUrl) -> Ask:
    """Return what asks `--authorize-url` about a pair. Raises: ConfigError."""
    page = Page("authorize-url", url)

    async def ask(sender: str, to: str) -> bool:
        """See `Ask`. Raises: WebUnavailable, BadAnswer."""
        field = "conversation" if is_room(to) else "to"
        question = orjson.dumps({"sender": sender, field: to, "kind": "message"})
        answer = orjson.loads(
            await web.post(page, question, most_bytes=ANSWER_BYTES, seconds=ASK_SECONDS)
        )
        is_allowed = answer.get("allow") if isinstance(answer, dict) else None
        if not isinstance(is_allowed, bool):
            raise BadAnswer('it answers neither {"allow": true} nor {"allow": false}')
        return is_allowed

    return ask


def fetches_keys(web: Web, url: SecretUrl) -> Callable[[], Awaitable[bytes]]:
    """Return what fetches `--jwks-url`, for `PublishedKeys`. Raises: ConfigError."""
    page = Page("jwks-url", url)

    async def fetch() -> bytes:
        """Return the set as JSON. Raises: CannotFetch."""
        try:
            return await web.get(page, most_bytes=KEYS_BYTES, seconds=KEYS_SECONDS)
        except WebUnavailable as error:
            raise CannotFetch(str(error)) from None

    return fetch
