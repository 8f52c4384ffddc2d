"""The log is replaced on purpose: `landline migrate --new-log`, and what users notice of it."""

import asyncio
from itertools import count
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, OffsetSpec
from confluent_kafka.cimpl import NewPartitions

from landline.adapters.kafka import KafkaCluster, KafkaEventLog
from landline.adapters.kafka.topics import Topic, find_topic
from landline.adapters.postgres import PostgresMessageStore, migrate
from landline.adapters.postgres.migrations import POSTGRES_SCHEMA_VERSION, load_migrations
from landline.app import migrate as command
from landline.config import Settings
from landline.config.values import SecretUrl
from landline.errors import LogUnavailable, StartupError, StoreUnavailable
from landline.model import (
    LogIdentity,
    Mailbox,
    PendingQuery,
    Position,
    Positions,
    covers,
)
from landline.protocol.records import MessageRecord, ReceiptEntry, ReceiptRecord
from landline.writer import Writer
from landline_stack import Stack
from support.event_logs import append_all
from support.postgres import execute, fetch
from support.stack import CREATED_SECONDS, KAFKA_SECONDS, MakeTopic
from support.waiting import until, until_equal

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("patient_postgres", "patient_kafka")]

TABLES = (
    "SELECT message_id::text, log_partition, log_offset, content FROM messages ORDER BY 1",
    "SELECT message_id::text, recipient, status FROM message_status ORDER BY 1, 2",
    "SELECT log_partition, log_offset FROM quarantine ORDER BY 1, 2",
)
SERVERS = """
    SELECT application_name FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'landline-ws-%'
"""


class Deployment:
    """A topic, a store, and what works on them for a moment: no server runs in between."""

    def __init__(self, servers: str, topic: str, url: SecretUrl) -> None:
        self.cluster = KafkaCluster([servers], "test")
        self.topic = topic
        self.url = url
        self.settings = Settings(kafka=(servers,), postgres=url, allow_unsafe=True)

    async def found(self) -> Topic:
        topic = await find_topic(self.cluster, self.topic)
        assert topic is not None
        return topic

    async def close_store(self, store: PostgresMessageStore) -> None:
        """Close a server's store, and see it gone: PostgreSQL shows it a moment longer."""
        await store.close()
        await until_equal(lambda: fetch(self.url.reveal(), SERVERS), [])

    async def adopt(self) -> None:
        await migrate(self.url)
        found = await self.found()
        store = PostgresMessageStore(self.url, "ws-1")
        await store.adopt(LogIdentity(found.cluster_id, found.topic_id, found.partitions))
        await self.close_store(store)

    async def apply_all(self, *records: tuple[str, bytes]) -> None:
        """Append records, and let a writer apply the whole log."""
        store = PostgresMessageStore(self.url, "ws-1")
        identity = await store.identity()
        assert identity is not None
        event_log = KafkaEventLog(self.cluster, self.topic, await self.found(), identity.epoch)
        writer = Writer(event_log, store)
        running = asyncio.create_task(writer.run())
        await append_all(event_log, records)
        ends = await event_log.ends()
        await until(lambda: running.done() or covers(writer.applied, ends), "all is applied")
        running.cancel()
        await asyncio.wait([running])
        await event_log.close()
        await self.close_store(store)

    async def append(self, *records: tuple[str, bytes]) -> dict[bytes, Position]:
        """Append records that no writer applies, and return what their senders were told."""
        event_log = KafkaEventLog(self.cluster, self.topic, await self.found())
        entries = await append_all(event_log, records)
        await event_log.close()
        return {entry.value: entry.position for entry in entries}

    async def owed(self, user: str) -> list[str]:
        store = PostgresMessageStore(self.url, "ws-1")
        [pending] = await store.pending([PendingQuery(Mailbox(user), {}, 1_000)])
        await self.close_store(store)
        return [message.id for message in pending.messages]

    async def applied(self) -> Positions:
        store = PostgresMessageStore(self.url, "ws-1")
        applied = await store.applied()
        await self.close_store(store)
        return applied

    async def rows(self) -> list[list[tuple[Any, ...]]]:
        return [await fetch(self.url.reveal(), sql) for sql in TABLES]


@pytest.fixture
async def deployment(
    stack: Stack, postgres_url: str, make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    topic = make_topic(partitions=4, **{"message.timestamp.type": "LogAppendTime"})
    for module in (
        "landline.app.migrate",
        "landline.app.cluster",
        "landline.adapters.kafka.topics",
    ):
        monkeypatch.setattr(f"{module}.MESSAGES_TOPIC", topic)
    deployment = Deployment(stack.kafka_servers, topic, SecretUrl(postgres_url))
    monkeypatch.setattr(command, "find_topic", lambda cluster: find_topic(cluster, topic))

    async def look_at_kafka(_settings: Settings, _cluster: KafkaCluster) -> Topic:
        return await deployment.found()  # as it does; it makes no topics of the usual names here

    monkeypatch.setattr(command, "look_at_kafka", look_at_kafka)
    await deployment.adopt()
    return deployment


def uuid(number: int) -> str:
    return f"{number:08x}-0000-8000-8000-00000000c0de"


def conversation(number: int) -> str:
    return f"dm:alice:user{number}"


def sent(number: int) -> tuple[str, bytes]:
    record = MessageRecord(
        uuid(number), None, conversation(number), "alice", (f"user{number}",), "text", "now"
    )
    return conversation(number), record.encode()


def received(number: int) -> tuple[str, bytes]:
    entry = ReceiptEntry(f"user{number}", None, [uuid(number)])
    record = ReceiptRecord(conversation(number), (entry,), "2026")
    return conversation(number), record.encode()


async def _is_led(cluster: KafkaCluster, topic: str, total: int) -> bool:
    """Say whether all of them are there and have leaders, which takes a busy broker a while."""
    try:
        if len((await cluster.describe(topic)).partitions) < total:
            return False
        return len(await cluster.offsets(topic, range(total), OffsetSpec.latest())) == total
    except LogUnavailable:
        return False


async def raise_partitions(stack: Stack, topic: str, total: int) -> None:
    admin = AdminClient({"bootstrap.servers": stack.kafka_servers})
    for raised in admin.create_partitions([NewPartitions(topic, total)]).values():
        await asyncio.to_thread(raised.result, KAFKA_SECONDS)
    described = KafkaCluster([stack.kafka_servers], "test")
    await until(
        lambda: _is_led(described, topic, total), f"{topic} has {total} leaders", CREATED_SECONDS
    )


async def test_after_partitions_were_raised_every_message_keeps_its_place(
    stack: Stack, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = range(24)
    delivered = [number for number in numbers if number % 2]
    await deployment.apply_all(*map(sent, numbers), *map(received, delivered), ("x", b"garbage"))
    before = await deployment.rows()
    await raise_partitions(stack, deployment.topic, 11)
    assert await command._move_to_new_log(deployment.settings, True) == 0
    out = capsys.readouterr().out
    assert "11 partitions (there were 4)" in out
    assert "nothing is read twice" in out
    # What was applied is not read again, which would take hours. Every message is sent again: with
    # 11 partitions it lands in another one, often of a lower number.
    await deployment.apply_all(*map(sent, numbers))
    messages, deliveries, quarantined = await deployment.rows()
    assert [messages, deliveries] == before[:2]
    assert len(quarantined) == 1
    for number in numbers:
        assert await deployment.owed(f"user{number}") == ([] if number % 2 else [uuid(number)])


async def test_what_was_accepted_and_not_applied_keeps_the_offset_that_senders_were_told(
    stack: Stack, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """The servers were stopped while the writer was behind, and the partitions cannot be taken
    back: no server starts before the store has gone over.
    """
    await deployment.apply_all(*map(sent, range(5)))
    told = await deployment.append(*map(sent, range(5, 30)), received(2), ("x", b"garbage"))
    await raise_partitions(stack, deployment.topic, 11)
    assert await command._move_to_new_log(deployment.settings, True) == 0
    assert "applying 27 offsets that the log holds beyond that" in capsys.readouterr().out
    messages, _deliveries, quarantined = await deployment.rows()
    stored = {id: (partition, offset) for id, partition, offset, _content in messages}
    assert len(stored) == 30
    for number in range(5, 30):
        position = told[sent(number)[1]]
        assert stored[uuid(number)] == (position.partition, position.offset)
    assert quarantined == [(told[b"garbage"].partition, told[b"garbage"].offset)]
    assert all(offset < 1 << 40 for _, _, offset, _ in messages)
    # It is not read again, and what comes is.
    await deployment.apply_all(*map(sent, range(40)))
    again = await deployment.rows()
    assert len(again[0]) == 40
    assert [row for row in again[0] if row[2] < 1 << 40] == messages
    assert again[2] == quarantined
    assert await deployment.owed("user2") == []
    assert await deployment.owed("user29") == [uuid(29)]


async def test_the_store_is_not_moved_when_the_rest_cannot_be_applied(
    stack: Stack, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deployment.append(*map(sent, range(5)))
    await raise_partitions(stack, deployment.topic, 6)
    tries = count(1)
    with monkeypatch.context() as broken:

        async def refuse(_store: PostgresMessageStore, _batches: object) -> bool:
            if next(tries) > 1:  # by now the writer has told why the first one failed
                broken.setattr(command, "STANDSTILL_SECONDS", 0.0)
            raise StoreUnavailable("the disk is full")

        broken.setattr(PostgresMessageStore, "apply", refuse)
        with pytest.raises(StartupError, match="the disk is full; nothing was moved"):
            await command._move_to_new_log(deployment.settings, True)
    assert max((await deployment.applied()).values(), default=0) < 1 << 40
    assert await command._move_to_new_log(deployment.settings, True) == 0
    assert min((await deployment.applied()).values()) >= 1 << 40
    assert len((await deployment.rows())[0]) == 5


async def test_the_log_that_the_store_follows_is_not_replaced(deployment: Deployment) -> None:
    await deployment.apply_all(sent(1))
    with pytest.raises(StartupError, match="there is nothing to move to"):
        await command._move_to_new_log(deployment.settings, True)
    assert min((await deployment.applied()).values()) < 1 << 40


async def test_a_log_that_went_back_is_followed_again(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    await deployment.apply_all(sent(1), sent(2))
    await execute(
        deployment.url.reveal(), "UPDATE applied SET next_offset = 500 WHERE log_partition = 2"
    )
    assert await command._move_to_new_log(deployment.settings, True) == 0
    assert "partition 2: was applied up to 500, but ends at" in capsys.readouterr().out
    await deployment.apply_all(sent(3))
    assert [row[0] for row in (await deployment.rows())[0]] == [uuid(n) for n in (1, 2, 3)]


async def test_what_the_log_has_deleted_already_does_not_stand_in_the_way(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    await deployment.apply_all(*map(sent, range(12)))
    from confluent_kafka import TopicPartition

    ends = {0: 1, 1: 1, 2: 1, 3: 1}
    admin = deployment.cluster.admin
    asked = admin.delete_records(
        [TopicPartition(deployment.topic, each, end) for each, end in ends.items()]
    )
    for deleted in asked.values():
        await asyncio.to_thread(deleted.result, KAFKA_SECONDS)
    await execute(deployment.url.reveal(), "UPDATE applied SET next_offset = 0")
    assert await command._move_to_new_log(deployment.settings, True) == 0
    assert "records 0 to 0 are gone and were never applied" in capsys.readouterr().out
    assert set((await deployment.applied()).values()) == {(1 << 40) + 1}
    await deployment.apply_all(sent(20))


async def test_nothing_is_done_while_a_server_runs_or_unconfirmed(
    stack: Stack, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    await raise_partitions(stack, deployment.topic, 5)
    store = PostgresMessageStore(deployment.url, "ws-7")
    await store.applied()
    with pytest.raises(StartupError, match="in use by ws-7; stop all servers first"):
        await command._move_to_new_log(deployment.settings, True)
    await deployment.close_store(store)
    with pytest.raises(StartupError, match="add --yes"):
        await command._move_to_new_log(deployment.settings, False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for typed, code in (("yes", 1), ("new log", 0)):
        monkeypatch.setattr("builtins.input", lambda _prompt, typed=typed: typed)
        assert await command._move_to_new_log(deployment.settings, False) == code
        moved = min((await deployment.applied()).values()) >= 1 << 40
        assert moved == (code == 0)


async def test_the_schema_is_made_and_then_left_alone(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(postgres=SecretUrl(postgres_url))
    await command._migrate(settings)
    runs = "".join(f"runs {script.name}\n" for script in load_migrations())
    done = f"schema is at version {POSTGRES_SCHEMA_VERSION}"
    assert capsys.readouterr().out == f"{runs}{done}; {POSTGRES_SCHEMA_VERSION} migrations run\n"
    await command._migrate(settings)
    assert capsys.readouterr().out == f"{done}; nothing to do\n"
    with pytest.raises(StartupError, match="not written from any log yet"):
        await command._move_to_new_log(Settings(kafka=("x:1",), postgres=settings.postgres), True)
