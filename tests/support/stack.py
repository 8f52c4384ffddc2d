"""One real stack for the whole test run, started when the first test asks for it.

A test shares the servers with the others, so it takes what it may fill and break from the fixtures
here: a database, topics, a number in Redis. A test that kills servers starts a `Stack` of its own.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from itertools import count

import asyncpg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic
from redis import Redis

from landline_stack import Stack
from landline_stack.errors import Missing
from landline_stack.jars import JarCache
from support.waiting import wait_until

KAFKA_SECONDS = 60.0
CREATED_SECONDS = 100.0  # less than a test may take

_DATABASES = 64  # of Redis, see landline_stack.redis; number 0 is left alone

_numbers = count()

MakeTopic = Callable[..., str]


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Kafka with one broker, PostgreSQL and Redis."""
    with steady(stack_or_skip()) as stack:
        yield stack


def stack_or_skip(*, brokers: int = 1, kafka_alone: bool = False) -> Stack:
    """Return a stack to be started; skip the test on a machine that cannot have one."""
    try:
        JarCache().class_path()
        return Stack(brokers=brokers, postgres=not kafka_alone, redis=not kafka_alone)
    except Missing as error:
        pytest.skip(str(error))


def steady(stack: Stack) -> Stack:
    """Have brokers that nobody kills keep their partitions when they stand still for seconds."""
    for broker in stack.brokers:
        broker.more_settings["broker.session.timeout.ms"] = 60_000
    return stack


@pytest.fixture
async def postgres_url(stack: Stack) -> AsyncIterator[str]:
    """The address of an empty database of our own; dropped at the end, even if it is in use."""
    name = f"test_{secrets.token_hex(6)}"
    await _execute(stack.postgres_url, f"CREATE DATABASE {name}")
    yield stack.postgres.database_url(name)
    await _execute(stack.postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def redis_url(stack: Stack) -> Iterator[str]:
    """The address of an empty database of our own. Pub/sub knows no databases: all share it."""
    number = 1 + next(_numbers) % (_DATABASES - 1)
    url = f"{stack.redis_url.rpartition('/')[0]}/{number}"
    with Redis.from_url(url) as redis:
        redis.flushdb()
        yield url
        redis.flushdb()


@pytest.fixture
def make_topic(stack: Stack) -> Iterator[MakeTopic]:
    """Makes topics of our own, `make_topic(partitions=32)`; deleted at the end."""
    admin = AdminClient({"bootstrap.servers": stack.kafka_servers})
    names = []

    def make(partitions: int = 1, **config: str) -> str:
        name = f"test-{secrets.token_hex(6)}"
        create_topic(admin, name, partitions=partitions, config=config)
        names.append(name)
        return name

    yield make
    if names:
        for deleted in admin.delete_topics(names, request_timeout=KAFKA_SECONDS).values():
            deleted.result(KAFKA_SECONDS)


def create_topic(
    admin: AdminClient,
    name: str,
    *,
    partitions: int = 1,
    replicas: int = 1,
    assignment: Sequence[Sequence[int]] | None = None,
    config: Mapping[str, str] | None = None,
) -> None:
    """Create a topic and wait for it. `assignment` names each partition's brokers instead."""
    topic = (
        NewTopic(name, partitions, replicas, config=dict(config or {}))
        if assignment is None
        else NewTopic(
            name,
            partitions := len(assignment),
            replica_assignment=list(map(list, assignment)),
            config=dict(config or {}),
        )
    )
    # Its own deadline is that of a socket; a broker that was away may need longer to name itself.
    for created in admin.create_topics([topic], request_timeout=KAFKA_SECONDS).values():
        created.result(KAFKA_SECONDS)
    wait_for_leaders(admin, name, partitions)


def wait_for_leaders(admin: AdminClient, name: str, partitions: int) -> None:
    """Wait until each partition of a topic has a leader that answers."""
    places = {TopicPartition(name, each): OffsetSpec.latest() for each in range(partitions)}
    refusals: list[BaseException] = []

    def has_leaders() -> bool:
        admin.list_topics(name, timeout=KAFKA_SECONDS)  # or an old leader is asked again and again
        asked = admin.list_offsets(places, request_timeout=5).values()
        refusals[:] = [error for each in asked if (error := each.exception(KAFKA_SECONDS))]
        # One that was not asked, as it has no leader, is no error to librdkafka.
        return not refusals and all(each.result().offset >= 0 for each in asked)

    wait_until(has_leaders, lambda: f"topic {name} has leaders, but {refusals}", CREATED_SECONDS)


def alter_topic(admin: AdminClient, name: str, **settings: str) -> None:
    """Change settings of a topic; in their names `_` stands for `.`."""
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for key, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result(KAFKA_SECONDS)


@pytest.fixture
def topic_prefix() -> str:
    """What the names of this test's topics begin with, where the code under test makes them."""
    return f"test-{secrets.token_hex(6)}-"
