"""The routing bus in Kafka: CHAT-ROUTING. Hints, so everything here may fail quietly."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import OffsetSpec

from landline.adapters.kafka.cluster import KAFKA_POLL_SECONDS, KafkaCluster, words
from landline.backoff import Backoff
from landline.errors import LogUnavailable
from landline.observability.logging import get_logger
from landline.protocol.partitions import partition_of

# A hint that is older than this would come after the sweep.
HINT_SECONDS = 5.0
WAITING_HINTS = 20_000
WAITING_KIB = 32 * 1024
_JOIN_SECONDS = 5.0
_BATCH = 500
_FIRST_RETRY_SECONDS = 0.5
_LAST_RETRY_SECONDS = 2.0
BUS_WATCH_SECONDS = 3.0
_HEADER = "address"
# In the place of an address. No server is called that: in an address there is a `/`.
_EVERYBODY = "*"

log = get_logger(__name__)


class KafkaRoutingBus:
    """See `landline.ports.RoutingBus`. An address is `server id/incarnation`.

    Every server reads the one partition that its id hashes to, from the end on and without a
    group; what is addressed to others, or to an earlier run of itself, is dropped. What is for
    everybody goes into every partition.
    """

    def __init__(self, cluster: KafkaCluster, topic: str, address: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._partitions = 0
        self._topic_id = ""
        self._is_stale = threading.Event()  # what is being read is not the topic, or not for now
        self._mine = 0  # the partition that we read
        self._read_up_to = 0
        self._watching: asyncio.Task[None] | None = None
        self._failure: str | None = "not listening yet"
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._receive: Callable[[bytes], None] | None = None
        self._producer = Producer(
            cluster.settings(
                {
                    "acks": 1,
                    "linger.ms": 0,
                    # A hint that is sent again must not come behind the one after it.
                    "max.in.flight.requests.per.connection": 1,
                    "delivery.timeout.ms": int(HINT_SECONDS * 1000),
                    "queue.buffering.max.messages": WAITING_HINTS,
                    "queue.buffering.max.kbytes": WAITING_KIB,
                }
            )
        )

    def publish(self, address: str, hint: bytes) -> None:
        """Send a hint and forget it. One too many is dropped: the sweep delivers."""
        if not self._partitions or self._is_closed.is_set():
            return
        server_id = _server_id(address)
        self._produce(address, hint, server_id, partition_of(server_id, self._partitions))

    def publish_to_all(self, hint: bytes) -> None:
        """Send a hint to each partition and forget it."""
        if self._is_closed.is_set():
            return
        for partition in range(self._partitions):
            self._produce(_EVERYBODY, hint, _EVERYBODY, partition)

    async def listen(self, receive: Callable[[bytes], None]) -> None:
        """Find the end of our partition, then read from there on. Without Kafka, try later."""
        self._receive = receive
        start = await self._find_end()
        self._thread = threading.Thread(
            target=self._follow, args=[start], name="kafka-routing", daemon=True
        )
        self._thread.start()
        self._watching = asyncio.create_task(self._watch())

    def health(self) -> str | None:
        """Return why hints cannot flow, if so."""
        return self._failure

    async def close(self) -> None:
        """Stop listening; hints on their way may be lost."""
        if self._is_closed.is_set():
            return
        self._is_closed.set()
        self._receive = None
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        self._producer.purge(blocking=False)
        await asyncio.to_thread(self._producer.close)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    # Inside ----------------------------------------------------------------------------------

    def _produce(self, address: str, hint: bytes, key: str, partition: int) -> None:
        self._producer.poll(0)  # frees the room of hints that are sent, or have failed
        with suppress(BufferError, KafkaException):
            self._producer.produce(
                self._topic, hint, key, partition, headers={_HEADER: address.encode()}
            )

    async def _find_end(self) -> TopicPartition | None:
        # Here, where `_watch` cannot come in between: the thread would clear what it has just set.
        self._is_stale.clear()
        try:
            described = await self._cluster.describe(self._topic)
            self._topic_id, self._partitions = _identity(described)
            self._mine = partition_of(_server_id(self._address), self._partitions)
            end = await self._ask_end()
        except LogUnavailable as error:
            self._note(str(error))
            return None
        self._note(None)
        return TopicPartition(self._topic, self._mine, end)

    async def _ask_end(self) -> int:
        ends = await self._cluster.offsets(self._topic, [self._mine], OffsetSpec.latest())
        return ends[self._mine]

    async def _watch(self) -> None:
        """Look after the topic: to librdkafka one that is gone, or hangs, is merely silent.

        So is one of which it has lost sight: there is more, and it does not come.
        """
        behind_at: int | None = None
        while True:
            await asyncio.sleep(BUS_WATCH_SECONDS)
            if self._failure is not None:
                continue
            before = behind_at
            try:
                found = _identity(await self._cluster.describe(self._topic))
                read_up_to, end = self._read_up_to, await self._ask_end()
            except Exception as error:  # noqa: BLE001 - whatever it is, it must go on looking
                self._note(_why(error))
                self._is_stale.set()
                continue
            behind_at = read_up_to if read_up_to < end else None
            if before is not None and before == behind_at:
                self._note(f"Kafka: {self._topic} has hints that do not come")
                self._is_stale.set()
            elif found != (self._topic_id, self._partitions):
                self._is_stale.set()

    def _follow(self, start: TopicPartition | None) -> None:
        """Read until closed, on a thread of its own; after trouble from the then end on."""
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS)
        while not self._is_closed.is_set():
            if start is not None:
                backoff.reset()
                try:
                    self._read_from(start)
                except Exception as error:  # noqa: BLE001 - whatever it is, it must read again
                    self._on_loop(self._note, _why(error))
            if self._is_closed.wait(backoff.next_seconds()):
                return
            try:
                start = self._ask_for_end()
            except RuntimeError:
                return  # the loop is closed
            except Exception as error:  # noqa: BLE001 - as above
                start = None
                self._on_loop(self._note, _why(error))

    def _ask_for_end(self) -> TopicPartition | None:
        asked = asyncio.run_coroutine_threadsafe(self._find_end(), self._loop)
        while not self._is_closed.is_set():
            with suppress(TimeoutError):
                return asked.result(KAFKA_POLL_SECONDS)
        asked.cancel()
        return None

    def _read_from(self, start: TopicPartition) -> None:
        consumer = self._cluster.consumer(
            # The end tells how far we are, even where it is behind what is no record.
            {"auto.offset.reset": "latest", "enable.partition.eof": True}
        )
        try:
            self._read_up_to = start.offset
            consumer.assign([start])
            while not (self._is_closed.is_set() or self._is_stale.is_set()):
                first = consumer.poll(KAFKA_POLL_SECONDS)
                if first is not None:
                    self._hand_over([first, *consumer.consume(_BATCH, 0)])
        finally:
            consumer.close()

    def _hand_over(self, messages: list[Any]) -> None:
        hints = []
        ours = {self._address.encode(), _EVERYBODY.encode()}
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._AUTO_OFFSET_RESET:
                    continue
                if error.code() == KafkaError._PARTITION_EOF:
                    self._read_up_to = message.offset()
                    continue
                raise KafkaException(error)
            self._read_up_to = message.offset() + 1
            if dict(message.headers() or ()).get(_HEADER) in ours:
                hints.append(message.value() or b"")
        if hints:
            self._on_loop(self._receive_all, hints)

    def _receive_all(self, hints: list[bytes]) -> None:
        if self._receive is not None:
            for hint in hints:
                self._receive(hint)

    def _note(self, failure: str | None) -> None:
        before, self._failure = self._failure, failure
        if failure is not None and failure != before:
            log.warning("routing_unusable", reason=failure)
        elif failure is None and before is not None:
            log.info("routing_usable")

    def _on_loop(self, call: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # a closed loop has no listeners
            self._loop.call_soon_threadsafe(call, *args)


def _why(error: Exception) -> str:
    if isinstance(error, LogUnavailable):
        return str(error)
    if isinstance(error, KafkaException):
        return words(error)
    return f"a defect of Landline, please report it: {error!r}"


def _identity(described: Any) -> tuple[str, int]:
    return str(described.topic_id), len(described.partitions)


def _server_id(address: str) -> str:
    return address.partition("/")[0]
