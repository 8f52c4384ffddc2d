"""The Kafka log on three brokers, of which some are lost."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka.admin import OffsetSpec

from contract.kafka.broken import (
    Topics,
    assert_truthful,
    heal,
    key_of,
    outcomes,
    records,
    until_refused,
    until_well,
)
from landline.adapters.kafka import KafkaCluster
from landline.errors import LogUnavailable
from landline_stack.kafka import KafkaNode
from support.event_logs import Appends, Follower, append_all
from support.waiting import paced, until

pytestmark = pytest.mark.stack


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
    await asyncio.to_thread(heal, brokers)
    await until_well(event_log)
    await append_all(event_log, records(100))
    await assert_truthful(event_log, before, during)


async def test_waiting_for_a_broker_does_not_flood_it(
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
