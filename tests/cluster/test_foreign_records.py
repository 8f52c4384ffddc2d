"""What others write into CHAT-MESSAGES: the good is applied and delivered, the rest is set aside
with where it stood and why, and the writer never stops.
"""

import asyncio
import json
import random
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Producer

from landline.protocol.partitions import partition_of
from landline_stack import Stack
from support.faults import KAFKA_SECONDS, MESSAGES, Fleet, admin, check_fates, first_line
from support.peer import Peer
from support.stack import create_topic
from support.waiting import until, until_equal

# The first transaction of all has a topic made for it, which needs leaders.
INIT_SECONDS = 60.0

# The store's data errors are for ever; these are not: deadlock, serialization, read-only, disk.
TRANSIENT = ["40P01", "40001", "25006", "53100"]


# That of the conversation: receipts are there too, and count for messages that are before them.
PARTITION = partition_of("dm:bob:eve", 32)


def message(content: object, **changes: object) -> dict[str, Any]:
    """Return a message from eve to bob."""
    return {
        "v": 1,
        "status": "UNDELIVERED",
        "message_id": str(uuid.uuid4()),
        "ref": None,
        "conversation": "dm:bob:eve",
        "sender": "eve",
        "recipients": ["bob"],
        "content": content,
        "created_at": "2026-01-01T00:00:00.000Z",
        **changes,
    }


def receipt(id: str, recipient: str) -> dict[str, Any]:
    """Return a receipt of one message."""
    return {
        "v": 1,
        "status": "DELIVERED",
        "message_ids": [id],
        "conversation": "dm:bob:eve",
        "recipient": recipient,
        "delivered_at": "2026-01-01T00:00:01.000Z",
    }


def encoded(record: object) -> bytes:
    return json.dumps(record).encode()


def write(
    stack: Stack, values: Sequence[bytes | None], partition: int = PARTITION, time_ms: int = 0
) -> list[int]:
    """Write records straight into the topic, in order, and return their offsets.

    `time_ms`: what they are stamped with, where the topic takes that; 0 for now.
    """
    offsets: list[int] = []
    producer = Producer({"bootstrap.servers": stack.kafka_servers, "enable.idempotence": True})
    for value in values:
        producer.produce(
            MESSAGES,
            value,
            "dm:bob:eve",
            partition,
            timestamp=time_ms,
            on_delivery=lambda error, it: offsets.append(-1 if error else int(it.offset() or 0)),
        )
    assert producer.flush(KAFKA_SECONDS) == 0
    assert -1 not in offsets
    return offsets


def write_in_transaction(stack: Stack, value: bytes, *, commits: bool) -> None:
    """Write a record as a foreign transaction does, which may take it back.

    Landline uses no transactions and honours none: what stands in the log counts. A reader that
    waited for the end of somebody's transaction would make everybody wait.
    """
    producer = Producer(
        {"bootstrap.servers": stack.kafka_servers, "transactional.id": uuid.uuid4().hex}
    )
    producer.init_transactions(INIT_SECONDS)
    producer.begin_transaction()
    producer.produce(MESSAGES, value, "dm:bob:eve", PARTITION)
    if commits:
        producer.commit_transaction(KAFKA_SECONDS)
    else:
        producer.flush(KAFKA_SECONDS)  # it is in the log, and then taken back
        producer.abort_transaction(KAFKA_SECONDS)


async def test_foreign_records_are_applied_or_quarantined_and_stop_nobody(fleet: Fleet) -> None:
    """Every kind of garbage between good records; on one server, which stays the same process."""
    chance = random.Random(7)
    garbage: list[tuple[bytes | None, str]] = [
        (chance.randbytes(200), "not JSON"),
        (b"", "not JSON"),
        (None, "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"[" * 60_000, "not JSON"),
        (encoded(message("later", v=3)), "version 3"),
        (encoded(message("later", v=True)), "version True"),
        (encoded(message("seen", status="SEEN")), "status 'SEEN'"),
        (encoded(message("nul \x00")), "content"),
        (b'{"v":1,"content":"\\ud800"}', "not JSON"),
        (encoded(message("x" * 16_385)), "content"),
        (encoded(message("")), "content"),
        (encoded(message("id", message_id="no-uuid")), "message id"),
        (encoded(message("name", sender="eve:1")), "':'"),
        (encoded(message("nobody", recipients=[])), "recipients"),
        (encoded(receipt("no-uuid", "bob")), "message id"),
    ]
    twice = message("twice")
    early = message("its receipt came first, which says nothing")
    strange = message("a stranger says it has it")
    good = [message(f"good {number}") for number in range(len(garbage))]
    (ws1,) = await fleet.start(1, "--sweep-interval", "1s")
    async with Peer(ws1.ws_url, "alice") as alice, Peer(ws1.ws_url, "bob") as bob:
        await alice.send_and_wait("bob", "before")
        values: list[bytes | None] = []
        for (bad, _reason), one in zip(garbage, good, strict=True):
            values += [bad, encoded(one)]
        values += [
            encoded(twice), encoded(twice), encoded(receipt(early["message_id"], "bob")),
            encoded(early), encoded(receipt(strange["message_id"], "mallory")), encoded(strange),
        ]  # fmt: skip
        offsets = await asyncio.to_thread(write, fleet.stack, values)
        kept, taken_back = message("committed"), message("taken back")
        await asyncio.to_thread(
            write_in_transaction, fleet.stack, encoded(taken_back), commits=False
        )
        await asyncio.to_thread(write_in_transaction, fleet.stack, encoded(kept), commits=True)
        after = await alice.send_and_wait("bob", "after")

        wanted = {one["message_id"] for one in (*good, twice, early, strange, kept, taken_back)}
        await until(lambda: wanted <= bob.received, "bob has what is good")
        await fleet.until_stored({*wanted, after["id"]})
        await asyncio.sleep(2.0)  # two sweeps, which tell nobody when they find nothing
        assert bob.received == wanted | alice.accepted_ids
        assert len(bob.messages) == len(bob.received)

        quarantined = await fleet.fetch(
            "SELECT log_partition, log_offset, value, reason FROM quarantine ORDER BY log_offset"
        )
        assert [row[:3] for row in quarantined] == [
            (PARTITION, offset, bad or b"")
            for offset, (bad, _reason) in zip(offsets[::2], garbage, strict=False)
        ]
        for (*_where, why), (_bad, reason) in zip(quarantined, garbage, strict=True):
            assert reason in why
        await until(ws1.is_ready, "it is ready")
        waits = [line for line in ws1.log().splitlines() if '"writer_waits"' in line]
        assert all("in time" in line for line in waits), waits  # a busy machine, not a record
        await until_equal(lambda: fleet.fetch("SELECT count(*) FROM pending"), [(0,)])


async def test_a_time_that_nobody_can_tell_stops_nobody(fleet: Fleet) -> None:
    """A topic that takes the senders' times, and a stranger with a clock of their own."""
    any_time = str((1 << 63) - 1)
    settings = {
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": any_time,
        "message.timestamp.before.max.ms": any_time,
    }
    await asyncio.to_thread(
        create_topic, admin(fleet.stack), MESSAGES, partitions=32, config=settings
    )
    (ws1,) = await fleet.start(1, "--sweep-interval", "1s")
    last_ms = 253_402_300_799_999  # of the year 9999
    strange = {last_ms + 1: 0, 1 << 50: 0, 1 << 62: 0}
    last, first = message("the last that can be told"), message("the first")
    async with Peer(ws1.ws_url, "bob") as bob:
        for time_ms in strange:
            [strange[time_ms]] = await asyncio.to_thread(
                write, fleet.stack, [encoded(message("when?"))], time_ms=time_ms
            )
        await asyncio.to_thread(write, fleet.stack, [encoded(last)], time_ms=last_ms)
        await asyncio.to_thread(write, fleet.stack, [encoded(first)], time_ms=1)
        wanted = {last["message_id"], first["message_id"]}
        await until(lambda: wanted <= bob.received, "bob has what can be told")
        assert bob.received == wanted
        assert {frame["time"] for frame in bob.messages} == {
            "9999-12-31T23:59:59.999Z",
            "1970-01-01T00:00:00.001Z",
        }
        quarantined = await fleet.fetch("SELECT log_offset, reason FROM quarantine ORDER BY 1")
        assert [offset for offset, _reason in quarantined] == list(strange.values())
        assert all("its time (" in reason for _offset, reason in quarantined)
        await until_equal(lambda: fleet.fetch("SELECT count(*) FROM pending"), [(0,)])
        # As one of an older version left it: its own check let more through.
        await fleet.execute(
            """
            INSERT INTO pending
            SELECT mailbox_id, log_partition, log_offset, conversation_id, false
            FROM devices CROSS JOIN messages JOIN conversations ON name = conversation
            WHERE user_name = 'bob'
            """
        )
        await fleet.execute(
            "UPDATE messages SET created_at = '20000-01-01' WHERE content = 'the first'"
        )
    await asyncio.to_thread(ws1.stop)  # it remembers what was acknowledged
    await asyncio.to_thread(ws1.start)
    async with Peer(ws1.ws_url, "bob") as bob:
        await until(lambda: wanted <= bob.received, "bob has what the store says is owed")
    await until(ws1.is_ready, "it is ready")


@pytest.mark.parametrize("sqlstate", TRANSIENT)
async def test_a_transient_error_of_the_store_is_no_reason_for_quarantine(
    sqlstate: str, fleet: Fleet
) -> None:
    """The store fails three times with the same good records, then takes them."""
    (ws1,) = await fleet.start(1)
    await fleet.execute(
        f"""
        CREATE SEQUENCE failures;  -- what a rollback leaves alone
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('failures') <= 3 THEN
                RAISE EXCEPTION 'made up' USING ERRCODE = '{sqlstate}';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER fail BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION fail();
        """
    )
    async with Peer(ws1.ws_url, "alice") as alice, Peer(ws1.ws_url, "bob") as bob:
        await asyncio.gather(*(alice.send("bob", f"message {number}") for number in range(50)))
        await check_fates(alice, [bob])
        await fleet.until_stored(alice.accepted_ids)
        assert first_line(ws1, "writer_waits")
        assert await fleet.fetch("SELECT * FROM quarantine") == []
        await until(ws1.is_ready, "it is ready again")
