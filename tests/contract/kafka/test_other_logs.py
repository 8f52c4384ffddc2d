"""A Kafka log that is not what it was, or that others write to: one clear sentence, or no harm."""

import asyncio
import secrets
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import OffsetSpec
from confluent_kafka.cimpl import NewPartitions

from contract.kafka.broken import Topics, key_of, records
from landline.adapters.kafka import KafkaEventLog
from landline.adapters.kafka.reader import KafkaLogReader
from landline.adapters.kafka.topics import inspect_topic
from landline.errors import LogLost
from landline.model import OFFSET_BITS, Position
from support.event_logs import (
    Follower,
    append_all,
    by_partition,
    in_order,
    read_all,
    until_aged,
)
from support.stack import KAFKA_SECONDS
from support.waiting import until_equal

pytestmark = [
    pytest.mark.stack,
    pytest.mark.usefixtures("patient_kafka"),
]


async def test_a_topic_that_was_made_again_is_another_log(topics: Topics) -> None:
    """F26: its offsets mean other records."""
    topic = topics.make(partitions=4)
    home = topics.home(topic)
    event_log = await home.open()
    await append_all(event_log, records(20))
    topics.delete(topic)
    await topics.make_again(topic, partitions=4)
    error = str(await home.lost())
    assert error.startswith(f"{topic} is another log: it was deleted and made again")
    assert "landline migrate --new-log" in error


async def test_more_partitions_are_another_log(topics: Topics) -> None:
    """F16: a conversation's next record would be elsewhere."""
    topic = topics.make(partitions=4)
    home = topics.home(topic)
    await append_all(await home.open(), records(20))
    asked = [NewPartitions(topic, 6)]
    for grown in topics.admin.create_partitions(asked, request_timeout=KAFKA_SECONDS).values():
        grown.result(KAFKA_SECONDS)
    assert "it has 6 partitions now, it had 4" in str(await home.lost())
    as_it_was = replace(await inspect_topic(topics.cluster, topic), partitions=4)
    log_as_it_was = KafkaEventLog(topics.cluster, topic, as_it_was)
    with pytest.raises(LogLost, match="it has 6 partitions"):
        await log_as_it_was.open_reader({})
    await log_as_it_was.close()


async def test_records_that_are_gone_before_they_were_applied_are_a_loss(topics: Topics) -> None:
    """F24: at the opening with the exact range, later with the offset."""
    topic = topics.make(partitions=2)
    event_log = await topics.home(topic).open()
    key = key_of(1, 2)
    await append_all(event_log, [(key, str(number).encode()) for number in range(50)])
    topics.forget(topic, 1, 30)
    with pytest.raises(LogLost, match=r"partition 1: records 10 to 29 are gone"):
        await event_log.open_reader({1: 10})
    await (await event_log.open_reader({1: 30})).close()
    with pytest.raises(LogLost, match=r"partition 1: .* offset 51, but it ends at 50"):
        await event_log.open_reader({1: 51})
    reader = KafkaLogReader(topics.cluster, topic, {0: 0, 1: 10}, 0)
    with pytest.raises(LogLost, match=r"partition 1 has no records at offset 10 any more"):
        await reader.read(100)
    await reader.close()


async def test_an_epoch_is_above_every_offset(topics: Topics) -> None:
    topic = topics.make(partitions=2)
    old = await append_all(await topics.home(topic).open(), records(20))
    base = 1 << OFFSET_BITS
    event_log = await topics.home(topic, epoch=1).open()
    new = await append_all(event_log, records(20))
    assert min(entry.position.offset for entry in new) > base
    ends = await event_log.ends()
    assert sum(ends.values()) == 2 * base + 40
    follower = await Follower.open(event_log, {0: base, 1: base})
    read = await follower.read_until(ends)
    lifted = [
        entry._replace(position=Position(entry.position.partition, base + entry.position.offset))
        for entry in old
    ]
    assert by_partition(read) == in_order([*lifted, *new])
    with pytest.raises(LogLost, match="older log epoch"):
        await event_log.open_reader({0: base - 1})


async def test_foreign_transactions_hold_up_nobody(topics: Topics) -> None:
    """Committed, aborted, and one left open: a reader gets to the ends, which the barrier needs."""
    topic = topics.make()
    event_log = await topics.home(topic).open()
    ours = [(await append_all(event_log, records(1)))[0].value]
    foreign = Producer(
        {"bootstrap.servers": topics.servers, "transactional.id": secrets.token_hex(4)}
    )
    await asyncio.to_thread(foreign.init_transactions)
    for settle in (foreign.commit_transaction, foreign.abort_transaction):
        foreign.begin_transaction()
        for _ in range(3):
            foreign.produce(topic, b"foreign")
        await asyncio.to_thread(foreign.flush)
        await asyncio.to_thread(settle)
        # The log ends with a marker, which is no record.
        entries = await read_all(event_log)
        assert [each.value for each in entries if each.value != b"foreign"] == ours
    foreign.begin_transaction()
    foreign.produce(topic, b"foreign")
    await asyncio.to_thread(foreign.flush)
    ours += [entry.value for entry in await append_all(event_log, records(3))]
    entries = await read_all(event_log)
    assert [each.value for each in entries if each.value != b"foreign"] == ours
    await asyncio.to_thread(foreign.abort_transaction)


async def test_foreign_records_are_read_as_far_as_they_go(topics: Topics) -> None:
    topic = topics.make()
    event_log = await topics.home(topic).open()
    foreign = Producer({"bootstrap.servers": topics.servers})
    foreign.produce(topic, b"\xff\x00", b"\xff\xfe")
    foreign.produce(topic, b"no key")
    foreign.produce(topic, None, b"no value")
    foreign.produce(topic, headers={"only": b"headers"})
    await asyncio.to_thread(foreign.flush)
    entries = await read_all(event_log)
    assert [(entry.key, entry.value) for entry in entries] == [
        ("��", b"\xff\x00"),
        ("", b"no key"),
        ("no value", b""),
        ("", b""),
    ]


async def test_aged_tells_what_the_log_is_about_to_forget(topics: Topics) -> None:
    event_log = await topics.open_as_a_server(partitions=2, config={"retention.ms": "3000"})
    await until_aged(event_log, 0.5, {0: 0, 1: 0})
    key = key_of(0, 2)
    await append_all(event_log, [(key, b"old")] * 10)
    await until_equal(lambda: event_log.aged(0.5), {0: 10, 1: 0})
    hour = await topics.open(config={"retention.ms": "3600000"})
    await append_all(hour, records(10))
    assert await hour.aged(0.5) == {0: 0}
    ever = await topics.open(config={"retention.ms": "-1"})
    await append_all(ever, records(10))
    assert await ever.aged(0.0) == {}


async def test_what_comes_while_the_aged_are_asked_for_is_not_aged(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first message of a partition would stop all senders while the store is away."""
    event_log = await topics.open_as_a_server(config={"retention.ms": "3600000"})
    ask = event_log._offsets

    async def ask_while_one_comes(spec: OffsetSpec) -> dict[int, int]:
        offsets = await ask(spec)
        await append_all(event_log, records(1))
        return offsets

    monkeypatch.setattr(event_log, "_offsets", ask_while_one_comes)
    await until_aged(event_log, 0.5, {0: 0})
