"""What the tests of a broken Kafka share: topics, records, and what must hold in spite of it."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from landline.adapters.kafka import KafkaCluster, KafkaEventLog
from landline.errors import LogUnavailable
from landline.model import Appended, NotAppended
from landline.protocol.partitions import partition_of
from landline_stack.kafka import KafkaNode
from support.event_logs import Appends, Follower, KafkaHome, Record, read_all
from support.stack import CREATED_SECONDS, KAFKA_SECONDS, create_topic
from support.waiting import until, wait_until

LOG_TIME = {"message.timestamp.type": "LogAppendTime"}

Harm = Callable[[KafkaNode], None]

numbers = count()


def heal(brokers: Sequence[KafkaNode]) -> None:
    for each in brokers:
        if each.is_running:
            each.resume()
        else:
            each.start()


class Topics:
    """Makes topics, and homes on them that are closed at the end."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.cluster = KafkaCluster([servers], "test")
        self.admin: AdminClient = self.cluster.admin
        self._homes: list[KafkaHome] = []

    def make(self, *, config: Mapping[str, str] | None = None, **how: Any) -> str:
        name = f"test-{secrets.token_hex(6)}"
        create_topic(self.admin, name, config={**LOG_TIME, **(config or {})}, **how)
        # A broker that has just come back needs a while.
        wait_until(lambda: self._is_in_sync(name), f"{name} is in sync")
        return name

    def _is_in_sync(self, topic: str) -> bool:
        found = self.admin.list_topics(topic, timeout=KAFKA_SECONDS).topics[topic]
        return all(len(each.isrs) == len(each.replicas) for each in found.partitions.values())

    def home(self, topic: str, epoch: int = 0, hints: str | None = None) -> KafkaHome:
        self._homes.append(KafkaHome(self.cluster, topic, epoch, hints=hints))
        return self._homes[-1]

    async def open(self, **how: Any) -> KafkaEventLog:
        return await self.home(self.make(**how)).open()

    async def open_as_a_server(self, **how: Any) -> KafkaEventLog:
        """Open with a topic for hints: without one an empty log does not tell the brokers' time."""
        return await self.home(self.make(**how), hints=self.make()).open()

    def delete(self, topic: str) -> None:
        for deleted in self.admin.delete_topics([topic], request_timeout=KAFKA_SECONDS).values():
            deleted.result(KAFKA_SECONDS)

    async def make_again(self, topic: str, **how: Any) -> None:
        """Create it once the name is free."""

        async def is_made() -> bool:
            try:
                await asyncio.to_thread(create_topic, self.admin, topic, **how)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                return False
            return True

        await until(is_made, f"the name {topic} is free", CREATED_SECONDS)

    def forget(self, topic: str, partition: int, offset: int) -> None:
        """Have the broker delete what is below `offset`."""
        place = TopicPartition(topic, partition, offset)
        for deleted in self.admin.delete_records([place]).values():
            deleted.result(KAFKA_SECONDS)

    async def close(self) -> None:
        for home in self._homes:
            await home.close()


def records(number: int, size_bytes: int = 100) -> list[Record]:
    """Return records of many keys; no value comes twice in the whole run."""
    return [
        (f"dm:a:user{next(numbers) % 50}", str(next(numbers)).encode().ljust(size_bytes, b"."))
        for _ in range(number)
    ]


def key_of(partition: int, partitions: int) -> str:
    return next(key for n in count() if partition_of(key := f"dm:a:{n}", partitions) == partition)


async def assert_truthful(event_log: KafkaEventLog, *appends: Appends) -> None:
    """What was acknowledged is there as it was; what was certainly refused is not."""
    entries = await read_all(event_log)
    there = set(entries)
    values = {entry.value for entry in entries}
    for each in appends:
        assert set(each.calls.values()) == {1}
        assert [entry for entry in each.entries if entry not in there] == []
        for number, result in each.results.items():
            if isinstance(result, NotAppended) and result.certain:
                assert each.records[number][1] not in values


async def until_refused(event_log: KafkaEventLog) -> str:
    await until(lambda: event_log.health() is not None, "the trouble is noticed")
    return event_log.health() or ""


async def until_all_refused(event_log: KafkaEventLog) -> str:
    """Wait until it is known of every partition, and not of the first one alone."""
    await until(
        lambda: " partitions: " not in (event_log.health() or " partitions: "),
        lambda: f"no partition can be used; known is: {event_log.health()}",
    )
    return event_log.health() or ""


async def until_well(event_log: KafkaEventLog) -> None:
    await until(lambda: event_log.health() is None, "the trouble is over")


async def read_as_the_writer(follower: Follower, event_log: KafkaEventLog) -> None:
    """Read up to the ends, with a new reader whenever one is of no use any more."""
    ends = await event_log.ends()
    while any(follower.positions.get(each, 0) < end for each, end in ends.items()):
        try:
            await follower.read()
        except LogUnavailable:
            await follower.reader.close()
            follower.reader = await event_log.open_reader(follower.positions)
    await follower.reader.close()


def outcomes(appends: Appends) -> set[str]:
    return {
        "appended" if isinstance(each, Appended) else "refused" if each.certain else "unknown"
        for each in appends.results.values()
    }


def kill(broker: KafkaNode) -> None:
    broker.kill()


def pause(broker: KafkaNode) -> None:
    broker.pause()
