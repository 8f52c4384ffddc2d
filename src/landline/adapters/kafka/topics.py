"""The topics as the promise needs them: made when missing, read back, compared.

Source of the list: what Kafka's documentation names as conditions for durability (`acks`,
`min.insync.replicas`, unclean election). And what our own log needs: no compaction, no early
deletion, the log's own time, room for our largest record.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource, NewTopic, OffsetSpec, ResourceType

from landline.adapters.kafka.cluster import KafkaCluster
from landline.backoff import Backoff
from landline.errors import LogUnavailable
from landline.protocol.limits import CONTENT_BYTES

MESSAGES_TOPIC = "CHAT-MESSAGES"
ROUTING_TOPIC = "CHAT-ROUTING"

PARTITIONS = 32
REPLICAS = 3
IN_SYNC = 2
_DAY_MS = 24 * 3600 * 1000
RETENTION_MS = 7 * _DAY_MS
_ROUTING_RETENTION_MS = 3600 * 1000
# JSON writes a control character as six bytes; names, ids and the frame around them come on top.
RECORD_BYTES = 6 * CONTENT_BYTES + 16 * 1024
_FIRST_SECONDS = 10.0
# A topic that was made a moment ago has leaders after this at the latest.
_ELECTION_SECONDS = 20.0
_SETTLING = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
)

_MESSAGES_CONFIG = {
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
    "retention.ms": str(RETENTION_MS),
    "retention.bytes": "-1",
    "unclean.leader.election.enable": "false",
}
_ROUTING_CONFIG = {
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
    "retention.ms": str(_ROUTING_RETENTION_MS),
}


@dataclass(frozen=True, slots=True)
class Topic:
    """CHAT-MESSAGES as it stands. `broken` has a line for each setting that breaks the promise."""

    cluster_id: str
    topic_id: str
    partitions: int
    replicas: int
    in_sync: int
    retention_ms: int | None
    broken: tuple[str, ...]
    # Whether its records bear the brokers' times. Otherwise senders may have said anything.
    is_stamped: bool = True

    @property
    def durability(self) -> str:
        """Say what an acknowledged record survives."""
        if self.replicas == 1:
            return "kafka:acks=all,replicas=1"
        return f"kafka:acks=all,isr>={self.in_sync}"


async def prepare_topics(
    cluster: KafkaCluster, messages: str = MESSAGES_TOPIC, routing: str = ROUTING_TOPIC
) -> Topic:
    """Make the topics that are missing and return what CHAT-MESSAGES really is.

    Raises: LogUnavailable.
    """
    # The first question of all: connections are made for it, maybe to a cluster that starts too.
    known = await cluster.known(messages, _FIRST_SECONDS)
    replicas = min(REPLICAS, len(known.brokers))
    await _make(cluster, messages, replicas, _MESSAGES_CONFIG)
    await _make(cluster, routing, replicas, _ROUTING_CONFIG)
    await inspect_topic(cluster, routing)
    return await inspect_topic(cluster, messages)


async def find_topic(cluster: KafkaCluster, messages: str = MESSAGES_TOPIC) -> Topic | None:
    """Return what CHAT-MESSAGES is, None where there is none. Nothing is made.

    Raises: LogUnavailable.
    """
    try:
        return await _inspect(cluster, messages)
    except LogUnavailable as error:
        if not _is_missing(error):
            raise
    return None


async def _make(cluster: KafkaCluster, name: str, replicas: int, config: Mapping[str, str]) -> None:
    try:
        await cluster.describe(name)
    except LogUnavailable as error:
        if not _is_missing(error):
            raise
    else:
        return
    settings = dict(config)
    settings["min.insync.replicas"] = str(IN_SYNC if replicas >= REPLICAS else 1)
    topic = NewTopic(name, PARTITIONS, replicas, config=settings)
    try:
        asked = cluster.admin.create_topics([topic], request_timeout=cluster.ask_seconds)
        await cluster.ask(asked[name])
    except LogUnavailable as error:
        # Another server was faster; or the answer is late, and the topic comes all the same.
        if not _has_code(error, KafkaError.TOPIC_ALREADY_EXISTS) and not _is_late(error):
            raise


async def inspect_topic(cluster: KafkaCluster, name: str) -> Topic:
    """Return what a topic really is; of one that is new, once it can be used.

    Raises: LogUnavailable.
    """
    deadline = asyncio.get_running_loop().time() + _ELECTION_SECONDS
    backoff = Backoff(first_seconds=0.05, last_seconds=0.5)
    while True:
        try:
            return await _inspect(cluster, name)
        except LogUnavailable as error:
            # Each question may go to another broker, one that has not heard of the topic yet.
            is_settling = error.__cause__ is None or _has_code(error, *_SETTLING) or _is_late(error)
            if not is_settling or asyncio.get_running_loop().time() > deadline:
                raise
        await backoff.wait()


async def _inspect(cluster: KafkaCluster, name: str) -> Topic:
    described = await cluster.describe(name)
    partitions = range(len(described.partitions))
    # A leader that is named may not know of it yet.
    if len(await cluster.offsets(name, partitions, OffsetSpec.latest())) < len(partitions):
        raise LogUnavailable(f"Kafka: {name} has partitions without a leader")
    replicas = min(len(partition.replicas) for partition in described.partitions)
    settings = await read_settings(cluster, name)
    return Topic(
        cluster_id=str((await cluster.known(name)).cluster_id),
        topic_id=str(described.topic_id),
        partitions=len(partitions),
        **_judged(name, replicas, settings),
    )


async def read_settings(cluster: KafkaCluster, name: str) -> Mapping[str, str]:
    """Return the settings of a topic as they hold now, any broker's defaults among them.

    Raises: LogUnavailable.
    """
    resource = ConfigResource(ResourceType.TOPIC, name)
    asked = cluster.admin.describe_configs([resource], request_timeout=cluster.ask_seconds)
    return {key: each.value for key, each in (await cluster.ask(asked[resource])).items()}


def judge_again(topic: Topic, name: str, replicas: int, settings: Mapping[str, str]) -> Topic:
    """Return the same topic with the replicas and settings that it has now."""
    return replace(topic, **_judged(name, replicas, settings))


def _judged(name: str, replicas: int, settings: Mapping[str, str]) -> dict[str, Any]:
    retention_ms = int(settings["retention.ms"])
    return {
        "replicas": replicas,
        "in_sync": int(settings["min.insync.replicas"]),
        "retention_ms": None if retention_ms < 0 else retention_ms,
        "broken": broken_settings(name, replicas, settings),
        "is_stamped": settings["message.timestamp.type"] == "LogAppendTime",
    }


def broken_settings(name: str, replicas: int, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return a line for each setting of the topic that breaks the promise."""
    broken = []

    def need(is_met: bool, setting: str, value: object, wanted: str, because: str) -> None:
        if not is_met:
            broken.append(f"{name}: {setting} is {value}, needed is {wanted}: {because}")

    need(
        replicas >= REPLICAS,
        "replication factor", replicas, str(REPLICAS),
        "a message would be lost with its broker",
    )  # fmt: skip
    in_sync = settings["min.insync.replicas"]
    need(
        int(in_sync) >= IN_SYNC,
        "min.insync.replicas", in_sync, str(IN_SYNC),
        "a message would be acknowledged by one broker alone",
    )  # fmt: skip
    unclean = settings["unclean.leader.election.enable"]
    need(
        unclean == "false",
        "unclean.leader.election.enable", unclean, "false",
        "a broker that lacks messages could become the leader",
    )  # fmt: skip
    policy = settings["cleanup.policy"]
    need(
        policy == "delete",
        "cleanup.policy", policy, "delete",
        "compaction keeps only the newest record of a conversation",
    )  # fmt: skip
    retention_ms = int(settings["retention.ms"])
    need(
        retention_ms < 0 or retention_ms >= RETENTION_MS,
        "retention.ms", retention_ms, f"{RETENTION_MS} or -1",
        "the writer must be able to be away for days",
    )  # fmt: skip
    need(
        int(settings["retention.bytes"]) < 0,
        "retention.bytes", settings["retention.bytes"], "-1",
        "a burst would delete what is not stored yet",
    )  # fmt: skip
    need(
        settings["message.timestamp.type"] == "LogAppendTime",
        "message.timestamp.type", settings["message.timestamp.type"], "LogAppendTime",
        "retention would go by the servers' clocks",
    )  # fmt: skip
    need(
        int(settings["max.message.bytes"]) >= RECORD_BYTES,
        "max.message.bytes", settings["max.message.bytes"], f"{RECORD_BYTES} or more",
        "the largest message would be refused",
    )  # fmt: skip
    return tuple(broken)


def _is_missing(error: LogUnavailable) -> bool:
    return _has_code(error, KafkaError.UNKNOWN_TOPIC_OR_PART)


def _is_late(error: LogUnavailable) -> bool:
    """Say whether there was no answer in time: a busy broker that makes 64 partitions, say."""
    return isinstance(error.__cause__, TimeoutError) or _has_code(error, KafkaError._TIMED_OUT)


def _has_code(error: LogUnavailable, *codes: int) -> bool:
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() in codes
