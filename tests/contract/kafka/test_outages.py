"""The Kafka log while its broker is away, hangs or refuses.

Every append is answered once. What was acknowledged is there for ever; what was certainly refused
never is.
"""

import asyncio
import threading

import pytest
from confluent_kafka import KafkaError, TopicPartition

from contract.kafka.broken import (
    Harm,
    Topics,
    assert_truthful,
    heal,
    kill,
    outcomes,
    pause,
    read_as_the_writer,
    records,
    until_all_refused,
    until_refused,
    until_well,
)
from landline.adapters.kafka.producer import UNREPORTED_BYTES, UNREPORTED_RECORDS
from landline.adapters.kafka.topics import RECORD_BYTES
from landline.errors import LogUnavailable
from landline_stack.kafka import KafkaNode
from support.event_logs import Appends, Follower, append_all, by_partition, in_order
from support.waiting import go_round, until

pytestmark = pytest.mark.stack

# How often a reader looks whether it is stuck, and how often where a test waits for that.
STUCK_LOOK = "landline.adapters.kafka.reader.STUCK_LOOK_SECONDS"
FREQUENT_SECONDS = 1.0


@pytest.mark.parametrize("harm", [kill, pause])
async def test_first_it_is_unknown_then_refused_at_once_then_it_works_again(
    broker: KafkaNode, topics: Topics, harm: Harm
) -> None:
    """F01, F11: no append is without an answer, and no answer claims too much."""
    event_log = await topics.open(partitions=8)
    before = Appends(event_log)
    before.append(records(200))
    await before.acknowledged()

    await asyncio.to_thread(harm, broker)
    during = Appends(event_log)
    during.append(records(500))
    await during.settled()
    assert "appended" not in outcomes(during)
    assert "unknown" in outcomes(during)
    assert "Kafka" in await until_all_refused(event_log)
    refused = Appends(event_log)
    refused.append(records(5_000))
    await refused.settled()
    assert outcomes(refused) == {"refused"}
    assert len(event_log._unreported) < 5_000

    await asyncio.to_thread(heal, [broker])
    await until_well(event_log)
    after = Appends(event_log)
    after.append(records(200))
    await after.acknowledged()
    await assert_truthful(event_log, before, during, refused, after)


async def test_what_waits_for_a_silent_broker_is_bounded(broker: KafkaNode, topics: Topics) -> None:
    """By number and by size; and close does not wait for a broker that does not answer."""
    event_log = await topics.open(partitions=8)
    await append_all(event_log, records(50))
    broker.pause()
    small, large = Appends(event_log), Appends(event_log)
    for appends, number, size_bytes in (
        (small, 2 * UNREPORTED_RECORDS, 10),
        (large, 2_000, 60_000),
    ):
        appends.append(records(number, size_bytes))
        await go_round()
        assert len(event_log._unreported) <= UNREPORTED_RECORDS
        assert event_log._unreported_bytes <= UNREPORTED_BYTES + size_bytes
        assert outcomes(appends) == {"refused"}
    await event_log.close()
    for appends in (small, large):
        assert len(appends.results) == len(appends.records)
        assert outcomes(appends) <= {"refused", "unknown"}
    await until(
        lambda: "kafka-producer" not in {thread.name for thread in threading.enumerate()},
        "its thread has ended",
    )


async def test_after_close_nothing_is_taken(topics: Topics) -> None:
    event_log = await topics.open()
    await event_log.close()
    appends = Appends(event_log)
    appends.append(records(3))
    await appends.settled()
    assert outcomes(appends) == {"refused"}


async def test_a_reader_waits_for_a_broker_that_is_away_and_reads_on(
    broker: KafkaNode, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = await topics.open(partitions=4)
    before = await append_all(event_log, records(100))
    follower = await Follower.open(event_log, {})
    while len(follower.entries) < 100:
        await follower.read()
    with monkeypatch.context() as hurried:
        hurried.setattr(topics.cluster, "ask_seconds", 1.0)
        broker.pause()
        await until_refused(event_log)
        with pytest.raises(LogUnavailable):
            await event_log.ends()
        with pytest.raises(LogUnavailable):
            await event_log.open_reader({})
    broker.resume()
    await until_well(event_log)
    after = await append_all(event_log, records(100))
    await read_as_the_writer(follower, event_log)
    assert by_partition(follower.entries) == in_order([*before, *after])


async def test_a_reader_of_which_a_partition_is_stuck_is_given_up(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = await topics.open(partitions=4)
    reader = await event_log.open_reader({})
    follower = Follower(reader, {})
    before = await append_all(event_log, records(100))
    while len(follower.entries) < 100:
        await follower.read()
    # What librdkafka does when it loses sight of a partition: nothing comes, and nothing is said.
    reader._consumer.pause([TopicPartition(reader._topic, 2)])
    after = await append_all(event_log, records(100))
    ends = await event_log.ends()
    # What is merely slow is not stuck: the others first, then it looks more often.
    while any(follower.positions.get(each, 0) < ends[each] for each in (0, 1, 3)):
        await follower.read()
    with monkeypatch.context() as looks:
        looks.setattr(STUCK_LOOK, FREQUENT_SECONDS)
        with pytest.raises(
            LogUnavailable, match=r"partitions \[2\] of .* have records that do not come"
        ):
            await follower.read_until(ends)
    await read_as_the_writer(follower, event_log)
    assert by_partition(follower.entries) == in_order([*before, *after])


async def test_a_reader_that_nobody_asks_is_not_stuck(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = await topics.open(partitions=4)
    with monkeypatch.context() as looks:
        looks.setattr(STUCK_LOOK, FREQUENT_SECONDS)
        follower = await Follower.open(event_log, {})
        entries = await append_all(event_log, records(100))
        await asyncio.sleep(3 * FREQUENT_SECONDS)  # nobody tells of a look that finds nothing
    await follower.read_until(await event_log.ends())
    assert by_partition(follower.entries) == in_order(entries)


async def test_a_reader_closes_while_the_broker_hangs(broker: KafkaNode, topics: Topics) -> None:
    event_log = await topics.open(partitions=4)
    reader = await event_log.open_reader({})
    reading = asyncio.create_task(reader.read(10))
    broker.pause()
    reading.cancel()
    await asyncio.wait({reading})
    await reader.close()
    await until(
        lambda: not any("kafka-reader" in each.name for each in threading.enumerate()),
        "its thread has ended",
    )


async def test_a_record_that_is_too_large_is_certainly_not_in_the_log(topics: Topics) -> None:
    """F14: the broker's limit, and librdkafka's own."""
    event_log = await topics.open(config={"max.message.bytes": "20000"})
    appends = Appends(event_log)
    appends.append([*records(1, 50_000), *records(1, 3_000_000)])
    await appends.settled()
    assert outcomes(appends) == {"refused"}
    assert event_log.health() is None
    good = Appends(event_log)
    good.append(records(10))
    await good.acknowledged()
    await assert_truthful(event_log, appends, good)


async def test_small_records_are_not_refused_for_the_size_of_their_batch(topics: Topics) -> None:
    """The limit that `prepare_topics` demands is enough, however many records are under way."""
    event_log = await topics.open(config={"max.message.bytes": str(RECORD_BYTES)})
    await append_all(event_log, records(2_000, 5_000))


async def test_a_fatal_producer_is_replaced_and_what_it_held_is_unknown(topics: Topics) -> None:
    """F10. The real error comes on the producer's thread, as here."""
    event_log = await topics.open(partitions=8)
    fatal = KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "fenced", fatal=True)
    appends = Appends(event_log)
    for _ in range(5):
        thread = event_log._thread
        appends.append(records(2_000))
        await asyncio.to_thread(thread._failed, fatal)
        appends.append(records(100))
        await until(lambda thread=thread: event_log._thread is not thread, "it is replaced")  # type: ignore[misc]
        appends.append(records(100))
    await appends.settled()
    assert "refused" not in outcomes(appends)
    again = Appends(event_log)
    again.append(records(100))
    await again.acknowledged()
    await assert_truthful(event_log, appends, again)
    await until(
        lambda: [each.name for each in threading.enumerate()].count("kafka-producer") == 1,
        "the threads of the others have ended",
    )
