"""Kafka that a test may break: one broker or three, whole again at the end of each test."""

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from contract.kafka.broken import Topics, heal
from landline_stack import Stack
from landline_stack.kafka import KafkaNode
from support.stack import stack_or_skip


@pytest.fixture(scope="package")
def lone_stack() -> Iterator[Stack]:
    with stack_or_skip(kafka_alone=True) as stack:
        yield stack


@pytest.fixture(scope="package")
def stack_of_three() -> Iterator[Stack]:
    with stack_or_skip(brokers=3, kafka_alone=True) as stack:
        yield stack


@pytest.fixture
def broker(lone_stack: Stack) -> Iterator[KafkaNode]:
    """The only broker, alive at the end of the test as it was at its start."""
    yield lone_stack.brokers[0]
    heal(lone_stack.brokers)


@pytest.fixture
def brokers(stack_of_three: Stack) -> Iterator[Sequence[KafkaNode]]:
    """Three brokers, alive at the end of the test as they were at its start."""
    yield stack_of_three.brokers
    heal(stack_of_three.brokers)


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
