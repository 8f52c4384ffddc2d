"""Connections to Redis: every call has a deadline, and while nobody answers there are no calls.

Two kinds of trouble are told apart. *Silence* (no connection, no answer in time) costs its caller
the deadline. So after a few of them in a row Redis counts as down: calls fail at once, and only the
owner's probes try it. A *refusal* (memory full, read-only replica, no permission) costs nothing and
may concern some commands only, so Redis still counts as up.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from landline.config.values import mask
from landline.errors import DirectoryUnavailable

Command = tuple[str | bytes | int, ...]
SendCommands = Callable[[Sequence[Command]], Awaitable[list[Any]]]

# As many callers as there are: membership, routing, the heartbeat, and one to close.
_CONNECTIONS = 4
# One lost packet is no outage. Senders pay this many deadlines, then none.
_SILENCES = 3
_REASON_CHARACTERS = 200
# What Redis before version 7 puts before the reason when a script runs into it.
_SCRIPT = re.compile(r"^Error running script .*@user_script: ?[0-9]+: -?")
_CLOSE_SECONDS = 1.0  # TLS says good-bye, and a peer that hangs never answers


class RedisConnections:
    """Connections to one Redis, made when they are needed."""

    def __init__(self, url: str, deadline_seconds: float) -> None:
        self.shown = mask(url)
        self._deadline_seconds = deadline_seconds
        self._silences = 0
        self._reason = ""
        self._is_closed = False
        # Retries are ours to decide, and timeouts are the call's. Protocol 2 spares a greeting
        # that an old or a managed Redis may not know.
        self._client = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=None,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=None,
                socket_connect_timeout=None,
            )
        )

    @property
    def down(self) -> str | None:
        """Return why calls fail at once, or None when they are tried."""
        return self._reason if self._silences >= _SILENCES else None

    @asynccontextmanager
    async def call(self, *, is_probe: bool = False) -> AsyncIterator[SendCommands]:
        """Give a function that sends commands in one go and returns their replies, refusals
        among them as exceptions. All that is sent within shares one deadline.

        Raises: DirectoryUnavailable, at once while Redis is down, unless this is a probe.
        """
        if self._is_closed:
            raise DirectoryUnavailable("closed")
        if self.down is not None and not is_probe:
            raise DirectoryUnavailable(self.down)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                yield self._send
        except asyncio.CancelledError:
            # A caller with a deadline as short as ours is the first to lose patience.
            if loop.time() - started >= self._deadline_seconds / 2:
                self._heard_nothing("no answer in time")
            raise
        except ResponseError as error:
            self._silences = 0
            raise DirectoryUnavailable(self.words(error)) from error
        except TimeoutError as error:
            why = f"no answer in {self._deadline_seconds:g} s"
            raise self._heard_nothing(why) from error
        except DirectoryUnavailable:
            raise
        except Exception as error:
            # When the other side does not speak the protocol, the driver may raise any error.
            # There is no hint then, and that must not end a server.
            raise self._heard_nothing(str(error) or type(error).__name__) from error
        self._silences = 0

    def words(self, error: Exception) -> str:
        """Say in one line what is wrong, and with which Redis."""
        return f"{self.shown}: {_one_line(str(error))}"

    async def close(self) -> None:
        """Close every connection, those in use too."""
        self._is_closed = True
        with suppress(TimeoutError, OSError, RedisError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.connection_pool.disconnect(inuse_connections=True)

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            return replies

    def _heard_nothing(self, why: str) -> DirectoryUnavailable:
        self._silences += 1
        self._reason = f"{self.shown}: {_one_line(why)}"
        return DirectoryUnavailable(self._reason)


def raise_refusal(replies: Sequence[Any]) -> None:
    """Raise the first refusal among the replies, if there is one. Raises: ResponseError."""
    refused = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
    if refused is not None:
        raise refused


def is_foreign(reply: Any) -> bool:
    """Say whether a reply is that the key holds another type than ours: it is somebody else's."""
    return isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE")


def _one_line(text: str) -> str:
    text = _SCRIPT.sub("", text)
    return re.sub(r"\s+", " ", text).strip().rstrip(".")[:_REASON_CHARACTERS]
