"""One producer of librdkafka with its thread, and what it has under way."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException, Producer

from landline.adapters.kafka.cluster import KAFKA_POLL_SECONDS, KafkaCluster
from landline.adapters.kafka.topics import RECORD_BYTES
from landline.model import AppendResult

# What may be with librdkafka and the brokers at once.
UNREPORTED_RECORDS = 32_768
UNREPORTED_BYTES = 64 * 1024 * 1024
# librdkafka's own deadline. Longer than the brokers need to elect a new leader after one of them
# was killed (9 s by default), so that a failover is slow, not unknown.
DELIVERY_SECONDS = 12.0
STAMP_SECONDS = 3.0
_JOIN_SECONDS = 5.0


class ReportTaker(Protocol):
    """It is told what became of the records. On the loop's thread."""

    def settle(self, reports: Iterable[tuple["UnreportedAppend", Any, Any]]) -> None:
        """Take reports: append, error, message."""

    def renew(self, thread: "ProducerThread", why: str) -> None:
        """The producer cannot go on, ever."""


class UnreportedAppend:
    """An append between librdkafka and its report."""

    __slots__ = ("_done", "_thread", "partition", "since", "size_bytes")

    def __init__(
        self,
        thread: "ProducerThread",
        partition: int,
        size_bytes: int,
        done: Callable[[AppendResult], None],
        since: float,
    ) -> None:
        self._thread = thread
        self._done: Callable[[AppendResult], None] | None = done
        self.partition = partition
        self.size_bytes = size_bytes
        self.since = since

    def report(self, error: Any, message: Any) -> None:
        """Take librdkafka's report, on the producer's thread."""
        self._thread.reported(self, error, message)

    def answer(self, result: AppendResult) -> None:
        """Tell the appender, the first time."""
        done, self._done = self._done, None
        if done is not None:
            done(result)


class ProducerThread:
    """A producer and the thread that serves it. One wake-up of the loop takes all reports."""

    def __init__(self, cluster: KafkaCluster, owner: ReportTaker) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._reports: deque[tuple[UnreportedAppend, Any, Any]] = deque()
        self._is_wake_due = False
        self._is_retired = False
        self.producer = Producer(
            cluster.settings(
                {
                    "acks": "all",
                    "enable.idempotence": True,
                    "linger.ms": 0,
                    # The topic's limit is for whole batches. A batch that is larger than our
                    # largest record could be refused for its size, with everything in it.
                    "batch.size": RECORD_BYTES,
                    "delivery.timeout.ms": int(DELIVERY_SECONDS * 1000),
                    "queue.buffering.max.messages": 2 * UNREPORTED_RECORDS,
                    "queue.buffering.max.kbytes": 2 * UNREPORTED_BYTES // 1024,
                    "error_cb": self._failed,
                }
            )
        )
        self._thread = threading.Thread(target=self._serve, name="kafka-producer", daemon=True)
        self._thread.start()

    def reported(self, append: UnreportedAppend, error: Any, message: Any) -> None:
        """Queue a report for the loop. On the producer's thread."""
        self._reports.append((append, error, message))
        if not self._is_wake_due:
            self._is_wake_due = True
            self.on_loop(self._wake)

    async def stamp(self, topic: str) -> int | None:
        """Send something to a topic and return the time that the broker stamped on it.

        None when it does not: it is away, or the topic keeps the time that the sender gave.
        """
        stamped: asyncio.Future[int | None] = self._loop.create_future()

        def settle(stamp: int | None) -> None:
            if not stamped.done():
                stamped.set_result(stamp)

        def report(error: Any, message: Any) -> None:
            kind, time_ms = message.timestamp() if error is None else (None, 0)
            self.on_loop(settle, time_ms if kind == TIMESTAMP_LOG_APPEND_TIME else None)

        with suppress(TimeoutError, BufferError, KafkaException):
            self.producer.produce(topic, b"", on_delivery=report)
            async with asyncio.timeout(STAMP_SECONDS):
                return await stamped
        return None

    def retire(self) -> None:
        """Let go of the producer: what it still holds is reported, then its thread ends."""
        self.producer.purge(blocking=False)
        self._is_retired = True  # not before: the thread closes the producer then

    async def end(self) -> None:
        """Let go of the producer and see its thread out; all that it reported is settled then."""
        self.retire()
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)
        self._wake()

    def _wake(self) -> None:
        self._is_wake_due = False
        reports = []
        while self._reports:
            reports.append(self._reports.popleft())
        self._owner.settle(reports)

    def _failed(self, error: Any) -> None:
        if error.fatal():
            self.on_loop(self._owner.renew, self, f"Kafka: {error.str()}")

    def _serve(self) -> None:
        # Blocks in librdkafka: polling every few milliseconds would cost half a core when idle.
        while not (self._is_retired and not len(self.producer)):
            self.producer.poll(0.05 if self._is_retired else KAFKA_POLL_SECONDS)
        self.producer.close()

    def on_loop(self, call: Callable[..., None], *args: Any) -> None:
        """Have this called on the loop's thread."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            self._is_retired = True  # the loop is closed: nobody waits any more
