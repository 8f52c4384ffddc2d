"""Reads every partition of CHAT-MESSAGES from given offsets: no group, no committed offsets."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from landline.adapters.kafka.cluster import KAFKA_POLL_SECONDS, KafkaCluster, words
from landline.errors import LogLost, LogUnavailable
from landline.model import Entry, Position, Stretch

CONSUMER_CLOSE_SECONDS = 5.0
# A partition that has more, of which nothing has come from one look to the next, is stuck.
STUCK_LOOK_SECONDS = 5.0
# One read returns no more than this, and what the last of its handfuls has beyond it: on their way
# into the store the records exist several times over.
CONSUMER_READ_BYTES = 4 * 1024 * 1024
_HANDFUL = 64

_GONE = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._LOG_TRUNCATION,
    }
)


class KafkaLogReader:
    """See `landline.ports.LogReader`."""

    def __init__(self, cluster: KafkaCluster, topic: str, start: dict[int, int], base: int) -> None:
        """`start` is in Kafka's own offsets; `base` is added to what goes out."""
        self._cluster = cluster
        self._topic = topic
        self._position = start
        self._base = base
        self._consumer = cluster.consumer(
            {
                "auto.offset.reset": "error",
                # Somebody else's open transaction must not hold up what comes after it.
                "isolation.level": "read_uncommitted",
                # Tells how far the log goes, even where it ends with what is no record.
                "enable.partition.eof": True,
            }
        )
        self._consumer.assign([TopicPartition(topic, *each) for each in start.items()])
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-reader")
        self._has_been_empty = False  # since the last look, all that had come was taken
        self._stuck: set[int] = set()
        self._watching = asyncio.create_task(self._watch())

    async def read(self, limit: int) -> Sequence[Stretch]:
        """Wait for records in a thread, then take what is there."""
        loop = asyncio.get_running_loop()
        while True:
            if self._watching.done():
                self._watching.result()  # a defect
            if self._stuck:
                raise LogUnavailable(
                    f"Kafka: partitions {sorted(self._stuck)} of {self._topic} have records that"
                    " do not come"
                )
            try:
                events = await loop.run_in_executor(self._thread, self._poll, limit)
            except (KafkaException, RuntimeError) as error:
                raise LogUnavailable(words(error)) from error
            stretches = self._stretches(events)
            if stretches:
                return stretches

    async def close(self) -> None:
        """Close the consumer in its own thread, after the poll that may be under way."""
        self._watching.cancel()
        await asyncio.wait({self._watching})
        loop = asyncio.get_running_loop()
        closed = loop.run_in_executor(self._thread, self._consumer.close)
        self._thread.shutdown(wait=False)
        await asyncio.wait([closed], timeout=CONSUMER_CLOSE_SECONDS)

    async def _watch(self) -> None:
        """Look whether all comes that is there.

        librdkafka may lose sight of a partition, for good and without a word: when all brokers
        were away at once, for one.
        """
        behind: dict[int, int] = {}
        while True:
            self._has_been_empty = False
            await asyncio.sleep(STUCK_LOOK_SECONDS)
            try:
                ends = await self._cluster.offsets(self._topic, self._position, OffsetSpec.latest())
            except LogUnavailable:
                ends = {}
            before, behind = (
                behind,
                {
                    each: self._position[each]
                    for each, end in ends.items()
                    if self._position[each] < end
                },
            )
            # A reader that does not read, or cannot keep up, gets nothing new either.
            if self._has_been_empty:
                self._stuck = {each for each, _ in before.items() & behind.items()}

    def _poll(self, limit: int) -> list[Any]:
        first = self._consumer.poll(KAFKA_POLL_SECONDS)
        if first is None:
            self._has_been_empty = True
            return []
        events, size_bytes = [first], _size_bytes(first)
        while len(events) < limit and size_bytes < CONSUMER_READ_BYTES:
            # Without a time it would wait until it has as many as asked for.
            more = self._consumer.consume(min(_HANDFUL, limit - len(events)), 0)
            if not more:
                self._has_been_empty = True
                break
            events += more
            size_bytes += sum(map(_size_bytes, more))
        return events

    def _stretches(self, events: list[Any]) -> list[Stretch]:
        """Sort what came by partition. On the loop's thread: its pauses are then its own."""
        entries: dict[int, list[Entry]] = {}
        ends: dict[int, int] = {}
        for event in events:
            error = event.error()
            partition = event.partition()
            if error is None:
                offset = event.offset()
                key = event.key() or b""
                entries.setdefault(partition, []).append(
                    Entry(
                        Position(partition, self._base + offset),
                        event.timestamp()[1],
                        key.decode("utf-8", "replace"),
                        event.value() or b"",
                    )
                )
                ends[partition] = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                ends[partition] = event.offset()
            else:
                self._refuse(error, partition)
        stretches = []
        for partition, end in ends.items():
            start = self._position[partition]
            if end > start:
                self._position[partition] = end
                stretches.append(
                    Stretch(
                        partition,
                        self._base + start,
                        self._base + end,
                        tuple(entries.get(partition, ())),
                    )
                )
        return stretches

    def _refuse(self, error: Any, partition: int) -> None:
        if error.code() in _GONE:
            raise LogLost(
                f"{self._topic} partition {partition} has no records at offset"
                f" {self._position[partition]} any more, and they were not applied yet:"
                " they were deleted, or the log is another one. See docs/failures.md"
            )
        raise LogUnavailable(words(KafkaException(error)))


def _size_bytes(event: Any) -> int:
    return len(event.value() or b"")
