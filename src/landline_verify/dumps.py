"""What the log and the store hold of a run, read with their own clients."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import asyncpg
import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from landline_verify.clients import Recorder, digest
from landline_verify.errors import VerifyError
from landline_verify.events import (
    AppliedRow,
    DeliveryRow,
    Dump,
    Event,
    ForeignRecord,
    MessageRecord,
    MessageRow,
    QuarantineRow,
    ReceiptsRecord,
)

TOPIC: Final = "CHAT-MESSAGES"
_ASK_SECONDS = 10.0
_COMMAND_SECONDS = 30.0
# A broker that has records and gives none for so long is not waited for.
_IDLE_SECONDS = 5.0
_RECORDS_AT_ONCE = 1_000
# The server's offsets carry the epoch of the log above Kafka's own offset (docs/operating.md).
EPOCH_BITS = 40


# What a database that is away, or was, answers with. The driver calls it an internal error of its
# own when a server says that it is being shut down while nothing is asked.
STORE_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class DumpFailed(Exception):
    """The log did not give what it has; `str(error)` says why."""


class Log:
    """The records of CHAT-MESSAGES since this object was made. Blocks: use it on a thread."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "landline-verify",  # required, never joined: partitions are assigned
                "enable.auto.commit": False,
                "enable.partition.eof": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "log_level": 0,  # what is wrong is said in our words
            }
        )
        try:
            self.starts = self.ends()
        except KafkaException as error:
            self.close()
            reason = error.args[0].str()
            raise VerifyError(
                f"--kafka {servers}: the log cannot be read ({reason}); give what the servers use"
            ) from None

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def ends(self) -> dict[int, int]:
        """Return the offset after the last record of each partition. Raises: KafkaException."""
        topics = self._consumer.list_topics(TOPIC, timeout=_ASK_SECONDS).topics
        if topics[TOPIC].error is not None:
            raise KafkaException(topics[TOPIC].error)
        return {
            partition: self._consumer.get_watermark_offsets(
                TopicPartition(TOPIC, partition), timeout=_ASK_SECONDS
            )[1]
            for partition in topics[TOPIC].partitions
        }

    def read(self, until: dict[int, int]) -> Iterator[KafkaMessage]:
        """Yield every record from the start of the run to `until`, of each partition in order.

        Raises: DumpFailed.
        """
        missing = {
            partition: end
            for partition, end in until.items()
            if end > self.starts.get(partition, 0)
        }
        self._consumer.assign(
            [TopicPartition(TOPIC, each, self.starts.get(each, 0)) for each in missing]
        )
        while missing:
            records = self._consumer.consume(_RECORDS_AT_ONCE, timeout=_IDLE_SECONDS)
            if not records:
                raise DumpFailed(f"nothing came for {_IDLE_SECONDS:g} s")
            for record in records:
                if (error := record.error()) is not None:
                    raise DumpFailed(error.str())
                partition, offset = _position(record)
                if offset < until[partition]:
                    yield record
                if offset + 1 >= until[partition]:
                    missing.pop(partition, None)


class Store:
    """The tables of the message store. Where the database was away, it is connected to again."""

    def __init__(self, url: str, connection: "asyncpg.Connection[Any]") -> None:
        self._url = url
        self._connection = connection

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect. Raises: VerifyError."""
        try:
            connection = await _connect(url)
            await connection.fetch("SELECT partitions FROM log_identity")
        except (asyncpg.PostgresError, OSError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise VerifyError(
                f"--postgres: the store cannot be read ({reason}); give what the servers use"
            ) from None
        return cls(url, connection)

    def close(self) -> None:
        """Leave the database without waiting for it."""
        self._connection.terminate()

    async def epoch(self) -> int:
        """Return the epoch of the log that the store was filled from."""
        return int(await (await self._connected()).fetchval("SELECT epoch FROM log_identity"))

    async def applied(self) -> dict[int, int]:
        """Return the next offset of each partition."""
        connection = await self._connected()
        rows = await connection.fetch("SELECT log_partition, next_offset FROM applied")
        return {row["log_partition"]: row["next_offset"] for row in rows}

    async def _connected(self) -> "asyncpg.Connection[Any]":
        if self._connection.is_closed():
            self._connection = await _connect(self._url)
        return self._connection

    async def wait_for(self, ends: dict[int, int], base: int, seconds: float) -> None:
        """Wait until the store has applied the log up to `ends`, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not _covers(await self.applied(), ends, base):  # noqa: ASYNC110 - a table
                    await asyncio.sleep(0.1)

    async def dump(self, recorder: Recorder, prefix: str, starts: dict[int, int]) -> dict[int, int]:
        """Write the rows of the run's users down, from one snapshot; return its `applied`."""
        connection = await self._connected()
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await self._dump(recorder, prefix, starts)
            return await self.applied()

    async def _dump(self, recorder: Recorder, prefix: str, starts: dict[int, int]) -> None:
        query, record, now = self._connection.cursor, recorder.record, recorder.now
        async for id, sender, conversation, content, *at in query(
            _MESSAGES, prefix, prefetch=1_000
        ):
            record(MessageRow(now(), str(id), sender, conversation, digest(content), *at))
        async for id, recipient, status, *at in query(_DELIVERIES, prefix, prefetch=1_000):
            record(DeliveryRow(now(), str(id), recipient, status, *at))
        for partition, offset in (await self.applied()).items():
            record(AppliedRow(now(), partition, offset))
        async for partition, offset, reason in query(_QUARANTINE):
            if offset >= starts.get(partition, 0):
                record(QuarantineRow(now(), partition, offset, reason))


async def _connect(url: str) -> "asyncpg.Connection[Any]":
    # Where it has a host and ?port=, the driver looks at the port only if it is told.
    given = parse_qs(urlsplit(url).query).get("port", [""])[-1]
    return await asyncpg.connect(
        url,
        port=[int(port) for port in given.split(",")] if given else None,
        timeout=_ASK_SECONDS,
        command_timeout=_COMMAND_SECONDS,
    )


async def dump(
    log: Log | None,
    store: Store | None,
    recorder: Recorder,
    prefix: str,
    *,
    epoch: int,
    seconds: float,
) -> list[str]:
    """Write down what log and store hold of the run's users; return what could not be read.

    The store comes first, in one snapshot, and the log up to where that snapshot has applied it:
    then one is the other's fold, however much others write meanwhile.
    """
    problems: list[str] = []
    base = 0
    try:
        base = (epoch if store is None else await store.epoch()) << EPOCH_BITS
        ends = {} if log is None else await asyncio.to_thread(log.ends)
    except (KafkaException, *STORE_ERRORS) as error:
        ends, problems = {}, [f"log and store could not be read: {_reason(error)}"]
    ends = {partition: base + end for partition, end in ends.items()}
    if store is not None and not problems:
        try:
            await store.wait_for(ends, base, seconds)
            starts = {} if log is None else {each: base + at for each, at in log.starts.items()}
            applied = await store.dump(recorder, prefix, starts)
            last = {} if log is None else await asyncio.to_thread(log.ends)
            for partition, offset in applied.items():
                # Not beyond the log's end: of a store that is ahead of it the checker has to hear.
                end = max(offset, ends.get(partition, base))
                ends[partition] = min(end, base + last.get(partition, 0))
        except (KafkaException, *STORE_ERRORS) as error:
            problems.append(f"the store could not be read: {_reason(error)}")
    if store is not None:
        recorder.record(Dump(recorder.now(), "store", not problems))
    if log is None:
        return problems
    before = len(problems)
    if ends:
        try:
            await asyncio.to_thread(_dump_log, log, recorder, prefix, base, ends)
        except (KafkaException, DumpFailed) as error:
            problems.append(f"the log could not be read: {_reason(error)}")
    recorder.record(Dump(recorder.now(), "log", bool(ends) and len(problems) == before))
    return problems


def _dump_log(log: Log, recorder: Recorder, prefix: str, base: int, ends: dict[int, int]) -> None:
    for entry in log.read({each: end - base for each, end in ends.items()}):
        partition, offset = _position(entry)
        value = entry.value() or b""
        recorder.record(described(value, recorder.now(), partition, base + offset, prefix))


def _reason(error: Exception) -> str:
    if isinstance(error, KafkaException):
        return str(error.args[0].str())
    return str(error) or type(error).__name__


def _position(entry: KafkaMessage) -> tuple[int, int]:
    partition, offset = entry.partition(), entry.offset()
    assert partition is not None  # it was consumed, so it has a place
    assert offset is not None
    return partition, offset


def described(value: bytes, now: float, partition: int, offset: int, prefix: str) -> Event:
    """Return the event of a log record; of what is not the run's, only that it is there."""
    try:
        record = orjson.loads(value)
        conversation, status = record["conversation"], record["status"]
        if status == "UNDELIVERED":
            message = MessageRecord(
                now, partition, offset, record["message_id"], record["sender"],
                tuple(record["recipients"]), conversation, digest(record["content"]),
            )  # fmt: skip
            if message.sender.startswith(prefix):
                return message
        elif status == "DELIVERED":
            ids, recipient = tuple(record["message_ids"]), record["recipient"]
            if recipient.startswith(prefix):
                return ReceiptsRecord(now, partition, offset, ids, recipient, conversation)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ForeignRecord(now, partition, offset, garbage=True)
    return ForeignRecord(now, partition, offset, garbage=status not in _STATUSES)


_STATUSES: Final = frozenset({"UNDELIVERED", "DELIVERED"})

_MESSAGES: Final = """\
SELECT message_id, sender, conversation, content, log_partition, log_offset
FROM messages WHERE starts_with(sender, $1)"""

_DELIVERIES: Final = """\
SELECT message_id, recipient, status, log_partition, log_offset
FROM deliveries WHERE starts_with(recipient, $1)"""

_QUARANTINE: Final = "SELECT log_partition, log_offset, reason FROM quarantine"


def _covers(applied: dict[int, int], ends: dict[int, int], base: int) -> bool:
    return all(applied.get(partition, base) >= end for partition, end in ends.items())
