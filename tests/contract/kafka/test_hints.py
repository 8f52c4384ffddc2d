"""The Kafka bus when its topic, its broker or its place in the log is lost."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from confluent_kafka import Consumer
from structlog.testing import capture_logs

from contract.kafka.broken import Harm, Topics, heal, kill, numbers, pause
from landline.adapters.kafka import KafkaRoutingBus
from landline_stack.kafka import KafkaNode
from support.waiting import until

pytestmark = pytest.mark.stack


@pytest.fixture
async def bus(topics: Topics) -> AsyncIterator[KafkaRoutingBus]:
    made = KafkaRoutingBus(topics.cluster, topics.make(partitions=4), "ws-1/today")
    yield made
    await made.close()


async def until_heard(bus: KafkaRoutingBus, heard: list[bytes]) -> None:
    """Have the bus send to itself until something comes that was sent just now."""
    hint = f"hint {next(numbers)}".encode()

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


@pytest.mark.parametrize("harm", [kill, pause])
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
    await asyncio.to_thread(heal, [broker])
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

    def is_deaf() -> bool:
        """Deafen the newest: a broker that is slow to answer costs the bus a consumer, too."""
        consumers[-1].is_deafened = True
        return consumers[-1].has_been_paused

    with capture_logs() as lines:

        def given_up() -> int:
            return sum("hints that do not come" in line.get("reason", "") for line in lines)

        await bus.listen(heard.append)
        await until_heard(bus, heard)
        await until(is_deaf, "it hears nothing any more")
        await until_heard(bus, heard)
        before = given_up()
        await asyncio.sleep(3 * watch_seconds)  # nobody tells of a look that finds nothing
        assert given_up() == before, "one that hears all is not given up"


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
    await until(
        lambda: "kafka-routing" not in {thread.name for thread in threading.enumerate()},
        "its thread has ended",
    )
