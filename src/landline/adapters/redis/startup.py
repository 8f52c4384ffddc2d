"""Tries `--redis` once at the start, so that an operator hears of a mistake in it."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from redis.asyncio import ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from landline.config.values import mask
from landline.errors import StartupError
from landline.observability.logging import get_logger

REDIS_CHECK_SECONDS = 3.0

_NO_TLS = ("it does not speak TLS", "use redis://, or the port that has TLS")
_HUNG_UP = (
    "it hangs up at once",
    "if it wants TLS, use rediss://, otherwise correct host and port",
)
# What only a person can correct, the special before the general: kinds of error, what is wrong,
# what to do.
_MISTAKES: Final[tuple[tuple[tuple[type[BaseException], ...], str, str], ...]] = (
    ((socket.gaierror,), "there is no such host", "correct the host's name"),
    (
        (ssl.SSLCertVerificationError,),
        "its certificate is refused ({})",
        "use the name that it was made out to, or add ?ssl_ca_certs=FILE with its authority",
    ),
    ((ssl.SSLError,), *_NO_TLS),
    (
        (AuthenticationError, NoPermissionError),
        "user or password are refused",
        "correct them: redis://USER:PASSWORD@HOST:6379/0",
    ),
    ((ConnectionResetError, EOFError), *_HUNG_UP),
    ((InvalidResponse,), "what answers there is not a Redis", "correct host and port"),
    ((ResponseError,), "it answers: {}", "correct the URL"),
    ((ValueError, TypeError), "it cannot be used ({})", "give one like redis://HOST:6379/0"),
)

log = get_logger(__name__)


async def check(url: str) -> None:
    """Connect once, and tell an operator's mistake from an outage.

    A mistake (no such host, wrong password, TLS on one side only, another program that listens
    there) is an error. An outage is not: nothing is lost without Redis. A server that starts
    during one says so, goes on, and finds Redis when it is back.
    Raises: StartupError.
    """
    _build(url)
    try:
        async with asyncio.timeout(REDIS_CHECK_SECONDS):
            await _greet(url)
    except (RedisError, OSError, TimeoutError, ValueError, TypeError, EOFError) as error:
        mistake = _mistake(error) or await _plain_instead_of_tls(url)
        if mistake is not None:
            what, remedy = mistake
            raise StartupError(f"--redis {mask(url)}: {what}; {remedy}") from error
        log.warning(
            "redis_unavailable",
            redis=mask(url),
            reason=str(error) or f"no answer in {REDIS_CHECK_SECONDS:g} s",
            advice="messages to users on other servers arrive by the sweep until it is back",
        )


def _build(url: str) -> None:
    """Make a connection without connecting: what fails at that is the URL, whatever Redis does.

    Raises: StartupError.
    """
    try:
        pool = ConnectionPool.from_url(url, protocol=2)
        connection = pool.make_connection()  # type: ignore[no-untyped-call]
        if isinstance(connection, SSLConnection):
            connection.ssl_context.get()  # reads the files that the URL names
    except (ValueError, TypeError, OSError, RedisError) as error:
        reason = mask(_reason(error).removeprefix("AbstractConnection.__init__() "))
        raise StartupError(
            f"--redis {mask(url)}: it cannot be used ({reason});"
            " correct what follows the ?, or give one like redis://HOST:6379/0"
        ) from error


async def _greet(url: str) -> None:
    client = Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=None,
        socket_connect_timeout=None,
    )
    try:
        if not await client.ping():
            raise InvalidResponse
    finally:
        await client.connection_pool.disconnect()


def _mistake(error: BaseException) -> tuple[str, str] | None:
    """Say what is wrong and what to do; None when it may be an outage."""
    for cause in _causes(error):
        for kinds, what, remedy in _MISTAKES:
            if isinstance(cause, kinds):
                return what.format(_reason(cause)), remedy
        if isinstance(cause, BusyLoadingError | OSError | TimeoutError):
            return None
    return _HUNG_UP if "closed by server" in str(error) else None


def _reason(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    return " ".join(str(cause).split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the innermost error first: what the driver wraps tells the reason."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return reversed(chain)


async def _plain_instead_of_tls(url: str) -> tuple[str, str] | None:
    """A plain Redis may wait in silence for the rest of a TLS greeting: ask it without."""
    if not url.startswith("rediss://"):
        return None
    with suppress(RedisError, OSError, TimeoutError, ValueError, TypeError, EOFError):
        pool = ConnectionPool.from_url(url)
        async with asyncio.timeout(REDIS_CHECK_SECONDS):
            reader, writer = await asyncio.open_connection(
                pool.connection_kwargs.get("host", "localhost"),
                pool.connection_kwargs.get("port", 6379),
            )
            try:
                writer.write(b"PING\r\n")
                if (await reader.readline()).startswith((b"+PONG", b"-NOAUTH")):
                    return _NO_TLS
            finally:
                writer.close()
    return None
