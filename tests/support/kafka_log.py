"""The topic of messages, read by a consumer that shares nothing with Landline."""

import json
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from support.stack import KAFKA_SECONDS


def read_log(kafka: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield every record of CHAT-MESSAGES: partition, offset, value."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "unused"})
    try:
        topic = consumer.list_topics("CHAT-MESSAGES", KAFKA_SECONDS).topics["CHAT-MESSAGES"]
        starts = [TopicPartition("CHAT-MESSAGES", partition, 0) for partition in topic.partitions]
        ends = [consumer.get_watermark_offsets(start, KAFKA_SECONDS)[1] for start in starts]
        consumer.assign(starts)
        for _ in range(sum(ends)):
            message = consumer.poll(KAFKA_SECONDS)
            assert message is not None
            assert message.error() is None
            yield (
                message.partition() or 0,
                message.offset() or 0,
                json.loads(message.value() or b""),
            )
    finally:
        consumer.close()
