"""A topic that was just made is waited for; one that cannot be used is not waited for."""

from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from landline.adapters.kafka import topics
from landline.adapters.kafka.cluster import KafkaCluster
from landline.errors import LogUnavailable
from support.replays import in_virtual_time

NOBODY = cast("KafkaCluster", None)


def of(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


class Asked:
    """Stands in for one look at a topic: it fails so many times."""

    def __init__(self, cause: BaseException | None, times: float) -> None:
        self.count = 0
        self._cause = cause
        self._times = times

    async def __call__(self, _cluster: KafkaCluster, _name: str) -> str:
        self.count += 1
        if self.count <= self._times:
            raise LogUnavailable("Kafka: not now") from self._cause
        return "usable"


@pytest.mark.parametrize(
    "cause",
    [
        None,  # a partition has no leader
        of(KafkaError.UNKNOWN_TOPIC_OR_PART),
        of(KafkaError.LEADER_NOT_AVAILABLE),
        of(KafkaError.NOT_LEADER_FOR_PARTITION),
        of(KafkaError._TIMED_OUT),
        TimeoutError(),
    ],
    ids=str,
)
@in_virtual_time
async def test_it_is_asked_for_until_it_can_be_used(
    cause: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(cause, 3)
    monkeypatch.setattr(topics, "_inspect", asked)
    found: object = await topics.inspect_topic(NOBODY, "topic")
    assert found == "usable"
    assert asked.count == 4


@in_virtual_time
async def test_it_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(TimeoutError(), float("inf"))
    monkeypatch.setattr(topics, "_inspect", asked)
    with pytest.raises(LogUnavailable):
        await topics.inspect_topic(NOBODY, "topic")
    assert asked.count > 10


@in_virtual_time
async def test_what_waiting_does_not_help_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(of(KafkaError.TOPIC_AUTHORIZATION_FAILED), float("inf"))
    monkeypatch.setattr(topics, "_inspect", asked)
    with pytest.raises(LogUnavailable):
        await topics.inspect_topic(NOBODY, "topic")
    assert asked.count == 1
