"""Renews a session in place: a fresh token before the one that it began with expires."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import orjson

from landline.backoff import Backoff
from landline.client.credentials import Credentials, Token
from landline.client.errors import TokenUnavailable

# Between two tries that brought no fresh token: the server ends the session when it is too late.
_FIRST_SECONDS = 0.5
_LAST_SECONDS = 10.0
# An issuer whose tokens live for seconds is not asked all the time.
_LEAST_SECONDS = 1.0


class Renewal:
    """Keeps one session's token fresh; `run` it beside the session.

    An answer that never comes is no matter: the session ends when its token does, and the next
    connection has a fresh one.
    """

    def __init__(
        self,
        credentials: Credentials,
        token: Token | None,
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._credentials = credentials
        self._token = token
        self._write = write
        self._answers: asyncio.Queue[bool] = asyncio.Queue()
        self._is_awaited = False

    def answered(self, *, is_taken: bool) -> None:
        """The server has taken the token that was written, or has not. Others' answers are none."""
        if self._is_awaited:
            self._is_awaited = False
            self._answers.put_nowait(is_taken)

    async def run(self) -> None:
        """Renew until this is cancelled, or nothing needs to be renewed.

        Raises: ClientError that ends the chat; what `write` raises.
        """
        while self._credentials.is_renewable and self._token is not None:
            pause = self._token.seconds_to_renewal(time.time())
            if pause is None:
                return
            await asyncio.sleep(max(pause, _LEAST_SECONDS))
            self._token = await self._renewed(self._token)

    async def _renewed(self, old: Token) -> Token:
        """Return the fresh token that the server has taken."""
        backoff = Backoff(_FIRST_SECONDS, _LAST_SECONDS)
        while True:
            try:
                fresh = await self._credentials.token()
            except TokenUnavailable:
                fresh = None
            # A function that keeps its token until it expires has no fresh one yet.
            if fresh is not None and fresh.text != old.text and await self._is_taken(fresh):
                return fresh
            await backoff.wait()

    async def _is_taken(self, token: Token) -> bool:
        self._is_awaited = True
        await self._write(orjson.dumps({"type": "auth", "token": token.text}))
        return await self._answers.get()
