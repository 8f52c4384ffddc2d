"""A lane to PostgreSQL: one connection, one caller at a time, and never a wait without an end.

No pool: a server has a handful of callers, each batches what it asks, and a lane for each kind
keeps a slow page from holding up the writer. Whatever goes wrong with a connection, it is cut off
and the next caller gets a fresh one. It is never *asked* to stop: a server that was paused answers
a cancel request as little as the query before it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeAlias, TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from landline.config.values import SecretUrl
from landline.errors import StoreUnavailable, Unstorable

T = TypeVar("T")
PostgresConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"  # generic only in the stubs

LANE_CONNECT_SECONDS: Final = 3.0
LANE_CLOSE_SECONDS: Final = 1.0
# A request that waits longer checks whether another host has taken over.
HANG_SECONDS: Final = 2.0

# What the driver raises for trouble outside; TimeoutError and ssl.SSLError are OSErrors.
TROUBLE: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    RuntimeError,  # uvloop's, for a transport that was closed this very moment
)


# A record that is as it should be is refused as bad data in a session that reads or writes text
# in another way. The role, the database and a pooler may each have settings of their own.
_MEANING: Final = {
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
}
# Those of them that every server reports, and on which it depends what a record is.
_REPORTED: Final = ("client_encoding", "standard_conforming_strings")
# The database or the session is encoded in another way: that is not the fault of any record.
_UNTRANSLATABLE: Final = "22P05"


class WrongSession(ConnectionError):
    """The session is not as it was asked for: somebody between has changed it."""


class NoHostUsable(ConnectionError):
    """None of the hosts in the URL will do. `errors` says why, in their order."""

    def __init__(self, errors: Mapping[str, BaseException]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "; ".join(f"{host}: {reason(error)}" for host, error in self.errors.items())


async def connect(
    url: SecretUrl,
    name: str,
    statement_seconds: float,
    host: str | None = None,
    port: int | None = None,
) -> PostgresConnection:
    """Return a new connection to the primary. Raises: one of TROUBLE, ValueError for a bad URL.

    `host` and `port`: this one of those in the URL, and no other (see `hosts.py`).
    Both ends notice when the other is gone: here every command has its deadline, there the
    settings below end what nobody waits for any more.
    """
    milliseconds = str(round(statement_seconds * 1000))
    return await asyncpg.connect(
        url.reveal(),
        host=host,
        port=port,
        timeout=LANE_CONNECT_SECONDS,
        # A standby may lag behind, and then says that nothing is pending which is.
        target_session_attrs=SessionAttribute.read_write,
        server_settings={
            **_MEANING,
            "application_name": name,
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            # Nothing here pauses inside a transaction, unless its process was stopped.
            "idle_in_transaction_session_timeout": "20000",
            "idle_session_timeout": "0",
            "tcp_user_timeout": "20000",
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
            # Compare-and-set looks at the row as it is once its lock is ours.
            "default_transaction_isolation": "read committed",
            # Every statement has an index for its rows. Plans are kept, and one that was made
            # when the tables were empty must not scan them when they are large.
            "enable_seqscan": "off",
            "enable_bitmapscan": "off",
            "jit": "off",
        },
    )


def check_session(connection: PostgresConnection) -> None:
    """See that the session is as it was asked for. Raises: WrongSession."""
    settings = connection.get_settings()
    for each in _REPORTED:
        found = getattr(settings, each, None)
        if found != _MEANING[each]:
            raise WrongSession(f"{each} is {found} in its sessions, not {_MEANING[each]}")


class Whereabouts(Protocol):
    """Which host the lanes of a store go to (see `hosts.Hosts`)."""

    def is_current(self, connection: PostgresConnection) -> bool:
        """Say whether it is the host of this connection."""

    async def look(self) -> None:
        """Find out, when nothing has been heard for a while, whether it is another one now."""


class Lane:
    """One connection at the most, opened when it is first used."""

    def __init__(
        self,
        open_connection: Callable[[], Awaitable[PostgresConnection]],
        deadline_seconds: float,
        whereabouts: Whereabouts,
    ) -> None:
        self._open_connection = open_connection
        self._deadline_seconds = deadline_seconds
        self._whereabouts = whereabouts
        self._connection: PostgresConnection | None = None
        self._turn = asyncio.Lock()
        self._is_closed = False
        self.trouble: str | None = None

    async def run(self, work: Callable[[PostgresConnection], Awaitable[T]]) -> T:
        """Return what `work` returns; the deadline covers the wait for the lane too.

        Raises: StoreUnavailable, Unstorable when PostgreSQL will never take what it was given.
        Cancelling is safe: the connection is cut off.
        """
        try:
            async with asyncio.timeout(self._deadline_seconds), self._turn:
                result = await self._run(work)
        except TROUBLE as error:
            if is_refusal(error):
                raise Unstorable(reason(error)) from error
            self.trouble = reason(error)
            raise StoreUnavailable(self.trouble) from error
        self.trouble = None
        return result

    async def probe(self) -> None:
        """Find out whether the lane works again."""
        with suppress(StoreUnavailable):
            await self.run(lambda connection: connection.fetchval("SELECT 1"))

    async def close(self) -> None:
        """Close the connection, also under a caller."""
        self._is_closed = True
        connection, self._connection = self._connection, None
        if connection is None:
            return  # a caller that is connecting finds the lane closed
        if self._turn.locked():
            connection.terminate()
        with suppress(*TROUBLE):
            await connection.close(timeout=LANE_CLOSE_SECONDS)

    async def _run(self, work: Callable[[PostgresConnection], Awaitable[T]]) -> T:
        self._check_open()
        connection = self._connection
        if connection is not None and not self._whereabouts.is_current(connection):
            connection.terminate()  # the other lanes are at another host by now
        if connection is None or connection.is_closed():
            connection = self._connection = await self._open_connection()
        try:
            self._check_open()
            check_session(connection)
            return await self._attend(connection, work)
        except BaseException as error:
            if not is_refusal(error):
                self._connection = None
                connection.terminate()
            raise

    async def _attend(
        self, connection: PostgresConnection, work: Callable[[PostgresConnection], Awaitable[T]]
    ) -> T:
        """Wait for the work, and not for a host whose place another one has taken."""
        working = asyncio.ensure_future(work(connection))
        try:
            while not (await asyncio.wait({working}, timeout=HANG_SECONDS))[0]:
                await self._whereabouts.look()
                if not self._whereabouts.is_current(connection):
                    raise ConnectionError("the host has fallen silent, and another one took over")
            return working.result()
        finally:
            if not working.done():
                # In this order: a transaction would be rolled back first, and wait for an answer.
                connection.terminate()
                working.cancel()
                await asyncio.wait({working}, timeout=LANE_CLOSE_SECONDS)

    def _check_open(self) -> None:
        if self._is_closed:
            raise asyncpg.InterfaceError("the store is closed")


class Lanes:
    """Several lanes of a kind, for as many callers at a time. The one that was used last is taken
    first, so that usually there is one connection.
    """

    def __init__(self, lanes: Sequence[Lane], wait_seconds: float) -> None:
        """`wait_seconds`: how long a caller waits for a free one at the most."""
        self._lanes = lanes
        self._wait_seconds = wait_seconds
        self._free: asyncio.Queue[Lane] = asyncio.LifoQueue()
        for lane in lanes:
            self._free.put_nowait(lane)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    async def run(self, work: Callable[[PostgresConnection], Awaitable[T]]) -> T:
        """As a lane does it. Raises: StoreUnavailable, Unstorable."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                lane = await self._free.get()
        except TimeoutError as error:
            raise StoreUnavailable(reason(error)) from error
        try:
            return await lane.run(work)
        finally:
            self._free.put_nowait(lane)


def is_refusal(error: BaseException) -> bool:
    """Say whether it is the data, and only the data, that PostgreSQL does not take.

    Those are data exceptions (the driver raises them itself for what it cannot encode), violated
    constraints, and a value too large for an index. All else may work another time; what is not
    known counts as that. `connect` sees to it that a session takes all of UTF-8, so that what it
    cannot encode is no text at all.
    """
    code = getattr(error, "sqlstate", None) or ""
    if code == _UNTRANSLATABLE:
        return False
    return code.startswith(("22", "23")) or code == "54000"


def reason(error: BaseException) -> str:
    """Return why, in words, without the rows that PostgreSQL and the driver like to quote."""
    if isinstance(error, TimeoutError):
        return "PostgreSQL does not answer in time"
    if not isinstance(error, asyncpg.PostgresError):
        return f"PostgreSQL: {error}"
    if error.severity is None and is_refusal(error):
        return "the driver cannot encode a value for PostgreSQL"  # its message holds the value
    return f"PostgreSQL: {error.args[0]} ({error.sqlstate})"
