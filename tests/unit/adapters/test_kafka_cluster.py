"""What Kafka answers about offsets, by a client that answers without a broker."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from landline.adapters.kafka import KafkaCluster
from landline.adapters.kafka import cluster as clusters
from landline.backoff import Backoff
from landline.errors import LogUnavailable


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for seconds has not given up."""
    monkeypatch.setattr(clusters, "KAFKA_ASK_SECONDS", 60.0)
    monkeypatch.setattr(clusters, "_GRACE_SECONDS", 60.0)


def answering(*answers: int | KafkaException | Sequence[int | KafkaException]) -> KafkaCluster:
    """Return a cluster whose partitions 0, 1 and so on answer this, or this one after the other."""
    left = [iter(each) if isinstance(each, Sequence) else repeat(each) for each in answers]

    def list_offsets(asked: dict[TopicPartition, Any], **_: object) -> dict[TopicPartition, Any]:
        futures = {}
        for place in asked:
            answer = next(left[place.partition])
            futures[place] = future = Future[Any]()
            if isinstance(answer, KafkaException):
                future.set_exception(answer)
            else:
                future.set_result(SimpleNamespace(offset=answer, timestamp=NEWEST_MS + answer))
        return futures

    def list_topics(topic: str, **_: object) -> Any:
        return metadata(topic)

    cluster = KafkaCluster(["127.0.0.1:1"], "test")
    cluster._admin = SimpleNamespace(  # type: ignore[assignment]
        list_offsets=list_offsets, list_topics=list_topics, poll=lambda _: 0
    )
    return cluster


def metadata(topic: str, *brokers: int) -> Any:
    """Return what a broker that knows of these brokers says of an empty topic."""
    found = SimpleNamespace(error=None, partitions={})
    return SimpleNamespace(topics={topic: found}, brokers=dict.fromkeys(brokers or [1]))


NEWEST_MS = 1_800_000_000_000
NO_LEADER = KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))


async def test_a_partition_that_cannot_say_is_left_out() -> None:
    """During a failover librdkafka returns -1001 without an error: it is no end of any log."""
    cluster = answering(7, OFFSET_INVALID, NO_LEADER, 0)
    assert await cluster.offsets("topic", range(4), OffsetSpec.latest()) == {0: 7, 3: 0}


@pytest.mark.parametrize("answer", [OFFSET_INVALID, NO_LEADER])
async def test_when_no_partition_can_say_there_is_no_answer(answer: Any) -> None:
    with pytest.raises(LogUnavailable, match=r"(?i)leader|no broker answers"):
        await answering(answer, answer).offsets("topic", range(2), OffsetSpec.latest())


async def test_a_partition_whose_election_is_news_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Backoff, "wait", lambda _: asyncio.sleep(0))
    older = KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH))
    newer = KafkaException(KafkaError(KafkaError.UNKNOWN_LEADER_EPOCH))
    cluster = answering(7, [older, 8], [newer, older, 9], NO_LEADER)
    found = await cluster.offsets("topic", range(4), OffsetSpec.latest())
    assert found == {0: 7, 1: 8, 2: 9}
    with pytest.raises(LogUnavailable, match="epoch"):
        await answering(older).offsets("topic", range(1), OffsetSpec.latest())


async def test_the_newest_is_asked_again_where_an_election_is_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or a server whose Kafka stood still would be told the same for as long as it runs."""
    monkeypatch.setattr(Backoff, "wait", lambda _: asyncio.sleep(0))
    older = KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH))
    cluster = answering([older, 8], [older, older, 9], 7)
    assert await cluster.newest_ms("topic", range(3)) == NEWEST_MS + 8


async def test_a_broker_that_starts_and_does_not_know_itself_is_asked_again() -> None:
    partial = KafkaException(KafkaError(KafkaError._PARTIAL))
    empty = metadata("topic")
    empty.brokers.clear()
    answers = iter([partial, empty, metadata("topic", 1, 2, 3)])

    def list_topics(_topic: str, **_: object) -> Any:
        answer = next(answers)
        if isinstance(answer, KafkaException):
            raise answer
        return answer

    cluster = answering()
    cluster._admin.list_topics = list_topics  # type: ignore[union-attr,method-assign]
    assert len((await cluster.known("topic", 60.0)).brokers) == 3
    answers = iter([empty] * 5)
    with pytest.raises(LogUnavailable, match="no broker is registered yet"):
        await cluster.known("topic", 0.3)
