"""The message store in PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar

from landline.adapters.postgres.applied_poller import AppliedPoller
from landline.adapters.postgres.hosts import Hosts
from landline.adapters.postgres.lane import Lane, PostgresConnection
from landline.adapters.postgres.pages import (
    TURNS,
    pending_answers,
    pending_arguments,
    turns_answers,
    turns_arguments,
)
from landline.adapters.postgres.preflight import broken_promises
from landline.adapters.postgres.revocations import PostgresRevocations
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
# The last one that was used is taken first, so that usually there is one connection.
REPLAY_LANES: Final = 5
# In trouble at the same time, it is no longer about the mailboxes that some of them have met.
REPLAY_LANES_IN_TROUBLE: Final = 3
ASKER_LANE_SECONDS: Final = 4.0
REVOCATIONS_LANE_SECONDS: Final = 3.0
# How often a lane in trouble is tried again although nobody uses it: health must not stay bad.
PROBE_SECONDS: Final = 1.0

_APPLY: Final = statement("postgres", "apply")
_APPLIED: Final = statement("postgres", "applied")
PENDING: Final = statement("postgres", "pending")
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
        self._name = f"landline-{server_id}"
        self._allow_unsafe = allow_unsafe
        self._hosts = hosts = Hosts(url, self._name)
        self._writer = Lane(self._connect_writer, WRITER_LANE_SECONDS, hosts)
        self._replay = [
            Lane(lambda: hosts.connect(REPLAY_SECONDS), REPLAY_SECONDS, hosts)
            for _ in range(REPLAY_LANES)
        ]
        self._free_replay: asyncio.Queue[Lane] = asyncio.LifoQueue()
        for lane in self._replay:
            self._free_replay.put_nowait(lane)
        self._asker = Lane(lambda: hosts.connect(ASKER_LANE_SECONDS), ASKER_LANE_SECONDS, hosts)
        # Of its own: those whose sessions have to end do not wait behind questions about messages.
        self._revoker = Lane(
            lambda: hosts.connect(REVOCATIONS_LANE_SECONDS), REVOCATIONS_LANE_SECONDS, hosts
        )
        self._poller = AppliedPoller(self.applied)
        self.revocations = PostgresRevocations(self._revoker.run)
        self._prober: asyncio.Task[None] | None = None
        self._is_closed = False

    async def apply(self, batches: Sequence[Batch]) -> bool:
        """Apply the batches in one statement."""
        moved_any = False
        moved_all = True
        for group in independent(batches):
            arguments = _apply_arguments(group)
            try:
                moved = await self._fetch(self._writer, _APPLY, *arguments)
            except Unstorable:
                if moved_any:
                    # What was applied stands: "not all" is the truth, and the refusal comes
                    # again when the rest is tried by itself.
                    return False
                raise
            moved_any = moved_any or bool(moved)
            moved_all = moved_all and len(moved) == len(group)
        if moved_any:
            self._poller.moved()
        return moved_all

    async def applied(self) -> Positions:
        """Read the position of every partition."""
        return dict(await self._read(self._asker, _APPLIED))

    async def wait_applied(self, target: Positions) -> Positions:
        """Ask again and again, with one question for all callers that wait."""
        return await self._poller.wait(target)

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        """Read everything in one statement; in another one what is answered in turns."""
        plain = [query for query in queries if query.turn is None]
        in_turns = [query for query in queries if query.turn is not None]
        answers = iter(await self._read_page(PENDING, pending_arguments(plain), plain))
        others = iter(await self._read_page(TURNS, turns_arguments(in_turns), in_turns))
        return [next(answers if query.turn is None else others) for query in queries]

    async def find(self, message_ids: Collection[str]) -> Mapping[str, Appended]:
        """Look messages up by id."""
        rows = await self._read(self._asker, _FIND, list(message_ids))
        return {
            str(id): Appended(Position(partition, offset), time_ms)
            for id, partition, offset, time_ms in rows
        }

    def health(self) -> str | None:
        """Return what went wrong last on a lane that has not worked since.

        That of revocations does not count: sends need it not, and it is tried again all the time.
        Of those for pages that is several: one may have met a mailbox that cannot be read.
        """
        replay = [lane.trouble for lane in self._replay if lane.trouble is not None]
        is_replay_bad = len(replay) >= REPLAY_LANES_IN_TROUBLE
        return self._writer.trouble or self._asker.trouble or (replay[0] if is_replay_bad else None)

    async def close(self) -> None:
        """Close every connection."""
        self._is_closed = True
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.wait([self._prober])
        await self._poller.close()
        await asyncio.gather(*(lane.close() for lane in self._lanes))

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

    @property
    def _lanes(self) -> tuple[Lane, ...]:
        return self._writer, *self._replay, self._asker, self._revoker

    async def _connect_writer(self) -> PostgresConnection:
        """Connect, and do not write where a commit may be forgotten: a client that was told that a
        position is applied may have acted on it.
        """
        connection = await self._hosts.connect(WRITER_LANE_SECONDS)
        try:
            broken = [] if self._allow_unsafe else await broken_promises(connection)
        except BaseException:
            connection.terminate()
            raise
        if broken:
            connection.terminate()
            raise ConnectionError(broken[0])
        return connection

    async def _read_page(
        self, sql: str, arguments: Sequence[Any], queries: Sequence[PendingQuery]
    ) -> list[Pending]:
        if not queries:
            return []
        try:
            async with asyncio.timeout(REPLAY_SECONDS):
                lane = await self._free_replay.get()
        except TimeoutError as error:
            raise StoreUnavailable("PostgreSQL does not answer in time") from error
        try:
            rows = await self._read(lane, sql, *arguments)
        finally:
            self._free_replay.put_nowait(lane)
        return pending_answers(queries, rows) if sql is PENDING else turns_answers(queries, rows)

    async def _read(self, lane: Lane, sql: str, *arguments: Any) -> list[Any]:
        try:
            return await self._fetch(lane, sql, *arguments)
        except Unstorable as error:
            raise StoreUnavailable(str(error)) from error

    async def _fetch(self, lane: Lane, sql: str, *arguments: Any) -> list[Any]:
        return await self._run(lane, lambda connection: connection.fetch(sql, *arguments))

    async def _run(self, lane: Lane, work: Callable[[PostgresConnection], Awaitable[T]]) -> T:
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


def independent(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Group the batches so that no message occurs twice in a group, whatever the log holds.

    Nearly always that is one group: all that concerns a message is in one partition.
    """
    groups: list[tuple[set[str], list[Batch]]] = []
    for batch in batches:
        ids = {message.id for message in batch.messages}
        ids.update(receipt.message_id for receipt in batch.receipts)
        for known, group in groups:
            if known.isdisjoint(ids):
                known.update(ids)
                group.append(batch)
                break
        else:
            groups.append((ids, [batch]))
    return [group for _ids, group in groups]


def _apply_arguments(batches: Sequence[Batch]) -> Iterable[Sequence[Any]]:
    facts = [
        (batch.partition, m.id, m.conversation, m.sender, m.content, m.time_ms, m.position.offset)
        for batch in batches
        for m in batch.messages
    ]
    facts.sort(key=lambda fact: fact[1])
    quarantined = [
        (*each.position, each.value, _storable(each.reason))
        for batch in batches
        for each in batch.quarantined
    ]
    positions = [(batch.partition, batch.start, batch.end) for batch in batches]
    *deliveries, conversations = _columns(_deliveries(batches), 6)
    return (
        *_columns(positions, 3),
        *_columns(facts, 7),
        *deliveries,
        *_columns(quarantined, 4),
        conversations,
    )


def _deliveries(
    batches: Sequence[Batch],
) -> list[tuple[int, str, str, int | None, str | None, str | None]]:
    """Return one row for each message and recipient, in the order of the primary key."""
    owed: dict[tuple[str, str], tuple[int, int | None, str | None]] = {}
    received: dict[tuple[str, str], str] = {}
    for batch in batches:
        for message in batch.messages:
            for user in message.recipients:
                place = (batch.partition, message.position.offset, message.conversation)
                owed[message.id, user] = place
        for id, user, delivered_at in batch.receipts:
            known = received.get((id, user), delivered_at)
            received[id, user] = min(known, delivered_at)
            owed.setdefault((id, user), (batch.partition, None, None))
    return [
        (partition, *key, offset, received.get(key), conversation)
        for key, (partition, offset, conversation) in sorted(owed.items(), key=itemgetter(0))
    ]


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _storable(reason: str) -> str:
    """Return text that can be stored for certain: else the quarantine itself would be refused."""
    return reason.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _fields(identity: LogIdentity) -> tuple[str, str, int, int]:
    return identity.cluster_id, identity.topic_id, identity.partitions, identity.epoch
