"""What the producer reports becomes the answer to an append, whatever stands in the report."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from landline.adapters.kafka.cluster import KafkaCluster
from landline.adapters.kafka.event_log import KafkaEventLog
from landline.adapters.kafka.producer import UnreportedAppend
from landline.adapters.kafka.topics import Topic
from landline.model import Appended, AppendResult, NotAppended, Position
from landline_stack.ports import free_port

TOPIC = Topic("cluster", "topic", 32, 1, 1, None, ())


@pytest.fixture
async def event_log() -> AsyncIterator[KafkaEventLog]:
    """One whose brokers nobody has started."""
    cluster = KafkaCluster([f"127.0.0.1:{free_port()}"], "test")
    event_log = KafkaEventLog(cluster, "log", TOPIC)
    yield event_log
    await event_log.close()


def reported(event_log: KafkaEventLog, *reports: tuple[Any, Any]) -> list[AppendResult]:
    """Have reports come for as many appends, in one go; return the answers."""
    answers: list[AppendResult] = []
    appends = [
        UnreportedAppend(event_log._thread, 3, 10, answers.append, 0.0) for _report in reports
    ]
    for append in appends:
        event_log._unreported[append] = None
        event_log._unreported_bytes += append.size_bytes
    event_log.settle((append, *report) for append, report in zip(appends, reports, strict=True))
    assert event_log._unreported == {}
    assert event_log._unreported_bytes == 0
    return answers


def at(offset: int) -> tuple[None, Message]:
    return None, Message(topic="log", partition=3, offset=offset)


def test_a_record_that_is_there_nobody_knows_where_is_unknown(event_log: KafkaEventLog) -> None:
    """So it is after a leader was killed: the next one has the record, and says no more of it."""
    first, doubtful, last = reported(event_log, at(7), at(-1001), at(8))
    assert isinstance(first, Appended)
    assert isinstance(last, Appended)
    assert (first.position, last.position) == (Position(3, 7), Position(3, 8))
    assert isinstance(doubtful, NotAppended)
    assert not doubtful.certain


@pytest.mark.parametrize("code", [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD])
def test_what_is_wrong_with_the_record_itself_is_certain(
    event_log: KafkaEventLog, code: int
) -> None:
    [answer] = reported(event_log, (KafkaError(code), None))
    assert isinstance(answer, NotAppended)
    assert answer.certain


@pytest.mark.parametrize("code", [KafkaError._MSG_TIMED_OUT, KafkaError.NOT_ENOUGH_REPLICAS])
def test_everything_else_is_unknown(event_log: KafkaEventLog, code: int) -> None:
    [answer] = reported(event_log, (KafkaError(code), None))
    assert isinstance(answer, NotAppended)
    assert not answer.certain


async def test_a_report_that_nobody_can_read_keeps_no_answer_back_and_ends_the_server(
    event_log: KafkaEventLog,
) -> None:
    """A defect of ours, or of the driver."""
    strange, last = reported(event_log, (None, object()), at(8))
    assert isinstance(strange, NotAppended)
    assert not strange.certain
    assert isinstance(last, Appended)
    with pytest.raises(ExceptionGroup) as ended:
        await event_log.run()
    assert ended.group_contains(AttributeError)
