"""The log of a cluster: what CHAT-MESSAGES holds since the run began."""

import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from landline_verify.errors import VerifyError

TOPIC: Final = "CHAT-MESSAGES"
_ASK_SECONDS = 10.0
# A broker that has records and gives none for so long is not waited for: it hangs. On a busy
# machine brokers pause for several seconds.
_IDLE_SECONDS = 30.0
# librdkafka waits until as many records are there as were asked for, or for so long.
_RECORDS_AT_ONCE = 1_000
_BATCH_SECONDS = 0.5
# The server's offsets carry the epoch of the log above Kafka's own offset (docs/operating.md).
EPOCH_BITS = 40


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
                "log_level": 0,  # errors are told in our own words
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
        last = time.monotonic()
        while missing:
            records = self._consumer.consume(_RECORDS_AT_ONCE, timeout=_BATCH_SECONDS)
            if records:
                last = time.monotonic()
            elif time.monotonic() - last > _IDLE_SECONDS:
                raise DumpFailed(f"nothing came for {_IDLE_SECONDS:g} s")
            for record in records:
                if (error := record.error()) is not None:
                    raise DumpFailed(error.str())
                partition, offset = position(record)
                if offset < until[partition]:
                    yield record
                if offset + 1 >= until[partition]:
                    missing.pop(partition, None)


def position(entry: KafkaMessage) -> tuple[int, int]:
    """Return partition and offset of a record."""
    partition, offset = entry.partition(), entry.offset()
    assert partition is not None  # it was consumed, so it has a place
    assert offset is not None
    return partition, offset
