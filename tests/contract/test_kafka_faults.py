"""The Kafka log and the Kafka bus when brokers die, hang, refuse, forget, or are given another log.

Whatever happens: every append is answered once, an acknowledged record is there for ever, one that
was certainly refused never is, and what cannot be mended stops with one clear sentence.
"""

import asyncio
import json
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from confluent_kafka.cimpl import NewPartitions

from landline.adapters.kafka import KafkaCluster, KafkaEventLog, KafkaRoutingBus
from landline.adapters.kafka.producer import FLYING_BYTES, FLYING_RECORDS
from landline.adapters.kafka.reader import KafkaLogReader
from landline.adapters.kafka.topics import RECORD_BYTES, inspect_topic
from landline.errors import LogLost, LogUnavailable
from landline.model import OFFSET_BITS, Appended, NotAppended, Position
from landline.protocol.partitions import partition_of
from landline_stack import Stack
from landline_stack.kafka import KafkaNode
from support.event_logs import (
    Appends,
    Follower,
    KafkaHome,
    Record,
    append_all,
    by_partition,
    in_order,
    read_all,
)
from support.stack import KAFKA_SECONDS, create_topic, stack_or_skip
from support.waiting import go_round, paced, until, until_equal, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

LOG_TIME = {"message.timestamp.type": "LogAppendTime"}

Harm = Callable[[KafkaNode], None]

_numbers = count()


@pytest.fixture(scope="module")
def lone_stack() -> Iterator[Stack]:
    with stack_or_skip(kafka_alone=True) as stack:
        yield stack


@pytest.fixture(scope="module")
def stack_of_three() -> Iterator[Stack]:
    with stack_or_skip(brokers=3, kafka_alone=True) as stack:
        yield stack


@pytest.fixture
def broker(lone_stack: Stack) -> Iterator[KafkaNode]:
    """The only broker, alive at the end of the test as it was at its start."""
    yield lone_stack.brokers[0]
    _heal(lone_stack.brokers)


@pytest.fixture
def brokers(stack_of_three: Stack) -> Iterator[Sequence[KafkaNode]]:
    """Three brokers, alive at the end of the test as they were at its start."""
    yield stack_of_three.brokers
    _heal(stack_of_three.brokers)


def _heal(brokers: Sequence[KafkaNode]) -> None:
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

        await until(is_made, f"the name {topic} is free")

    def forget(self, topic: str, partition: int, offset: int) -> None:
        """Have the broker delete what is below `offset`."""
        place = TopicPartition(topic, partition, offset)
        for deleted in self.admin.delete_records([place]).values():
            deleted.result(KAFKA_SECONDS)

    async def close(self) -> None:
        for home in self._homes:
            await home.close()


@pytest.fixture
async def topics(broker: KafkaNode) -> AsyncIterator[Topics]:
    made = Topics(broker.address)
    yield made
    await made.close()


@pytest.fixture
async def wide_topics(brokers: Sequence[KafkaNode]) -> AsyncIterator[Topics]:
    made = Topics(",".join(each.address for each in brokers))
    yield made
    await made.close()


def records(number: int, size_bytes: int = 100) -> list[Record]:
    """Return records of many keys; no value comes twice in the whole run."""
    return [
        (f"dm:a:user{next(_numbers) % 50}", str(next(_numbers)).encode().ljust(size_bytes, b"."))
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


# The broker is away ---------------------------------------------------------------------------


def _kill(broker: KafkaNode) -> None:
    broker.kill()


def _pause(broker: KafkaNode) -> None:
    broker.pause()


@pytest.mark.parametrize("harm", [_kill, _pause])
async def test_first_it_is_unknown_then_refused_at_once_then_it_works_again(
    broker: KafkaNode, topics: Topics, harm: Harm
) -> None:
    """F01, F11: no append is without an answer, and no answer claims too much."""
    event_log = await topics.open(partitions=8)
    before = Appends(event_log)
    before.append(records(200))
    await before.acknowledged()

    await asyncio.to_thread(harm, broker)
    during = Appends(event_log)
    during.append(records(500))
    await during.settled()
    assert "appended" not in outcomes(during)
    assert "unknown" in outcomes(during)
    assert "Kafka" in await until_refused(event_log)
    refused = Appends(event_log)
    refused.append(records(5_000))
    await refused.settled()
    assert outcomes(refused) == {"refused"}
    assert len(event_log._flying) < 5_000

    await asyncio.to_thread(_heal, [broker])
    await until_well(event_log)
    after = Appends(event_log)
    after.append(records(200))
    await after.acknowledged()
    await assert_truthful(event_log, before, during, refused, after)


async def test_what_waits_for_a_silent_broker_is_bounded(broker: KafkaNode, topics: Topics) -> None:
    """By number and by size; and close does not wait for who does not answer."""
    event_log = await topics.open(partitions=8)
    await append_all(event_log, records(50))
    broker.pause()
    small, large = Appends(event_log), Appends(event_log)
    for appends, number, size_bytes in (
        (small, 2 * FLYING_RECORDS, 10),
        (large, 2_000, 60_000),
    ):
        appends.append(records(number, size_bytes))
        await go_round()
        assert len(event_log._flying) <= FLYING_RECORDS
        assert event_log._flying_bytes <= FLYING_BYTES + size_bytes
        assert outcomes(appends) == {"refused"}
    await event_log.close()
    for appends in (small, large):
        assert len(appends.results) == len(appends.records)
        assert outcomes(appends) <= {"refused", "unknown"}
    assert "kafka-producer" not in {thread.name for thread in threading.enumerate()}


async def test_after_close_nothing_is_taken(topics: Topics) -> None:
    event_log = await topics.open()
    await event_log.close()
    appends = Appends(event_log)
    appends.append(records(3))
    await appends.settled()
    assert outcomes(appends) == {"refused"}


async def test_a_reader_waits_while_the_broker_is_away_and_reads_on(
    broker: KafkaNode, topics: Topics
) -> None:
    event_log = await topics.open(partitions=4)
    before = await append_all(event_log, records(100))
    follower = await Follower.open(event_log, {})
    while len(follower.entries) < 100:
        await follower.read()
    broker.pause()
    await until_refused(event_log)
    with pytest.raises(LogUnavailable):
        await event_log.ends()
    with pytest.raises(LogUnavailable):
        await event_log.open_reader({})
    broker.resume()
    await until_well(event_log)
    after = await append_all(event_log, records(100))
    await read_as_the_writer(follower, event_log)
    assert by_partition(follower.entries) == in_order([*before, *after])


async def test_a_reader_of_which_a_partition_is_stuck_is_given_up(
    topics: Topics, frequent_looks: float
) -> None:
    event_log = await topics.open(partitions=4)
    reader = await event_log.open_reader({})
    follower = Follower(reader, {})
    before = await append_all(event_log, records(100))
    while len(follower.entries) < 100:
        await follower.read()
    # What librdkafka does when it loses sight of a partition: nothing comes, and nothing is said.
    reader._consumer.pause([TopicPartition(reader._topic, 2)])
    after = await append_all(event_log, records(100))
    with pytest.raises(
        LogUnavailable, match=r"partitions \[2\] of .* have records that do not come"
    ):
        await follower.read_until(await event_log.ends())
    await read_as_the_writer(follower, event_log)
    assert by_partition(follower.entries) == in_order([*before, *after])


@pytest.fixture
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the seconds between two looks of a reader whether it is stuck: fewer than usual."""
    monkeypatch.setattr("landline.adapters.kafka.reader.STUCK_LOOK_SECONDS", 1.0)
    return 1.0


async def test_a_reader_whom_nobody_asks_is_not_stuck(
    topics: Topics, frequent_looks: float
) -> None:
    event_log = await topics.open(partitions=4)
    follower = await Follower.open(event_log, {})
    entries = await append_all(event_log, records(100))
    await asyncio.sleep(3 * frequent_looks)  # nobody tells of a look that finds nothing
    await follower.read_until(await event_log.ends())
    assert by_partition(follower.entries) == in_order(entries)


async def test_a_reader_closes_while_the_broker_hangs(broker: KafkaNode, topics: Topics) -> None:
    event_log = await topics.open(partitions=4)
    reader = await event_log.open_reader({})
    reading = asyncio.create_task(reader.read(10))
    broker.pause()
    reading.cancel()
    await asyncio.wait({reading})
    await reader.close()
    await until(
        lambda: not any("kafka-reader" in each.name for each in threading.enumerate()),
        "its thread has ended",
    )


# The broker refuses ---------------------------------------------------------------------------


async def test_a_record_that_is_too_large_is_certainly_not_in_the_log(topics: Topics) -> None:
    """F14: the broker's limit, and librdkafka's own."""
    event_log = await topics.open(config={"max.message.bytes": "20000"})
    appends = Appends(event_log)
    appends.append([*records(1, 50_000), *records(1, 3_000_000)])
    await appends.settled()
    assert outcomes(appends) == {"refused"}
    assert event_log.health() is None
    good = Appends(event_log)
    good.append(records(10))
    await good.acknowledged()
    await assert_truthful(event_log, appends, good)


async def test_small_records_are_not_refused_for_the_size_of_their_batch(topics: Topics) -> None:
    """The limit that `prepare_topics` demands is enough, however many records are under way."""
    event_log = await topics.open(config={"max.message.bytes": str(RECORD_BYTES)})
    await append_all(event_log, records(2_000, 5_000))


async def test_a_fatal_producer_is_replaced_and_what_it_held_is_unknown(topics: Topics) -> None:
    """F10. The real error comes on the producer's thread, as here."""
    event_log = await topics.open(partitions=8)
    fatal = KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "fenced", fatal=True)
    appends = Appends(event_log)
    for _ in range(5):
        line = event_log._line
        appends.append(records(2_000))
        await asyncio.to_thread(line._failed, fatal)
        appends.append(records(100))
        await until(lambda line=line: event_log._line is not line, "it is replaced")  # type: ignore[misc]
        appends.append(records(100))
    await appends.settled()
    assert "refused" not in outcomes(appends)
    again = Appends(event_log)
    again.append(records(100))
    await again.acknowledged()
    await assert_truthful(event_log, appends, again)
    await until(
        lambda: [each.name for each in threading.enumerate()].count("kafka-producer") == 1,
        "the threads of the others have ended",
    )


# The log is not what it was -------------------------------------------------------------------


async def test_a_topic_that_was_made_again_is_another_log(topics: Topics) -> None:
    """F26: its offsets mean other records."""
    topic = topics.make(partitions=4)
    home = topics.home(topic)
    event_log = await home.open()
    await append_all(event_log, records(20))
    topics.delete(topic)
    await topics.make_again(topic, partitions=4)
    error = str(await home.lost())
    assert error.startswith(f"{topic} is another log: it was deleted and made again")
    assert "landline migrate --new-log" in error


async def test_more_partitions_are_another_log(topics: Topics) -> None:
    """F16: a conversation's next record would be elsewhere."""
    topic = topics.make(partitions=4)
    home = topics.home(topic)
    await append_all(await home.open(), records(20))
    asked = [NewPartitions(topic, 6)]
    for grown in topics.admin.create_partitions(asked, request_timeout=KAFKA_SECONDS).values():
        grown.result(KAFKA_SECONDS)
    assert "it has 6 partitions now, it had 4" in str(await home.lost())
    as_it_was = replace(await inspect_topic(topics.cluster, topic), partitions=4)
    log_as_it_was = KafkaEventLog(topics.cluster, topic, as_it_was)
    with pytest.raises(LogLost, match="it has 6 partitions"):
        await log_as_it_was.open_reader({})
    await log_as_it_was.close()


async def test_records_that_are_gone_before_they_were_applied_are_a_loss(topics: Topics) -> None:
    """F24: at the opening with the exact range, later with the offset."""
    topic = topics.make(partitions=2)
    event_log = await topics.home(topic).open()
    key = key_of(1, 2)
    await append_all(event_log, [(key, str(number).encode()) for number in range(50)])
    topics.forget(topic, 1, 30)
    with pytest.raises(LogLost, match=r"partition 1: records 10 to 29 are gone"):
        await event_log.open_reader({1: 10})
    await (await event_log.open_reader({1: 30})).close()
    with pytest.raises(LogLost, match=r"partition 1: .* offset 51, but it ends at 50"):
        await event_log.open_reader({1: 51})
    reader = KafkaLogReader(topics.cluster, topic, {0: 0, 1: 10}, 0)
    with pytest.raises(LogLost, match=r"partition 1 has no records at offset 10 any more"):
        await reader.read(100)
    await reader.close()


async def test_an_epoch_is_above_every_offset(topics: Topics) -> None:
    topic = topics.make(partitions=2)
    old = await append_all(await topics.home(topic).open(), records(20))
    base = 1 << OFFSET_BITS
    event_log = await topics.home(topic, epoch=1).open()
    new = await append_all(event_log, records(20))
    assert min(entry.position.offset for entry in new) > base
    ends = await event_log.ends()
    assert sum(ends.values()) == 2 * base + 40
    follower = await Follower.open(event_log, {0: base, 1: base})
    read = await follower.read_until(ends)
    lifted = [
        entry._replace(position=Position(entry.position.partition, base + entry.position.offset))
        for entry in old
    ]
    assert by_partition(read) == in_order([*lifted, *new])
    with pytest.raises(LogLost, match="older log epoch"):
        await event_log.open_reader({0: base - 1})


# Others write there too -----------------------------------------------------------------------


async def test_foreign_transactions_hold_up_nobody(topics: Topics) -> None:
    """Committed, aborted, and one left open: a reader gets to the ends, which the barrier needs."""
    topic = topics.make()
    event_log = await topics.home(topic).open()
    ours = [(await append_all(event_log, records(1)))[0].value]
    foreign = Producer(
        {"bootstrap.servers": topics.servers, "transactional.id": secrets.token_hex(4)}
    )
    await asyncio.to_thread(foreign.init_transactions)
    for settle in (foreign.commit_transaction, foreign.abort_transaction):
        foreign.begin_transaction()
        for _ in range(3):
            foreign.produce(topic, b"foreign")
        await asyncio.to_thread(foreign.flush)
        await asyncio.to_thread(settle)
        # The log ends with a marker, which is no record.
        entries = await read_all(event_log)
        assert [each.value for each in entries if each.value != b"foreign"] == ours
    foreign.begin_transaction()
    foreign.produce(topic, b"foreign")
    await asyncio.to_thread(foreign.flush)
    ours += [entry.value for entry in await append_all(event_log, records(3))]
    entries = await read_all(event_log)
    assert [each.value for each in entries if each.value != b"foreign"] == ours
    await asyncio.to_thread(foreign.abort_transaction)


async def test_foreign_records_are_read_as_far_as_they_go(topics: Topics) -> None:
    topic = topics.make()
    event_log = await topics.home(topic).open()
    foreign = Producer({"bootstrap.servers": topics.servers})
    foreign.produce(topic, b"\xff\x00", b"\xff\xfe")
    foreign.produce(topic, b"no key")
    foreign.produce(topic, None, b"no value")
    foreign.produce(topic, headers={"only": b"headers"})
    await asyncio.to_thread(foreign.flush)
    entries = await read_all(event_log)
    assert [(entry.key, entry.value) for entry in entries] == [
        ("��", b"\xff\x00"),
        ("", b"no key"),
        ("no value", b""),
        ("", b""),
    ]


async def test_aged_tells_what_the_log_is_about_to_forget(topics: Topics) -> None:
    event_log = await topics.open_as_a_server(partitions=2, config={"retention.ms": "3000"})
    assert await event_log.aged(0.5) == {0: 0, 1: 0}
    key = key_of(0, 2)
    await append_all(event_log, [(key, b"old")] * 10)
    await until_equal(lambda: event_log.aged(0.5), {0: 10, 1: 0})
    hour = await topics.open(config={"retention.ms": "3600000"})
    await append_all(hour, records(10))
    assert await hour.aged(0.5) == {0: 0}
    ever = await topics.open(config={"retention.ms": "-1"})
    await append_all(ever, records(10))
    assert await ever.aged(0.0) == {}


async def test_what_comes_while_the_aged_are_asked_for_is_not_aged(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first message of a partition would stop all senders while the store is away."""
    event_log = await topics.open_as_a_server(config={"retention.ms": "3600000"})
    ask = event_log._offsets

    async def ask_while_one_comes(spec: OffsetSpec) -> dict[int, int]:
        offsets = await ask(spec)
        await append_all(event_log, records(1))
        return offsets

    monkeypatch.setattr(event_log, "_offsets", ask_while_one_comes)
    assert await event_log.aged(0.5) == {0: 0}


# Three brokers --------------------------------------------------------------------------------


async def _leader(topics: Topics, topic: str, partition: int) -> int:
    described = await topics.cluster.describe(topic)
    return int(described.partitions[partition].leader.id)


async def test_when_a_leader_is_killed_under_load_nothing_acknowledged_is_lost(
    brokers: Sequence[KafkaNode], wide_topics: Topics
) -> None:
    config = {"min.insync.replicas": "2"}
    topic = wide_topics.make(partitions=6, replicas=3, config=config)
    event_log = await wide_topics.home(topic).open()
    appends = Appends(event_log)

    async def load() -> None:
        async for _ in paced(0.02):
            appends.append(records(20))

    loading = asyncio.create_task(load())
    await until(lambda: len(appends.results) > 200, "it flows")
    victim = brokers[await _leader(wide_topics, topic, 0) - 1]
    await asyncio.to_thread(victim.kill)
    key = key_of(0, 6)
    probes = Appends(event_log)

    async def works() -> bool:
        probes.append([(key, f"probe {len(probes.records)}".encode())])
        await probes.settled()
        return "appended" in outcomes(probes)

    await until(works, "the partition that lost its leader takes records")
    await asyncio.to_thread(victim.start)
    await until_well(event_log)
    loading.cancel()
    await asyncio.wait([loading])
    await appends.settled()
    await append_all(event_log, records(50))
    await assert_truthful(event_log, appends, probes)


async def test_with_two_of_three_brokers_down_nothing_is_acknowledged(
    brokers: Sequence[KafkaNode], wide_topics: Topics
) -> None:
    event_log = await wide_topics.open(
        partitions=6, replicas=3, config={"min.insync.replicas": "2"}
    )
    before = Appends(event_log)
    before.append(records(100))
    await before.acknowledged()
    for each in brokers[1:]:
        await asyncio.to_thread(each.kill)
    during = Appends(event_log)
    during.append(records(100))
    await during.settled()
    assert "appended" not in outcomes(during)
    await until_refused(event_log)
    await asyncio.to_thread(_heal, brokers)
    await until_well(event_log)
    await append_all(event_log, records(100))
    await assert_truthful(event_log, before, during)


async def test_who_waits_for_a_broker_does_not_flood_it(
    brokers: Sequence[KafkaNode], wide_topics: Topics
) -> None:
    """Librdkafka can make ten thousand attempts a second, and needs more than a core for it."""
    topic = wide_topics.make(partitions=6, replicas=3)
    reports: list[str] = []
    settings: dict[str, Any] = {"statistics.interval.ms": 500, "stats_cb": reports.append}
    cluster = KafkaCluster([wide_topics.servers], "test", settings)
    await cluster.offsets(topic, range(6), OffsetSpec.latest())
    for each in brokers[1:]:
        await asyncio.to_thread(each.kill)
    with suppress(LogUnavailable):
        await cluster.offsets(topic, range(6), OffsetSpec.latest())
    attempts: list[int] = []
    while len(attempts) < 12:  # reports of six seconds, of which four went into the question
        await asyncio.to_thread(cluster.admin.poll, 0.1)
        of_report = (json.loads(report)["brokers"].values() for report in reports)
        attempts = [sum(broker["connects"] for broker in each) for each in of_report]
    assert 0 < attempts[-1] < 200


async def test_a_partition_in_trouble_leaves_the_others_alone(
    brokers: Sequence[KafkaNode], wide_topics: Topics
) -> None:
    """F75: one loses its only broker, another has too few replicas; their neighbours are well."""
    lonely = {"min.insync.replicas": "1"}
    topic = wide_topics.make(assignment=[[3], [1], [2]], config=lonely)
    strict = wide_topics.make(assignment=[[1, 3], [1, 2]], config={"min.insync.replicas": "2"})
    event_log = await wide_topics.home(topic).open()
    strict_log = await wide_topics.home(strict).open()
    await append_all(event_log, records(100))
    await append_all(strict_log, records(100))
    await asyncio.to_thread(brokers[2].kill)
    assert "1 of 3 partitions: " in await until_refused(event_log)
    await until(
        lambda: "1 of 2 needed replicas in sync" in (strict_log.health() or ""), "it says why"
    )
    assert set(await event_log.ends()) == {1, 2}
    refused, good = Appends(event_log), Appends(event_log)
    refused.append([(key_of(0, 3), b"refused")])
    good.append([(key_of(each, 3), b"good") for each in (1, 2)])
    await good.acknowledged()
    await refused.settled()
    assert outcomes(refused) == {"refused"}
    refused = Appends(strict_log)
    refused.append([(key_of(0, 2), b"refused")])
    await refused.settled()
    assert outcomes(refused) == {"refused"}
    await append_all(strict_log, [(key_of(1, 2), b"good")])
    follower = await Follower.open(event_log, {})
    read = await follower.read_until(await event_log.ends())
    assert {entry.position.partition for entry in read} == {1, 2}
    await asyncio.to_thread(brokers[2].start)
    await until_well(event_log)
    await until_well(strict_log)
    await assert_truthful(strict_log, refused)


# Hints ----------------------------------------------------------------------------------------


@pytest.fixture
async def bus(topics: Topics) -> AsyncIterator[KafkaRoutingBus]:
    made = KafkaRoutingBus(topics.cluster, topics.make(partitions=4), "ws-1/today")
    yield made
    await made.close()


async def until_heard(bus: KafkaRoutingBus, heard: list[bytes]) -> None:
    """Have the bus send to itself until something comes that was sent just now."""
    hint = f"hint {next(_numbers)}".encode()

    async def comes() -> bool:
        bus.publish("ws-1/today", hint)
        return hint in heard

    await until(comes, "a hint comes")


async def test_hints_flow_again_after_their_topic_was_made_again(
    topics: Topics, bus: KafkaRoutingBus
) -> None:
    heard: list[bytes] = []
    await bus.listen(heard.append)
    await until_heard(bus, heard)
    topics.delete(bus._topic)
    await until(lambda: bus.health() is not None, "it says so")
    await topics.make_again(bus._topic, partitions=4)
    await until_heard(bus, heard)
    await until(lambda: bus.health() is None, "it says that it is well")


@pytest.mark.parametrize("harm", [_kill, _pause])
async def test_hints_flow_again_after_the_broker_was_away_and_nobody_waits_for_it(
    broker: KafkaNode, bus: KafkaRoutingBus, harm: Harm
) -> None:
    heard: list[bytes] = []
    await bus.listen(heard.append)
    await until_heard(bus, heard)
    await asyncio.to_thread(harm, broker)
    for _ in range(30_000):  # more than it keeps
        bus.publish("ws-1/today", b"lost or late")
    await until(lambda: bus.health() is not None, "it says so")
    await asyncio.to_thread(_heal, [broker])
    await until_heard(bus, heard)
    await until(lambda: bus.health() is None, "it says that it is well")


class Deafening(Consumer):
    """A consumer that can be made to hear nothing any more, without a word."""

    is_deafened = has_been_paused = False

    def poll(self, timeout: float = -1) -> Any:
        if self.is_deafened:  # here, because librdkafka cannot be asked while it polls
            self.pause(self.assignment())
            self.has_been_paused = True
        return super().poll(timeout)


async def test_hints_flow_again_after_librdkafka_has_lost_sight_of_the_partition(
    topics: Topics, bus: KafkaRoutingBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumers: list[Deafening] = []
    watch_seconds = 1.0
    monkeypatch.setattr("landline.adapters.kafka.routing_bus.BUS_WATCH_SECONDS", watch_seconds)
    monkeypatch.setattr("landline.adapters.kafka.cluster.Consumer", Deafening)
    make = topics.cluster.consumer

    def consumer(own: Mapping[str, Any]) -> Consumer:
        made = make(own)
        assert isinstance(made, Deafening)
        consumers.append(made)
        return made

    monkeypatch.setattr(topics.cluster, "consumer", consumer)
    heard: list[bytes] = []
    await bus.listen(heard.append)
    await until_heard(bus, heard)
    (first,) = consumers
    first.is_deafened = True
    await until(lambda: first.has_been_paused, "it hears nothing any more")
    await until_heard(bus, heard)
    assert len(consumers) == 2
    await asyncio.sleep(3 * watch_seconds)  # nobody tells of a look that finds nothing
    assert len(consumers) == 2, "one that hears all is not given up"


async def test_a_bus_that_starts_without_kafka_hears_later(
    broker: KafkaNode, bus: KafkaRoutingBus
) -> None:
    broker.pause()
    heard: list[bytes] = []
    await bus.listen(heard.append)
    assert bus.health() is not None
    broker.resume()
    await until_heard(bus, heard)


async def test_a_bus_closes_while_the_broker_hangs(broker: KafkaNode, bus: KafkaRoutingBus) -> None:
    heard: list[bytes] = []
    await bus.listen(heard.append)
    await until_heard(bus, heard)
    broker.pause()
    for _ in range(100):
        bus.publish("ws-1/today", b"lost")
    await bus.close()
    assert "kafka-routing" not in {thread.name for thread in threading.enumerate()}
