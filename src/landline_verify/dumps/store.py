"""The store of a cluster: what its tables hold of the run's users."""

import asyncio
from contextlib import suppress
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import asyncpg

from landline_verify.dumps.records import digest_of_row
from landline_verify.errors import VerifyError
from landline_verify.history.events import (
    AppliedRow,
    MemberRow,
    MessageRow,
    PendingRow,
    QuarantineRow,
    StatusRow,
)
from landline_verify.history.recorder import Recorder

_ASK_SECONDS = 10.0
_COMMAND_SECONDS = 30.0

_MESSAGES: Final = """\
SELECT message_id, sender, conversation, kind, content, data, log_partition, log_offset
FROM messages WHERE starts_with(sender, $1)"""

_STATUSES: Final = """\
SELECT message_id, recipient, status
FROM messages JOIN message_status USING (message_id)
WHERE starts_with(sender, $1) AND starts_with(recipient, $1)"""

_PENDING: Final = """\
SELECT user_name, nullif(device, '*'), log_partition, log_offset, message_id::text, is_received
FROM pending JOIN devices USING (mailbox_id)
LEFT JOIN messages USING (log_partition, log_offset)
WHERE starts_with(user_name, $1)"""

_MEMBERS: Final = """\
SELECT name, user_name, role, joined_offset, read_offset
FROM members JOIN conversations USING (conversation_id)
WHERE starts_with(user_name, $1)"""

_QUARANTINE: Final = "SELECT log_partition, log_offset, reason FROM quarantine"

# What a database that is away, or was, answers with. The driver calls it an internal error of its
# own when a server says that it is being shut down while nothing is asked.
STORE_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class Store:
    """The tables of the message store. Where the database was away, it is connected to again."""

    def __init__(self, url: str, connection: "asyncpg.Connection[Any]") -> None:
        self._url = url
        self._connection = connection

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect. Raises: VerifyError."""
        try:
            connection = await _connect(url)
            await connection.fetch("SELECT partitions FROM log_identity")
            record_format = await connection.fetchval("SELECT format FROM record_format")
        except (asyncpg.PostgresError, OSError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise VerifyError(
                f"--postgres: the store cannot be read ({reason}); give what the servers use"
            ) from None
        if record_format != 2:
            connection.terminate()
            raise VerifyError(
                "--postgres: the store is in format 1, which does not say what is pending; run"
                " landline migrate once every server has been replaced, or leave --postgres out"
            )
        return cls(url, connection)

    def close(self) -> None:
        """Leave the database without waiting for it."""
        self._connection.terminate()

    async def epoch(self) -> int:
        """Return the epoch of the log that the store was filled from."""
        return int(await (await self._connected()).fetchval("SELECT epoch FROM log_identity"))

    async def applied(self) -> dict[int, int]:
        """Return the next offset of each partition."""
        connection = await self._connected()
        rows = await connection.fetch("SELECT log_partition, next_offset FROM applied")
        return {row["log_partition"]: row["next_offset"] for row in rows}

    async def _connected(self) -> "asyncpg.Connection[Any]":
        if self._connection.is_closed():
            self._connection = await _connect(self._url)
        return self._connection

    async def wait_for(self, ends: dict[int, int], base: int, seconds: float) -> None:
        """Wait until the store has applied the log up to `ends`, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not _covers(await self.applied(), ends, base):  # noqa: ASYNC110 - a table
                    await asyncio.sleep(0.1)

    async def dump(self, recorder: Recorder, prefix: str, starts: dict[int, int]) -> dict[int, int]:
        """Write the rows of the run's users down, from one snapshot; return its `applied`."""
        connection = await self._connected()
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await self._dump(recorder, prefix, starts)
            return await self.applied()

    async def _dump(self, recorder: Recorder, prefix: str, starts: dict[int, int]) -> None:
        query, record, now = self._connection.cursor, recorder.record, recorder.now
        async for id, sender, conversation, kind, content, data, *at in query(
            _MESSAGES, prefix, prefetch=1_000
        ):
            said = digest_of_row(kind, content, data)
            record(MessageRow(now(), str(id), sender, conversation, said, *at))
        async for id, recipient, status in query(_STATUSES, prefix, prefetch=1_000):
            record(StatusRow(now(), str(id), recipient, status))
        async for row in query(_PENDING, prefix, prefetch=1_000):
            record(PendingRow(now(), *row))
        async for row in query(_MEMBERS, prefix, prefetch=1_000):
            record(MemberRow(now(), *row))
        for partition, offset in (await self.applied()).items():
            record(AppliedRow(now(), partition, offset))
        async for partition, offset, reason in query(_QUARANTINE):
            if offset >= starts.get(partition, 0):
                record(QuarantineRow(now(), partition, offset, reason))


async def _connect(url: str) -> "asyncpg.Connection[Any]":
    # Where the URL has a host and ?port=, the driver looks at the port only if it is given.
    given = parse_qs(urlsplit(url).query).get("port", [""])[-1]
    return await asyncpg.connect(
        url,
        port=[int(port) for port in given.split(",")] if given else None,
        timeout=_ASK_SECONDS,
        command_timeout=_COMMAND_SECONDS,
    )


def _covers(applied: dict[int, int], ends: dict[int, int], base: int) -> bool:
    return all(applied.get(partition, base) >= end for partition, end in ends.items())
