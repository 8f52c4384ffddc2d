"""`landline migrate`: the schema, and the operator's decision that the log was replaced."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from confluent_kafka.admin import OffsetSpec

from landline.adapters import postgres
from landline.adapters.kafka import MESSAGES_TOPIC, KafkaCluster, KafkaEventLog
from landline.adapters.kafka.topics import Topic, find_topic
from landline.adapters.postgres import PostgresMessageStore
from landline.adapters.postgres.migrations import POSTGRES_SCHEMA_VERSION
from landline.app.cluster import difference, is_same_log, kafka_cluster, look_at_kafka
from landline.app.progress import Progress
from landline.config import Settings
from landline.errors import LogLost, LogUnavailable, StartupError, StoreUnavailable
from landline.model import LogIdentity, Positions, covers, join
from landline.writer import Writer

CONFIRMATION = "new log"
# How long nothing at all may be applied of what the old partitions hold.
STANDSTILL_SECONDS = 60.0


def migrate(settings: Settings) -> int:
    """Bring schema and format up to date and say what was done. Returns 0, or 1 when the format
    cannot change yet. Raises: StartupError.
    """
    return asyncio.run(_migrate_all(settings))


def move_to_new_log(settings: Settings, *, is_confirmed: bool) -> int:
    """Go over to the next log epoch, once the operator has seen what that means.

    Raises: StartupError when there is no reason to, or it was not confirmed.
    """
    return asyncio.run(_move_to_new_log(settings, is_confirmed))


async def _migrate_all(settings: Settings) -> int:
    assert settings.postgres is not None, "config.loading sees to it"
    await _migrate(settings)
    screen = Progress()
    try:
        has_changed = await postgres.go_over(settings.postgres, screen)
    except postgres.OldServers as error:
        screen.tell(
            f"--postgres {settings.postgres}: stays in format 1, as the version before is run by"
            f" {', '.join(error.names)}; replace them with this version, then run"
            " `landline migrate` again"
        )
        return 1
    finally:
        screen.clear()
    print("store is in format 2" + ("; it went over" if has_changed else ""))
    return 0


async def _migrate(settings: Settings) -> None:
    assert settings.postgres is not None, "config.loading sees to it"
    for line in await postgres.check(settings.postgres):
        print(f"warning: {line}")
    if caution := await postgres.collation_change(settings.postgres):
        print(f"warning: {caution}")
    count = await postgres.migrate(settings.postgres, print)
    done = f"{count} migration{'s' if count > 1 else ''} run" if count else "nothing to do"
    print(f"schema is at version {POSTGRES_SCHEMA_VERSION}; {done}")


async def _move_to_new_log(settings: Settings, is_confirmed: bool) -> int:
    assert settings.postgres is not None, "config.loading sees to it"
    await _migrate(settings)
    cluster = kafka_cluster(settings, "migrate")
    store = PostgresMessageStore(settings.postgres, "migrate", allow_unsafe=settings.allow_unsafe)
    try:
        plan = await _plan(settings, cluster, store)
        for line in plan.lines():
            print(line)
        if not (is_confirmed or _confirm()):
            print("nothing was changed")
            return 1
        topic = await look_at_kafka(settings, cluster)
        if plan.topic is not None and plan.topic.topic_id != topic.topic_id:
            raise StartupError(f"{MESSAGES_TOPIC} was made again meanwhile: nothing was changed")
        if plan.kept:
            await _apply_rest(cluster, store, topic, plan.known)
            plan = replace(plan, applied=await store.applied())
        known = plan.known
        successor = LogIdentity(topic.cluster_id, topic.topic_id, topic.partitions, known.epoch)
        first = await _offsets(cluster, topic, OffsetSpec.earliest())
        identity = await store.start_new_epoch(successor, join(first, plan.kept))
    except LogUnavailable as error:
        raise StartupError(f"--kafka {','.join(settings.kafka or ())}: {error}") from error
    except LogLost as error:
        raise StartupError(f"{error}\nNothing was moved: look at it, and run this again") from error
    except StoreUnavailable as error:
        raise StartupError(f"--postgres {settings.postgres}: {error}; try again") from error
    finally:
        await store.close()
    print(f"the store follows this log now, as log epoch {identity.epoch}; start the servers")
    return 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the store was written from, and what is there now: `topic` is None for nothing.

    `lost` names what the log does not hold any more although it is the same one.
    """

    known: LogIdentity
    applied: Positions
    topic: Topic | None
    lost: Sequence[str]

    @property
    def kept(self) -> Positions:
        """Return up to where the log need not be read again, counted within it.

        It is the same topic with more partitions: what was applied of the old ones is in the
        store, and the rest is applied before. To read it all again would take hours, in which
        everybody's repeats wait.
        """
        known, topic = self.known, self.topic
        is_grown = (
            topic is not None
            and (topic.cluster_id, topic.topic_id) == (known.cluster_id, known.topic_id)
            and topic.partitions > known.partitions
            and not self.lost
        )
        if not is_grown:
            return {}
        return {each: offset - known.base for each, offset in self.applied.items()}

    def lines(self) -> Iterator[str]:
        """Yield what the operator has to know before they decide."""
        known, topic = self.known, self.topic
        count = sum(max(0, offset - known.base) for offset in self.applied.values())
        yield (
            f"the store was written from: cluster {known.cluster_id}, topic {known.topic_id},"
            f" {known.partitions} partitions, log epoch {known.epoch}; it has applied it up to"
            f" {count} offsets in all"
        )
        if topic is None:
            yield f"there is now: no {MESSAGES_TOPIC}; it will be made"
        else:
            yield (
                f"there is now: cluster {topic.cluster_id}, topic {topic.topic_id},"
                f" {topic.partitions} partitions: {_what_differs(known, topic)}"
            )
            yield from (f"warning: {line}" for line in topic.broken)
        yield from self.lost
        if self.kept:
            yield (
                "What the log holds beyond that is applied first. The store goes on from there in"
                " each of them, and at the start of the new ones. Conversations move to other"
                " partitions, so their next offsets are higher by far; nothing is lost and nothing"
                " is read twice."
            )
            return
        yield (
            "What the old log holds beyond that, and nobody has applied, is given up. The new one"
            " is applied from its first record on; what the store has already stays as it is."
        )


async def _plan(settings: Settings, cluster: KafkaCluster, store: PostgresMessageStore) -> _Plan:
    known = await store.identity()
    if known is None:
        raise StartupError(
            f"--postgres {settings.postgres}: this store was not written from any log yet; start"
            " a server, it takes the one that is there"
        )
    if others := await store.others():
        raise StartupError(
            f"--postgres {settings.postgres}: in use by {', '.join(others)}; stop all servers first"
        )
    applied = await store.applied()
    topic = await find_topic(cluster)
    lost: list[str] = []
    is_same_topic = topic is not None and topic.topic_id == known.topic_id
    if topic is not None and is_same_topic and topic.cluster_id == known.cluster_id:
        lost = await _what_is_lost(cluster, topic, known, applied)
        if not lost and is_same_log(known, topic):
            raise StartupError(
                f"--kafka {','.join(settings.kafka or ())}: {MESSAGES_TOPIC} is the log that this"
                " store was written from, and holds what it should: there is nothing to move to"
            )
    return _Plan(known, applied, topic, lost)


async def _what_is_lost(
    cluster: KafkaCluster, topic: Topic, known: LogIdentity, applied: Positions
) -> list[str]:
    """Return a line for each partition that does not hold what is to be read next."""
    first = await _offsets(cluster, topic, OffsetSpec.earliest())
    ends = await _offsets(cluster, topic, OffsetSpec.latest())
    lost = []
    for partition in range(min(topic.partitions, known.partitions)):
        offset = applied.get(partition, known.base) - known.base
        if offset < first[partition]:
            gone = f"{offset} to {first[partition] - 1} are gone and were never applied"
            lost.append(f"partition {partition}: records {gone}")
        elif offset > ends[partition]:
            lost.append(
                f"partition {partition}: was applied up to {offset}, but ends at {ends[partition]}"
            )
    return lost


async def _apply_rest(
    cluster: KafkaCluster, store: PostgresMessageStore, topic: Topic, known: LogIdentity
) -> None:
    """Apply what the old partitions hold beyond the store, at the offsets of the old epoch: those
    are what the senders were told.

    Raises: LogLost, LogUnavailable, StoreUnavailable, StartupError when it does not go on.
    """
    before = replace(topic, partitions=known.partitions)
    ends = {
        each: known.base + end
        for each, end in (await _offsets(cluster, before, OffsetSpec.latest())).items()
    }
    applied = await store.applied()
    count = sum(end - applied.get(each, known.base) for each, end in ends.items())
    if count == 0:
        return
    print(f"applying {count} offsets that the log holds beyond that, at their old positions")
    event_log = KafkaEventLog(cluster, MESSAGES_TOPIC, before, known.epoch, may_have_grown=True)
    writer = Writer(event_log, store)
    writing = asyncio.create_task(writer.run(), name="writer")
    loop = asyncio.get_running_loop()
    seen, moved_at = writer.applied, loop.time()
    try:
        while not covers(writer.applied, ends):
            if (await asyncio.wait({writing}, timeout=0.1))[0]:
                writing.result()
            if writer.applied != seen:
                seen, moved_at = writer.applied, loop.time()
            if loop.time() > moved_at + STANDSTILL_SECONDS:
                raise StartupError(
                    f"the store does not take what the log holds: {writer.trouble or 'no reason'};"
                    " nothing was moved, run this again when both are well"
                )
    finally:
        writing.cancel()
        await asyncio.wait({writing})
        await event_log.close()


async def _offsets(cluster: KafkaCluster, topic: Topic, spec: OffsetSpec) -> Positions:
    offsets = await cluster.offsets(MESSAGES_TOPIC, range(topic.partitions), spec)
    if len(offsets) < topic.partitions:
        raise LogUnavailable(f"Kafka: {MESSAGES_TOPIC} has partitions without a leader; try again")
    return offsets


def _what_differs(known: LogIdentity, topic: Topic) -> str:
    return "the same one" if is_same_log(known, topic) else difference(known, topic)


def _confirm() -> bool:
    if not sys.stdin.isatty():
        raise StartupError("nothing was changed: add --yes when this is what you want")
    return input(f'Type "{CONFIRMATION}" to go on: ').strip() == CONFIRMATION
