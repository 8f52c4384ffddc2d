"""What is done and looked at in Kafka before a server starts: topics, their settings, a user."""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka.admin import OffsetSpec

from landline.adapters.kafka import KafkaCluster, KafkaEventLog, KafkaRoutingBus, prepare_topics
from landline.adapters.kafka.security import read_security
from landline.adapters.kafka.topics import RECORD_BYTES, Topic
from landline.errors import LogUnavailable
from landline.model import Appended
from landline_stack import Missing, Stack
from landline_stack.jars import JarCache
from landline_stack.java import find_java
from landline_stack.kafka import KafkaNode, new_cluster_id
from support.event_logs import Appends, KafkaHome, read_all
from support.stack import CREATED_SECONDS, KAFKA_SECONDS, MakeTopic, create_topic
from support.waiting import until, until_equal

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("patient_kafka")]

# How long a start waits for the first answer.
FIRST = "landline.adapters.kafka.topics._FIRST_SECONDS"
GOOD = {"min.insync.replicas": "2", "message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}


async def prepared(cluster: KafkaCluster, *names: str) -> Topic:
    """Try again while there are no leaders yet, as a supervisor does."""
    found: list[Topic] = []

    async def is_prepared() -> bool:
        with suppress(LogUnavailable):
            found.append(await prepare_topics(cluster, *names))
        return bool(found)

    await until(is_prepared, "the topics have leaders", CREATED_SECONDS)
    return found[0]


async def delete(cluster: KafkaCluster, *names: str) -> None:
    asked = cluster.admin.delete_topics(list(names), request_timeout=KAFKA_SECONDS)
    await asyncio.gather(*map(asyncio.wrap_future, asked.values()))


async def test_one_broker_gets_topics_and_is_told_what_they_cannot_do(
    stack: Stack, topic_prefix: str
) -> None:
    cluster = KafkaCluster([stack.kafka_servers], "test")
    messages, routing = f"{topic_prefix}messages", f"{topic_prefix}routing"
    topic = await prepared(cluster, messages, routing)
    assert (topic.partitions, topic.replicas, topic.in_sync) == (32, 1, 1)
    assert topic.retention_ms == 7 * 24 * 3600 * 1000
    assert [line.split(" is ")[0] for line in topic.broken] == [
        f"{messages}: replication factor",
        f"{messages}: min.insync.replicas",
    ]
    assert len((await cluster.describe(routing)).partitions) == 32
    assert await prepared(cluster, messages, routing) == topic
    await delete(cluster, messages, routing)


async def test_servers_that_start_at_once_make_one_topic(stack: Stack, topic_prefix: str) -> None:
    names = f"{topic_prefix}messages", f"{topic_prefix}routing"
    clusters = [KafkaCluster([stack.kafka_servers], f"test-{each}") for each in range(4)]
    found = await asyncio.gather(*(prepared(each, *names) for each in clusters))
    assert len({topic.topic_id for topic in found}) == 1
    await delete(clusters[0], *names)


async def test_three_brokers_keep_the_promise(stack_of_three: Stack) -> None:
    cluster = KafkaCluster([stack_of_three.kafka_servers], "test")
    topic = await prepared(cluster)
    assert (topic.partitions, topic.replicas, topic.in_sync) == (32, 3, 2)
    assert topic.broken == ()
    assert topic.durability == "kafka:acks=all,isr>=2"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
        ("cleanup.policy", "compact"),
        ("retention.ms", "60000"),
        ("retention.bytes", "1000000"),
        ("message.timestamp.type", "CreateTime"),
        ("max.message.bytes", str(RECORD_BYTES - 1)),
    ],
)
async def test_an_existing_topic_with_a_broken_setting_is_named(
    stack_of_three: Stack, setting: str, value: str
) -> None:
    """F12. Nothing is repaired behind the operator's back."""
    cluster = KafkaCluster([stack_of_three.kafka_servers], "test")
    name = f"test-{secrets.token_hex(6)}"
    await asyncio.to_thread(
        create_topic, cluster.admin, name, replicas=3, config=GOOD | {setting: value}
    )
    for _ in range(2):
        (line,) = (await prepared(cluster, name)).broken
        assert line.startswith(f"{name}: {setting} is {value}, needed is ")


async def test_without_kafka_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FIRST, 2.0)
    with pytest.raises(LogUnavailable, match="Kafka: "):
        await prepare_topics(KafkaCluster(["127.0.0.1:1"], "test"))


async def test_a_warm_producer_has_its_connections(stack: Stack, make_topic: MakeTopic) -> None:
    """And nobody takes what warmed it for a record or a hint."""
    topic, routing = make_topic(2), make_topic(1)
    cluster = KafkaCluster([stack.kafka_servers], "test")
    home = KafkaHome(cluster, topic, hints=routing)
    event_log = await home.open()
    bus = KafkaRoutingBus(cluster, routing, "ws-1/a")
    heard: list[bytes] = []
    await bus.listen(heard.append)
    await event_log.warm_up()
    await until_equal(lambda: cluster.offsets(routing, [0], OffsetSpec.latest()), {0: 1})
    astray = KafkaHome(cluster, topic, hints="no-such-topic")
    await (await astray.open()).warm_up()  # it does not matter
    await astray.close()

    async def comes() -> bool:
        bus.publish("ws-1/a", b"a hint")  # again, as one may get lost
        return bool(heard)

    await until(comes, "the hint comes")
    assert set(heard) == {b"a hint"}
    assert await read_all(event_log) == []
    await bus.close()
    await home.close()


# A cluster that wants a user ------------------------------------------------------------------


class GuardedNode(KafkaNode):
    """A broker that asks for name and password."""

    def _settings(self, nodes: Sequence[KafkaNode]) -> dict[str, object]:
        settings = super()._settings(nodes)
        for key in ("listeners", "advertised.listeners"):
            settings[key] = str(settings[key]).replace("PLAINTEXT://", "SASL_PLAINTEXT://", 1)
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        users = 'username="broker" password="b" user_broker="b" user_landline="s3cret"'
        return settings | {
            "listener.security.protocol.map": (
                "SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            "inter.broker.listener.name": "SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{login} {users};",
        }


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[KafkaNode]:
    try:
        class_path, java = JarCache().class_path(), find_java()
    except Missing as error:
        pytest.skip(str(error))
    node = GuardedNode(1, tmp_path / "kafka", java)
    node.directory.mkdir()
    node.join([node], new_cluster_id(), class_path)
    node.start()
    yield node
    node.kill()


async def test_a_user_and_a_password_come_from_the_file(
    guarded: KafkaNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kafka.properties"
    user = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=landline\n"
    path.write_text(f"{user}sasl.password=s3cret\n")
    cluster = KafkaCluster([guarded.address], "test", read_security(path))
    event_log = KafkaEventLog(cluster, "M", await prepared(cluster, "M", "R"))
    appends = Appends(event_log)
    appends.append([("dm:a:b", b"hello")])
    (result,) = (await appends.settled()).values()
    assert isinstance(result, Appended)
    assert await read_all(event_log) == appends.entries
    await event_log.close()
    path.write_text(f"{user}sasl.password=wrong\n")
    cluster = KafkaCluster([guarded.address], "test", read_security(path))
    monkeypatch.setattr(FIRST, 2.0)
    with pytest.raises(LogUnavailable, match="Kafka: "):
        await prepare_topics(cluster)
    await until(
        lambda: "Invalid username or password" in str(cluster.complaint), "it says what is wrong"
    )
