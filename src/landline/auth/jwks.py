"""The key set that an issuer publishes, kept: it is asked for seldom, and may be away.

A new key is found by the first token that it has signed. A key that the issuer has taken back is
gone a few minutes later. While the issuer is away, the last set that was good stays.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from landline.auth.keys import PUBLISHED, BadKey, KeySet, published_keys
from landline.auth.tokens import KeysUnavailable
from landline.backoff import Backoff
from landline.observability.logging import get_logger
from landline.ports import Clock

# Or everybody who makes up a name of a key would have the issuer asked.
AGAIN_SECONDS: Final = 30.0
FRESH_SECONDS: Final = 300.0
_LAST_BACKOFF_SECONDS: Final = 30.0

log = get_logger(__name__)


class CannotFetch(Exception):
    """The set could not be fetched; `str(error)` says why."""


class PublishedKeys:
    """See `KeySource`. `run` keeps the set fresh."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], clock: Clock) -> None:
        """`fetch` has a deadline of its own. Raises: CannotFetch."""
        self._fetch = fetch
        self._clock = clock
        self.keys: KeySet | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")
        self.trouble: str | None = None

    async def keys_for(self, algorithm: str, kid: str | None) -> KeySet:
        """See `KeySource`."""
        if algorithm not in PUBLISHED:
            return KeySet(())
        if self.keys is None or not self.keys.find(algorithm, kid):
            await self._ask_unless_just_asked()
        if self.keys is None:
            raise KeysUnavailable(self.trouble or "the keys were not fetched yet")
        if self.trouble is not None and not self.keys.find(algorithm, kid):
            raise KeysUnavailable(self.trouble)  # it may be one that was published meanwhile
        return self.keys

    def may_get_more(self, algorithm: str) -> bool:
        """See `KeySource`."""
        return algorithm in PUBLISHED

    async def look_again(self, keys: KeySet, kid: str | None) -> KeySet | None:
        """See `KeySource`. Where keys have names, a wrong signature is no reason to ask."""
        if kid is not None and keys.are_named:
            return None
        if keys is self.keys:
            await self._ask_unless_just_asked()
        return None if keys is self.keys else self.keys

    async def run(self) -> None:
        """Keep the set fresh, for ever."""
        backoff = Backoff(last_seconds=_LAST_BACKOFF_SECONDS)
        while True:
            await self._ask_once()
            if self.trouble is None:
                backoff.reset()
                await asyncio.sleep(FRESH_SECONDS)
            else:
                await backoff.wait()

    async def _ask_unless_just_asked(self) -> None:
        is_under_way = self._asking is not None
        if is_under_way or self._clock.monotonic() - self._asked_at >= AGAIN_SECONDS:
            await self._ask_once()

    async def _ask_once(self) -> None:
        """Whoever waits while somebody asks has their answer as well; and who asked may go."""
        if self._asking is None:
            self._asked_at = self._clock.monotonic()
            self._asking = asyncio.create_task(self._ask(), name="keys")
            self._asking.add_done_callback(self._asked)
        await asyncio.shield(self._asking)

    def _asked(self, _task: asyncio.Task[None]) -> None:
        self._asking = None

    async def _ask(self) -> None:
        before = self.trouble
        try:
            keys = _usable(await self._fetch())
        except CannotFetch as error:
            self.trouble = str(error)
            if before is None:
                log.warning("keys_unavailable", reason=self.trouble, kept=len(self.keys or ()))
        else:
            self.trouble = None
            if before is not None or self.keys is None:
                log.info("keys_fetched", keys=len(keys))
            self.keys = keys


def _usable(content: bytes) -> KeySet:
    """Return the keys of what was fetched. Raises: CannotFetch, where there are none."""
    try:
        keys = published_keys(content)
    except BadKey as error:
        raise CannotFetch(f"what was fetched {error}") from None
    if not keys:
        raise CannotFetch("what was fetched has no key that could be used here")
    return keys
