"""The event log in Kafka: CHAT-MESSAGES.

Durable means `acks=all` from an idempotent producer. A record's partition is ours to choose, and
so is the deadline: whatever librdkafka does, every append is answered once, and an answer that
did not come is `unknown`.

The topic may be another one some day (deleted and made again, more partitions, a mirrored cluster):
then the same offsets mean other records. Therefore offsets carry the *log epoch*, which an operator
moves on when that happened on purpose (`landline migrate --new-log`). Outside this folder an offset
is `epoch << 40 | Kafka's offset`, so positions compare by epoch first.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from itertools import takewhile
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException
from confluent_kafka.admin import OffsetSpec

from landline.adapters.kafka.clock import BrokerClock
from landline.adapters.kafka.cluster import KafkaCluster
from landline.adapters.kafka.producer import (
    UNREPORTED_BYTES,
    UNREPORTED_RECORDS,
    ProducerThread,
    UnreportedAppend,
)
from landline.adapters.kafka.reader import KafkaLogReader
from landline.adapters.kafka.topic_watch import TopicWatch
from landline.adapters.kafka.topics import Topic
from landline.errors import LogLost, LogUnavailable
from landline.model import OFFSET_BITS, Appended, AppendResult, NotAppended, Position, Positions
from landline.observability.logging import get_logger
from landline.protocol.partitions import partition_of

# For librdkafka's report, which has a deadline of its own (`DELIVERY_SECONDS`).
REPORT_SECONDS = 14.0
# At the end, how long nothing at all may be answered before the rest is given up.
LAST_APPENDS_SECONDS = 1.5
# Said of the record itself, so it was the same at every try: it was not and will not be appended.
# Anything else may be the answer to a second try, after a first one that was appended and whose
# answer got lost. A record that librdkafka purges from its queue may have been sent before, too.
_CERTAIN = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})
# What a producer that is let go of says of its records. Not the partition's trouble.
_PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})

log = get_logger(__name__)


class KafkaEventLog:
    """See `landline.ports.EventLog`. `run` must be running: it watches the topic."""

    def __init__(
        self,
        cluster: KafkaCluster,
        name: str,
        topic: Topic,
        epoch: int = 0,
        *,
        hints: str | None = None,
        allow_unsafe: bool = False,
        may_have_grown: bool = False,
    ) -> None:
        """With `may_have_grown` the topic may have more partitions than `topic` says: this is the
        log as it was before they were raised, for reading what the old ones hold.

        `topic.broken` was accepted at the start; what is broken later is a breach, or with
        `allow_unsafe` a warning. `hints` is a topic for what nobody reads.
        """
        self._cluster = cluster
        self._name = name
        self._watch = TopicWatch(
            cluster, name, topic, allow_unsafe=allow_unsafe, may_have_grown=may_have_grown
        )
        self._hints = hints
        self._clock = BrokerClock(self._stamp, self._newest)
        self._base = epoch << OFFSET_BITS
        self._loop = asyncio.get_running_loop()
        # In the order of their deadlines, until librdkafka lets go of them: answered or not, the
        # memory is in use.
        self._unreported: dict[UnreportedAppend, None] = {}
        self._unreported_bytes = 0
        self._is_closed = False
        self._defect: Exception | None = None  # it ends `run`, and with that the server
        self._thread = ProducerThread(self._cluster, self)

    @property
    def durability(self) -> str:
        """Say what an acknowledged record survives."""
        return self._watch.topic.durability

    @property
    def partitions(self) -> int:
        """Return how many partitions the topic has."""
        return self._watch.topic.partitions

    def append(
        self,
        key: str,
        value: bytes,
        done: Callable[[AppendResult], None],
        partition: int | None = None,
    ) -> None:
        """Give the record to librdkafka, unless it is known that it could not go out."""
        if partition is None:
            partition = self.partition_of(key)
        refusal = "the log is closed" if self._is_closed else self._watch.refusal(partition)
        if refusal is None and (
            len(self._unreported) >= UNREPORTED_RECORDS
            or self._unreported_bytes >= UNREPORTED_BYTES
        ):
            refusal = "the log is behind; send again in a moment"
        if refusal is None:
            append = UnreportedAppend(self._thread, partition, len(value), done, self._loop.time())
            try:
                self._thread.producer.produce(
                    self._name, value, key, partition, on_delivery=append.report
                )
            except (BufferError, KafkaException) as error:
                refusal = f"the log cannot take more: {error}"
            else:
                self._unreported[append] = None
                self._unreported_bytes += append.size_bytes
                return
        self._loop.call_soon(done, NotAppended(True, refusal))

    def partition_of(self, key: str) -> int:
        """Return the partition that `append` chooses."""
        return partition_of(key, self._watch.topic.partitions)

    async def ends(self, partitions: Collection[int] | None = None) -> Positions:
        """Ask the leaders for their ends, all partitions in one request a broker."""
        ends = await self._offsets(OffsetSpec.latest(), partitions)
        return {partition: self._base + offset for partition, offset in ends.items()}

    async def aged(self, share: float) -> Positions:
        """Ask for the first offset of each partition that is younger than that."""
        now_ms = await self._clock.now_ms()
        retention_ms = self._watch.topic.retention_ms
        if retention_ms is None or now_ms is None:
            return {}
        horizon_ms = int(now_ms - share * retention_ms)
        if horizon_ms <= 0:  # longer than there are times; below 0 it would mean something else
            return {}
        # In this order: what comes in between is young, and must not lie below the end.
        ends = await self._offsets(OffsetSpec.latest())
        found = await self._offsets(OffsetSpec.for_timestamp(horizon_ms))
        # Below 0: all of it is older than the horizon.
        found = {each: ends.get(each, 0) if at < 0 else at for each, at in found.items()}
        return {partition: self._base + offset for partition, offset in found.items()}

    async def open_reader(self, start: Positions) -> KafkaLogReader:
        """Open a consumer at exactly these offsets, after a look whether the log holds them."""
        self._watch.check_identity(await self._cluster.describe(self._name))
        first = await self._offsets(OffsetSpec.earliest())
        ends = await self._offsets(OffsetSpec.latest())
        wanted = {
            each: start.get(each, self._base) - self._base
            for each in range(self._watch.topic.partitions)
        }
        for partition, offset in wanted.items():
            if offset < 0:
                raise LogLost(
                    f"{self._name} partition {partition}: the store is at an older log epoch;"
                    " run `landline migrate --new-log` when the log was replaced on purpose"
                )
            if offset < first.get(partition, 0):
                raise LogLost(
                    f"{self._name} partition {partition}: records {offset} to"
                    f" {first[partition] - 1} are gone and were never applied."
                    " See docs/failures.md"
                )
            if partition in ends and offset > ends[partition]:
                raise LogLost(
                    f"{self._name} partition {partition}: the store has applied it up to offset"
                    f" {offset}, but it ends at {ends[partition]}: the log went back."
                    " See docs/failures.md"
                )
        return KafkaLogReader(self._cluster, self._name, wanted, self._base)

    def health(self) -> str | None:
        """Return what is known to be wrong with partitions."""
        return self._watch.health()

    def breach(self) -> str | None:
        """Return which settings were changed so that they break the promise, unless allowed."""
        return self._watch.breach()

    async def warm_up(self) -> None:
        """Have the producer connect and get its id, so that the first send does not wait for it.

        That it fails or takes too long does not matter.
        """
        stamp = await self._stamp()
        if stamp is not None:
            self._clock.note(stamp)

    async def _stamp(self) -> int | None:
        """Have a broker stamp a hint without an address, which nobody reads, and return its time.

        None when it cannot or does not: Kafka is away, or keeps the time that the sender gave.
        """
        return None if self._hints is None else await self._thread.stamp(self._hints)

    async def _newest(self) -> int | None:
        """Return the time of the newest records: for the brokers it is that late at the least.

        None when that is not known, or where the sender gives the time.
        """
        if not self._watch.topic.is_stamped:
            return None
        try:
            return await self._cluster.newest_ms(self._name, range(self._watch.topic.partitions))
        except LogUnavailable:
            return None

    async def run(self) -> None:
        """Watch the topic and the deadlines. Raises: LogLost when it is another topic now."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_deadlines())
            tasks.create_task(self._watch.run())

    async def close(self) -> None:
        """Settle what is under way, for as long as Kafka answers; the rest is unknown."""
        if self._is_closed:
            return
        self._is_closed = True
        count, patient_until = len(self._unreported), self._loop.time() + LAST_APPENDS_SECONDS
        while self._unreported and self._loop.time() < patient_until:
            await asyncio.sleep(0.01)
            if len(self._unreported) < count:
                count = len(self._unreported)
                patient_until = self._loop.time() + LAST_APPENDS_SECONDS
        await self._thread.end()
        for append in self._unreported:
            append.answer(NotAppended(False, "the log was closed before Kafka answered"))

    # Reports ---------------------------------------------------------------------------------

    def settle(self, reports: Iterable[tuple[UnreportedAppend, Any, Any]]) -> None:
        """Take what the producer's thread reported. On the loop's thread."""
        for append, error, message in reports:
            del self._unreported[append]
            self._unreported_bytes -= append.size_bytes
            try:
                result = self._result(append, error, message)
            except Exception as defect:  # noqa: BLE001 - this one and those behind it are answered
                self._defect = self._defect or defect
                result = NotAppended(False, "the report of Kafka cannot be read")
            append.answer(result)

    def _result(self, append: UnreportedAppend, error: Any, message: Any) -> AppendResult:
        if error is not None:
            code = error.code()
            is_certain = code in _CERTAIN
            if not is_certain and code not in _PURGED:
                self._watch.failed(append.partition, f"Kafka: {error.str()}")
            return NotAppended(is_certain, f"Kafka: {error.str()}")
        offset = message.offset()
        if offset is None:  # the second try, long after a first one whose answer was lost
            return NotAppended(False, "Kafka has the record, and does not say where")
        position = Position(append.partition, self._base + offset)
        kind, time_ms = message.timestamp()
        if kind == TIMESTAMP_LOG_APPEND_TIME:
            self._clock.note(time_ms)
        return Appended(position, time_ms)

    def renew(self, thread: ProducerThread, why: str) -> None:
        """Replace a producer that can never go on. The fate of what it held is unknown."""
        if thread is self._thread:
            log.error("producer_renewed", reason=why)
            self._thread = ProducerThread(self._cluster, self)
            thread.retire()

    async def _watch_deadlines(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            if self._defect is not None:
                raise self._defect
            self._expire()

    def _expire(self) -> None:
        horizon = self._loop.time() - REPORT_SECONDS
        late = list(takewhile(lambda append: append.since < horizon, self._unreported))
        for append in late:
            append.answer(NotAppended(False, f"Kafka did not answer in {REPORT_SECONDS:g} s"))

    async def _offsets(
        self, spec: OffsetSpec, partitions: Collection[int] | None = None
    ) -> dict[int, int]:
        asked = range(self._watch.topic.partitions) if partitions is None else partitions
        return await self._cluster.offsets(self._name, asked, spec)
