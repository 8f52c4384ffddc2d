"""The message store in PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

from landline.adapters.postgres import applying
from landline.adapters.postgres.applied_poller import AppliedPoller
from landline.adapters.postgres.applying import Step, steps
from landline.adapters.postgres.applying_1 import APPLY_1, apply_arguments_1, check_1, ids_of_1
from landline.adapters.postgres.batch_rows import ids_of
from landline.adapters.postgres.conversations import PostgresConversations
from landline.adapters.postgres.devices import PostgresDevices
from landline.adapters.postgres.hosts import Hosts
from landline.adapters.postgres.lane import Lane, Lanes, PostgresConnection
from landline.adapters.postgres.naming import session_name
from landline.adapters.postgres.pages import (
    PENDING,
    TURNS,
    pending_answers,
    pending_arguments,
    turns_answers,
    turns_arguments,
)
from landline.adapters.postgres.pages_1 import PENDING_1, pending_answers_1, pending_arguments_1
from landline.adapters.postgres.preflight import broken_promises
from landline.adapters.postgres.purging import purge
from landline.adapters.postgres.record_format import RecordFormat
from landline.adapters.postgres.revocations import PostgresRevocations
from landline.adapters.postgres.rounds import rounds
from landline.adapters.statements import statement
from landline.config.values import SecretUrl
from landline.errors import StoreUnavailable, Unstorable
from landline.model import (
    NOWHERE,
    Appended,
    Batch,
    LogIdentity,
    Pending,
    PendingQuery,
    Position,
    Positions,
)

T = TypeVar("T")

# Below the callers' deadlines, so that the reason they hear is ours.
WRITER_LANE_SECONDS: Final = 15.0
REPLAY_SECONDS: Final = 8.0
# As many as a server asks for pages at once (`gateway.replay`). Each request may be held up by a
# mailbox that cannot be read in time, and with no lane left nobody could find out which one it is.
REPLAY_LANES: Final = 5
# In trouble at the same time, it is no longer about the mailboxes that some of them have met.
REPLAY_LANES_IN_TROUBLE: Final = 3
ASKER_LANE_SECONDS: Final = 4.0
REVOCATIONS_LANE_SECONDS: Final = 3.0
# Whoever sends to a room waits for its members.
ROOMS_LANE_SECONDS: Final = 3.0
# People who look through conversations wait for each other, and nobody waits for them.
READING_SECONDS: Final = 4.0
READING_LANES: Final = 2
# Nobody waits for what is old to go.
PURGE_LANE_SECONDS: Final = 15.0
# How often a lane in trouble is tried again although nobody uses it: health must not stay bad.
PROBE_SECONDS: Final = 1.0

_APPLIED: Final = statement("postgres", "applied")
_FIND: Final = statement("postgres", "find")
_ADOPT: Final = statement("postgres", "adopt")
_NEW_EPOCH: Final = statement("postgres", "new_epoch")
_PLACE_APPLIED: Final = statement("postgres", "place_applied")
_SKIP_APPLIED: Final = statement("postgres", "skip_applied")
_OTHERS: Final = statement("postgres", "others")
_IDENTITY: Final = statement("postgres", "identity")


class PostgresMessageStore:
    """See `landline.ports.MessageStore`. The schema is made by `migrate` before.

    `allow_unsafe`: use a server that may forget what it has committed (see `preflight`).
    """

    def __init__(self, url: SecretUrl, server_id: str, *, allow_unsafe: bool = False) -> None:
        self._name = session_name(server_id)
        self._allow_unsafe = allow_unsafe
        self._hosts = hosts = Hosts(url, self._name)
        self._writer = Lane(
            lambda: self._connect_writer(WRITER_LANE_SECONDS), WRITER_LANE_SECONDS, hosts
        )
        self._replay = self._lanes_of(REPLAY_LANES, REPLAY_SECONDS, REPLAY_SECONDS)
        self._asker = Lane(lambda: self._connect(ASKER_LANE_SECONDS), ASKER_LANE_SECONDS, hosts)
        # Of its own: those whose sessions have to end do not wait behind questions about messages.
        self._revoker = Lane(
            lambda: hosts.connect(REVOCATIONS_LANE_SECONDS), REVOCATIONS_LANE_SECONDS, hosts
        )
        self._rooms = Lane(lambda: self._connect(ROOMS_LANE_SECONDS), ROOMS_LANE_SECONDS, hosts)
        # What it deletes is not brought back by the log, so its commits have to be as safe.
        self._purger = Lane(
            lambda: self._connect_writer(PURGE_LANE_SECONDS), PURGE_LANE_SECONDS, hosts
        )
        # Half of the time is for the answer at least.
        self._reading = self._lanes_of(READING_LANES, READING_SECONDS, READING_SECONDS / 2)
        self._poller = AppliedPoller(self.applied)
        self.revocations = PostgresRevocations(self._revoker.run)
        self.format = RecordFormat(lambda sql: self._read(self._asker, sql))
        self.devices = PostgresDevices(
            lambda sql, *arguments: self._read(self._asker, sql, *arguments), self.format
        )
        self.conversations = PostgresConversations(
            self._reading.run,
            READING_SECONDS,
            lambda sql, *arguments: self._read(self._rooms, sql, *arguments),
            lambda sql, *arguments: self._read(self._purger, sql, *arguments),
            self.format,
        )
        self._prober: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def record_version(self) -> int:
        """That of the database's format; 1 for as long as it was not looked at."""
        return self.format.record_version

    async def apply(self, batches: Sequence[Batch]) -> bool:
        """Apply the batches, those of a round in one statement as far as possible."""
        if not batches:
            return True
        is_applied = await self.format.run(
            lambda: self._apply_1(batches), lambda: self._apply(batches)
        )
        if not is_applied:
            self.format.doubt()  # the store may have gone back
        return is_applied

    async def applied(self) -> Positions:
        """Read the position of every partition."""
        return dict(await self._read(self._asker, _APPLIED))

    async def wait_applied(self, target: Positions) -> Positions:
        """Ask again and again, with one question for all callers that wait."""
        return await self._poller.wait(target)

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        """Read everything in one statement; in another one what is answered in turns."""
        if not queries:
            return []
        return await self.format.run(
            lambda: self._pending_1(queries), lambda: self._pending(queries)
        )

    async def find(self, message_ids: Collection[str]) -> Mapping[str, Appended]:
        """Look messages up by id."""
        rows = await self._read(self._asker, _FIND, list(message_ids))
        return {
            str(id): Appended(Position(partition, offset), time_ms)
            for id, partition, offset, time_ms in rows
        }

    def health(self) -> str | None:
        """Return what went wrong last on a lane that has not worked since.

        Those of revocations and of purging do not count: sends need them not, and they are tried
        again all the time. Nor do those for reading conversations, which somebody who asks again
        tries again.
        Of those for pages that is several: one may have met a mailbox that cannot be read.
        """
        replay = [lane.trouble for lane in self._replay if lane.trouble is not None]
        is_replay_bad = len(replay) >= REPLAY_LANES_IN_TROUBLE
        needed = self._writer.trouble or self._asker.trouble or self._rooms.trouble
        return needed or (replay[0] if is_replay_bad else None)

    async def close(self) -> None:
        """Close every connection."""
        self._is_closed = True
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.wait([self._prober])
        await self._poller.close()
        await asyncio.gather(*(lane.close() for lane in (*self._lanes, *self._reading)))

    async def purge(
        self, before_ms: int, after: Position, limit: int
    ) -> tuple[int, Position | None]:
        """Delete messages that are older than `before_ms` and that nobody is owed any more.

        One step of a walk by positions: it looks at no more than `limit` behind `after`, and
        returns how many it deleted and where the next step begins; None at the end. It begins
        behind `Position(0, -1)`. In format 1 nothing is deleted. Raises: StoreUnavailable.
        """
        if await self.format.look() == 1:
            return 0, None
        return await purge(
            lambda *of: self._read(self._purger, *of), await self.applied(), before_ms, after, limit
        )

    # Which log this is: outside the port, for opening the log -----------------------------------

    async def identity(self) -> LogIdentity | None:
        """Return which log the rows come from, None before the first. Raises: StoreUnavailable."""
        rows = await self._read(self._asker, _IDENTITY)
        return LogIdentity(*rows[0]) if rows else None

    async def adopt(self, identity: LogIdentity) -> LogIdentity:
        """Make `identity` the log of this store, unless it has one; return the one it has now.

        Every partition then stands at the start of the epoch. Raises: StoreUnavailable.
        """

        async def work(connection: PostgresConnection) -> LogIdentity:
            async with connection.transaction():
                await connection.execute(_ADOPT, *_fields(identity))
                # Under the lock of the row, taken by the statement above where it made one.
                known = LogIdentity(*await connection.fetchrow(_IDENTITY) or ())
                if known == identity:
                    await connection.execute(_PLACE_APPLIED, known.partitions, known.base, False)
            return known

        return await self._run(self._writer, work)

    async def start_new_epoch(
        self, identity: LogIdentity, first: Positions = NOWHERE
    ) -> LogIdentity:
        """Go over from the epoch `identity.epoch` to the next one, with the log of `identity`.

        An operator's decision: what the old log held beyond `applied` is given up. Every partition
        then stands at the start of the new epoch, above all positions of the old one. `first` are
        the offsets, counted within the log, of partitions whose first records have gone already.
        Returns the new identity, or, when the store is not in that epoch, the one it has.
        Raises: StoreUnavailable.
        """

        async def work(connection: PostgresConnection) -> LogIdentity:
            async with connection.transaction():
                changed = await connection.fetchrow(_NEW_EPOCH, *_fields(identity))
                if changed is None:
                    return LogIdentity(*await connection.fetchrow(_IDENTITY) or ())
                known = LogIdentity(*changed)
                await connection.execute(_PLACE_APPLIED, known.partitions, known.base, True)
                offsets = [known.base + offset for offset in first.values()]
                await connection.execute(_SKIP_APPLIED, list(first), offsets)
            return known

        return await self._run(self._writer, work)

    async def others(self) -> Sequence[str]:
        """Return the ids of the servers that are connected to this database.

        As far as this user may see their sessions. Raises: StoreUnavailable.
        """
        return [name for (name,) in await self._read(self._asker, _OTHERS, self._name)]

    # Inside --------------------------------------------------------------------------------------

    def _lanes_of(self, count: int, seconds: float, wait_seconds: float) -> Lanes:
        hosts = self._hosts
        lanes = [Lane(lambda: self._connect(seconds), seconds, hosts) for _ in range(count)]
        return Lanes(lanes, wait_seconds)

    @property
    def _lanes(self) -> tuple[Lane, ...]:
        return self._writer, *self._replay, self._asker, self._revoker, self._rooms, self._purger

    async def _connect(self, seconds: float) -> PostgresConnection:
        """Connect, perhaps to a database that was restored meanwhile."""
        connection = await self._hosts.connect(seconds)
        self.format.doubt()
        return connection

    async def _connect_writer(self, seconds: float) -> PostgresConnection:
        """Connect, and do not write where a commit may be forgotten: a client that was told that a
        position is applied may have acted on it.
        """
        connection = await self._connect(seconds)
        try:
            broken = [] if self._allow_unsafe else await broken_promises(connection)
        except BaseException:
            connection.terminate()
            raise
        if broken:
            connection.terminate()
            raise ConnectionError(broken[0])
        return connection

    async def _apply(self, batches: Sequence[Batch]) -> bool:
        return await self._apply_steps(map(steps, rounds(batches, ids_of)))

    async def _apply_1(self, batches: Sequence[Batch]) -> bool:
        check_1(batches)
        return await self._apply_steps(
            [Step(APPLY_1, apply_arguments_1(each), len(each))]
            for each in rounds(batches, ids_of_1)
        )

    async def _apply_steps(self, steps_of_rounds: Iterable[Sequence[Step]]) -> bool:
        moved_any = False
        moved_all = True
        for step in chain.from_iterable(steps_of_rounds):
            try:
                if step.ahead:
                    await self._do_ahead(*step.ahead)
                moved = await self._fetch(self._writer, step.sql, *step.arguments)
            except Unstorable:
                if moved_any:
                    # What was applied stands: "not all" is the truth, and the refusal comes
                    # again when the rest is tried by itself.
                    return False
                raise
            moved_any = moved_any or bool(moved)
            moved_all = moved_all and len(moved) == step.partitions
        if moved_any:
            self._poller.moved()
        return moved_all

    async def _do_ahead(self, sql: str, arguments: Sequence[Any]) -> None:
        rows = applying.AHEAD_ROWS
        count = rows
        while count == rows:
            [(count,)] = await self._fetch(self._writer, sql, *arguments, rows)

    async def _pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        plain = [query for query in queries if query.turn is None]
        in_turns = [query for query in queries if query.turn is not None]
        pages: list[Pending] = []
        if plain:
            rows = await self._read(self._replay, PENDING, *pending_arguments(plain))
            pages = pending_answers(plain, rows)
        others: list[Pending] = []
        if in_turns:
            rows = await self._read(self._replay, TURNS, *turns_arguments(in_turns))
            others = turns_answers(in_turns, rows)
        answers, turns = iter(pages), iter(others)
        return [next(answers if query.turn is None else turns) for query in queries]

    async def _pending_1(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        rows = await self._read(self._replay, PENDING_1, *pending_arguments_1(queries))
        return pending_answers_1(queries, rows)

    async def _read(self, lane: Lane | Lanes, sql: str, *arguments: Any) -> list[Any]:
        try:
            return await self._fetch(lane, sql, *arguments)
        except Unstorable as error:
            raise StoreUnavailable(str(error)) from error

    async def _fetch(self, lane: Lane | Lanes, sql: str, *arguments: Any) -> list[Any]:
        return await self._run(lane, lambda connection: connection.fetch(sql, *arguments))

    async def _run(
        self, lane: Lane | Lanes, work: Callable[[PostgresConnection], Awaitable[T]]
    ) -> T:
        try:
            return await lane.run(work)
        except StoreUnavailable:
            is_probing = self._prober is not None and not self._prober.done()
            if not is_probing and not self._is_closed:
                self._prober = asyncio.get_running_loop().create_task(self._probe())
            raise

    async def _probe(self) -> None:
        while self.health() is not None:
            await asyncio.sleep(PROBE_SECONDS)
            for lane in self._lanes:
                if lane.trouble is not None:
                    await lane.probe()


def _fields(identity: LogIdentity) -> tuple[str, str, int, int]:
    return identity.cluster_id, identity.topic_id, identity.partitions, identity.epoch
