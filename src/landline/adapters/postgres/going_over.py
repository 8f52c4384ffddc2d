"""From format 1 to format 2, in place and while servers run.

Most of it is done beforehand, in small steps that are committed one by one: conversations, who is
in them, and default mailboxes, first of what there is, then of what came meanwhile. Whatever
stops it, it goes on from there the next time.

While a server of the version before is connected, that is all. Otherwise none can start any more
from then on, and the rest is one short transaction, in which writers and pages wait: what came
last, and what is still owed. At its end `deliveries` is gone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import asyncpg

from landline.adapters.postgres.lane import PostgresConnection
from landline.adapters.postgres.migrations import (
    BEGIN_COLUMNS,
    BEGIN_FORMAT_2,
    MIGRATE_SECONDS,
    turn,
)
from landline.adapters.postgres.opening import connected
from landline.adapters.postgres.record_format import FORMAT
from landline.adapters.postgres.rounds import columns
from landline.adapters.statements import statement
from landline.config.values import SecretUrl
from landline.protocol.identity import is_room, participants

STEP_CONVERSATIONS: Final = 1_000
STEP_MESSAGES: Final = 5_000
# So many messages may be left for the short transaction.
LEFT_FOR_THE_END: Final = 2_000
# Everybody queues behind whoever waits for a table, so it is not waited for long. It is longer than
# PostgreSQL takes to send its own vacuum away (deadlock_timeout).
LOCK_MILLISECONDS: Final = 3_000
TRIES: Final = 5
PAUSE_SECONDS: Final = 2.0

_OLD_SERVERS: Final = statement("postgres", "old_servers")
_NOTE_APPLIED: Final = statement("postgres", "note_applied")
_LAST: Final = statement("postgres", "last_conversation")
_NAMES: Final = statement("postgres", "names_of_conversations")
_SINCE: Final = statement("postgres", "conversations_since")
_FIRST: Final = statement("postgres", "first_of_conversations")
_NOTE_CONVERSATIONS: Final = statement("postgres", "note_conversations")
_NOTE_POSITION: Final = statement("postgres", "note_position")
_NOTED: Final = statement("postgres", "noted")
_FILL_MAILBOXES: Final = statement("postgres", "fill_mailboxes")
_FILL_PENDING: Final = statement("postgres", "fill_pending")
_FILL_OUTSIDERS: Final = statement("postgres", "fill_outsiders")
_FILL_READ_OFFSETS: Final = statement("postgres", "fill_read_offsets")

# What passes when it is tried again.
_IN_USE: Final = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


class OldServers(Exception):
    """Servers of the version before are connected. `names` are their ids."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.names = names


class Told(Protocol):
    """Hears how far it is."""

    def tell(self, line: str) -> None:
        """Something begins that takes its time, or is done."""

    def progress(self, text: str) -> None:
        """It goes on: called often."""


async def go_over(url: SecretUrl, told: Told) -> bool:
    """Bring the database to format 2; say whether it was in format 1.

    Raises: OldServers, when all but the change itself was done; StartupError.
    """
    async with (
        connected(url, MIGRATE_SECONDS) as connection,
        turn(connection, url, told.tell),
    ):
        if await connection.fetchval(FORMAT) == 2:
            return False
        told.tell("goes over to format 2: conversations")
        await _fill(connection, told)
        await _check_servers(connection)
        await _in_time(connection, _begin_columns)
        told.tell("goes over to format 2: what is pending; writers wait for a moment")
        await _in_time(connection, _finish)
        await connection.execute("ANALYZE pending, members")
        return True


# While servers run ------------------------------------------------------------------------------


async def _fill(connection: PostgresConnection, told: Told) -> None:
    await connection.execute(_NOTE_APPLIED)
    # They are entered in this order, so the last one says how far it has come.
    [(last, count)] = await connection.fetch(_LAST)
    while rows := await connection.fetch(_NAMES, last, STEP_CONVERSATIONS):
        await _note(connection, [tuple(row) for row in rows])
        last, count = rows[-1][0], count + len(rows)
        told.progress(f"{count} conversations")
    while await _catch_up(connection, told.progress) > LEFT_FOR_THE_END:
        pass
    await connection.execute("ANALYZE conversations, members, devices")


async def _catch_up(connection: PostgresConnection, progress: Callable[[str], None]) -> int:
    """Look at what came since the last look; return how many messages that were."""
    count = 0
    for partition, begin, end in await connection.fetch(_NOTED):
        offset = begin
        while offset < end:
            rows = await connection.fetch(_SINCE, partition, offset, STEP_MESSAGES)
            if not rows:
                break
            offset = rows[0][3]
            async with connection.transaction():
                await _note(connection, [tuple(row)[:3] for row in rows])
                await connection.execute(_NOTE_POSITION, partition, offset)
            count += rows[0][4]
            progress(f"{count} messages that came meanwhile")
    return count


async def _note(connection: PostgresConnection, rows: Sequence[tuple[str, int, int]]) -> None:
    """Enter conversations (name, offset and time of the last message) and their members."""
    users = {name: participants(name) for name, _offset, _time_ms in rows if not is_room(name)}
    unclear = [name for name, named in users.items() if not named]
    if unclear:
        named = await connection.fetch(_FIRST, unclear)
        users.update({name: tuple(dict.fromkeys(found)) for name, found in named})
    conversations: list[tuple[Any, ...]] = [(name, is_room(name), *rest) for name, *rest in rows]
    members = [
        (name, user, number)
        for name, named in users.items()
        for number, user in enumerate(named, 1)
    ]
    await connection.execute(_NOTE_CONVERSATIONS, *columns(conversations, 4), *columns(members, 3))


# At the end -------------------------------------------------------------------------------------


async def _check_servers(connection: PostgresConnection) -> None:
    names = [name for (name,) in await connection.fetch(_OLD_SERVERS)]
    if names:
        raise OldServers(names)


async def _in_time(
    connection: PostgresConnection, work: Callable[[PostgresConnection], Awaitable[None]]
) -> None:
    """Do it in a transaction that waits for no table for long, but is tried again."""
    for left in reversed(range(TRIES)):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
                await work(connection)
        except _IN_USE:
            if not left:
                raise
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


async def _begin_columns(connection: PostgresConnection) -> None:
    await connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
    await _check_servers(connection)
    await connection.execute(BEGIN_COLUMNS)


async def _finish(connection: PostgresConnection) -> None:
    # Whatever is applied in format 1 writes into this table, or at least asks for it. So nothing
    # is applied from here on, and no other lock is needed that might be taken in another order.
    await connection.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
    await _check_servers(connection)
    await _catch_up(connection, lambda _text: None)
    # These look at a table as a whole.
    await connection.execute(
        "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on;"
        " SET LOCAL work_mem = '128MB'"
    )
    await connection.execute(_FILL_MAILBOXES)
    await connection.execute(_FILL_PENDING)
    await connection.execute(_FILL_OUTSIDERS)
    await connection.execute(_FILL_READ_OFFSETS)
    await connection.execute(BEGIN_FORMAT_2)
