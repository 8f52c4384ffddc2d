"""A bridge: hands every message of a cluster on to another system, as a line of JSON.

    .venv/bin/python examples/bridge.py --kafka 127.0.0.1:9092 --group search > messages.jsonl

It reads CHAT-MESSAGES with a consumer group of its own, so several bridges of one group share the
partitions, and Landline's servers are not concerned. A position is committed after `hand_on` has
returned. So a message is handed on at least once: a bridge that dies repeats what it had not
committed, and the log itself has a message twice where a client repeated it. The receiver
drops repeats by `message_id`. What the bridge does not understand, it counts and skips: receipts,
records that are no messages or of a later version, and what others write into the topic. It reads
the log, not somebody's mailbox: what it hands on does not come back to it.
"""

import argparse
import json
import signal
import sys
from typing import Any

from confluent_kafka import Consumer, KafkaException

TOPIC = "CHAT-MESSAGES"
BATCH = 500
WAIT_SECONDS = 1.0
VERSIONS = (1, 2)  # in the second one `recipients` is empty where a message is for a room
FIELDS = ("message_id", "conversation", "sender", "recipients", "content", "created_at")


def understood(value: bytes | None) -> dict[str, Any] | None:
    """Return the message that a record holds, or None where it is none."""
    try:
        record = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("v") not in VERSIONS:
        return None
    if record.get("status") != "UNDELIVERED" or not all(name in record for name in FIELDS):
        return None
    return {name: record[name] for name in FIELDS}


def hand_on(message: dict[str, Any]) -> None:
    """Give a message to the other system. It must be safe there when this returns."""
    print(json.dumps(message, ensure_ascii=False))


def bridge(consumer: Consumer) -> None:
    """Hand messages on until somebody stops the bridge."""
    skipped = 0
    while True:
        records = consumer.consume(BATCH, WAIT_SECONDS)
        skipped_before = skipped
        for record in records:
            if (error := record.error()) is not None:
                if error.fatal():
                    raise KafkaException(error)
                print(f"waiting for Kafka: {error}", file=sys.stderr)
            elif (message := understood(record.value())) is not None:
                hand_on(message)
            else:
                skipped += 1
        if records:
            sys.stdout.flush()  # before the commit: what is committed is not read again
            try:
                consumer.commit(asynchronous=False)
            except KafkaException as error:  # another bridge has the partition now, say
                print(f"not committed, will be repeated: {error}", file=sys.stderr)
        if skipped > skipped_before:
            print(f"skipped so far: {skipped}", file=sys.stderr, flush=True)


def main() -> None:
    """Run the bridge until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Hand messages of CHAT-MESSAGES on.")
    parser.add_argument("--kafka", required=True, help="addresses of brokers, HOST:PORT,...")
    parser.add_argument("--group", default="landline-bridge", help="the consumer group")
    options = parser.parse_args()
    consumer = Consumer(
        {
            "bootstrap.servers": options.kafka,
            "group.id": options.group,
            "enable.auto.commit": False,
            "session.timeout.ms": 10_000,  # without a sign of life: then another bridge takes over
            "auto.offset.reset": "earliest",  # a new group begins with the oldest message
            "isolation.level": "read_uncommitted",  # as Landline's servers read it
        }
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        consumer.subscribe([TOPIC])
        bridge(consumer)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
