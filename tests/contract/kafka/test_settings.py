"""What somebody changes about CHAT-MESSAGES while a server runs: for worse, and for better."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from landline.adapters.kafka import KafkaCluster, KafkaEventLog, topic_watch
from landline.model import Appended
from landline.protocol.times import LAST_TIME_MS
from landline_stack import Stack
from support.event_logs import Appends, KafkaHome, append_all, until_aged
from support.stack import KAFKA_SECONDS, MakeTopic, alter_topic
from support.waiting import until, until_equal

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("patient_kafka")]

SIX_DAYS = 6 * 86_400.0
HOUR = "3600000"
# As on three brokers, but for the replicas: what one broker cannot do was accepted at the start.
GOOD = {
    "min.insync.replicas": "1",
    "message.timestamp.type": "LogAppendTime",
    "retention.ms": "604800000",
}
CHANGES = {
    "unclean_leader_election_enable": ("true", "false"),
    "cleanup_policy": ("compact", "delete"),
    "retention_ms": ("600000", "604800000"),
    "retention_bytes": ("1000000", "-1"),
    "message_timestamp_type": ("CreateTime", "LogAppendTime"),
    "max_message_bytes": ("20000", "1048588"),
}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_watch, "LOG_WATCH_SECONDS", 0.05)
    monkeypatch.setattr(topic_watch, "SETTINGS_SECONDS", 0.05)


@pytest.fixture
async def home(
    hurried: None, stack: Stack, make_topic: MakeTopic
) -> AsyncIterator[Callable[..., KafkaHome]]:
    """Makes homes on one topic; closed at the end."""
    homes: list[KafkaHome] = []
    cluster = KafkaCluster([stack.kafka_servers], "test")
    topic, hints = make_topic(2, **GOOD), make_topic(1, **GOOD)

    def make(**how: bool) -> KafkaHome:
        homes.append(KafkaHome(cluster, topic, hints=hints, **how))
        return homes[-1]

    yield make
    for each in homes:
        await each.close()


@pytest.mark.parametrize("setting", CHANGES)
async def test_a_setting_that_breaks_the_promise_is_a_breach_until_it_is_put_right(
    setting: str, stack: Stack, home: Callable[..., KafkaHome]
) -> None:
    opened = home()
    log = await opened.open()
    admin = AdminClient({"bootstrap.servers": stack.kafka_servers})
    bad, good = CHANGES[setting]
    await append_all(log, [("key", b"before")])
    assert (log.breach(), log.health()) == (None, None)
    with capture_logs() as lines:
        await asyncio.to_thread(alter_topic, admin, opened.topic, **{setting: bad})
        await until(lambda: log.breach() is not None, "it is noticed")
        name = setting.replace("_", ".")
        assert f"{opened.topic}: {name} is {bad}, needed is" in (log.breach() or "")
        assert log.health() == log.breach()
        # The log takes what it is given: receipts, say. Sends are refused before it.
        appends = Appends(log)
        appends.append([("key", b"meanwhile")])
        assert isinstance((await appends.settled())[0], Appended)
        await asyncio.to_thread(alter_topic, admin, opened.topic, **{setting: good})
        await until(lambda: log.breach() is None, "it is put right")
    assert log.health() is None
    events = [line["event"] for line in lines if line["event"] != "log_settings_changed"]
    assert events == ["log_unsafe", "log_safe_again"]


async def test_with_allow_unsafe_each_change_is_a_warning_once(
    stack: Stack, home: Callable[..., KafkaHome]
) -> None:
    opened = home(allow_unsafe=True)
    log = await opened.open()
    admin = AdminClient({"bootstrap.servers": stack.kafka_servers})
    with capture_logs() as lines:
        for bad in ("600000", "604800000", "700000"):
            await asyncio.to_thread(alter_topic, admin, opened.topic, retention_ms=bad)
            await until(
                lambda bad=bad: log._watch.topic.retention_ms == int(bad),  # type: ignore[misc]
                "it is noticed",
            )
            assert (log.breach(), log.health()) == (None, None)
    warnings = [line["setting"] for line in lines if line["event"] == "unsafe_setting"]
    assert [line.split(",")[0] for line in warnings] == [
        f"{opened.topic}: retention.ms is 600000",
        f"{opened.topic}: retention.ms is 700000",
    ]


@pytest.mark.parametrize("offset", [0.0, SIX_DAYS, -SIX_DAYS])
async def test_age_goes_by_the_brokers_clock_and_by_the_retention_of_now(
    offset: float, stack: Stack, home: Callable[..., KafkaHome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that has appended nothing, on a log that is idle: nothing in it says how late
    it is.
    """
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + offset)
    writing = await home(allow_unsafe=True).open()
    entries = await append_all(writing, [("key", b"old")] * 3)
    opened = home(allow_unsafe=True)
    log = await opened.open()
    admin = AdminClient({"bootstrap.servers": stack.kafka_servers})
    nothing = dict.fromkeys(range(2), 0)
    await until_aged(log, 0.8, nothing)
    await asyncio.to_thread(alter_topic, admin, opened.topic, retention_ms="2000")
    end = {entries[0].position.partition: 3}
    await until_aged_again(log, nothing | end)
    await asyncio.to_thread(alter_topic, admin, opened.topic, retention_ms=HOUR)
    await until_aged_again(log, nothing)
    await asyncio.to_thread(alter_topic, admin, opened.topic, retention_ms=str(1 << 62))
    await until_aged_again(log, {})  # longer than there are times
    await asyncio.to_thread(alter_topic, admin, opened.topic, retention_ms="-1")
    await until_aged_again(log, {})


async def until_aged_again(log: KafkaEventLog, wanted: dict[int, int]) -> None:
    await until_equal(lambda: log.aged(0.8), wanted)


ANY_TIME = {
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str((1 << 63) - 1),
    "message.timestamp.before.max.ms": str((1 << 63) - 1),
}


def write_foreign(servers: str, topic: str, time_ms: int) -> None:
    """Have somebody else write a record that says it was sent at this time."""
    producer = Producer({"bootstrap.servers": servers})
    producer.produce(topic, b"{}", "foreign", partition=0, timestamp=time_ms)
    assert producer.flush(KAFKA_SECONDS) == 0


async def test_a_log_whose_hints_are_not_stamped_ages_by_its_newest_records(
    stack: Stack, make_topic: MakeTopic, hurried: None
) -> None:
    """But not by the newest of all: from before the brokers stamped there may be anything."""
    topic, hints = make_topic(3, **ANY_TIME, **{"retention.ms": HOUR}), make_topic(1)
    await asyncio.to_thread(write_foreign, stack.kafka_servers, topic, LAST_TIME_MS)
    admin = AdminClient({"bootstrap.servers": stack.kafka_servers})
    await asyncio.to_thread(alter_topic, admin, topic, message_timestamp_type="LogAppendTime")
    home = KafkaHome(KafkaCluster([stack.kafka_servers], "test"), topic, hints=hints)
    writing = await home.open()
    await append_all(writing, [(f"key{number}", b"old") for number in range(9)])
    log = await home.open()  # one that has appended nothing
    ends = await log.ends()
    assert all(ends.values())
    assert (await log.aged(0.8))[1] == 0  # young
    await asyncio.to_thread(alter_topic, admin, topic, retention_ms="2000")

    async def is_all_aged() -> bool:
        return (await log.aged(0.8)).get(1, 0) >= ends[1]

    await until(is_all_aged, "Kafka's clock has moved on")
    await home.close()


@pytest.mark.parametrize("time_ms", [LAST_TIME_MS, LAST_TIME_MS + 1, (1 << 63) - 1])
@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_foreign_record_of_the_far_future_does_not_make_the_others_old(
    time_ms: int, partitions: int, stack: Stack, make_topic: MakeTopic, hurried: None
) -> None:
    """Neither the log nor the hints are stamped by brokers, or the stamp does not come."""
    topic = make_topic(partitions, **ANY_TIME, **{"retention.ms": HOUR})
    home = KafkaHome(KafkaCluster([stack.kafka_servers], "test"), topic, hints=topic)
    log = await home.open()
    await append_all(log, [(f"key{number}", b"young") for number in range(9)])
    await asyncio.to_thread(write_foreign, stack.kafka_servers, topic, time_ms)
    await log.warm_up()
    assert await log.aged(0.8) == {}
    await home.close()
