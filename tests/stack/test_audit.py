"""`landline audit` on real Kafka and PostgreSQL, under a server that runs, and doctored."""

import asyncio
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

import landline
from landline.adapters.kafka import MESSAGES_TOPIC
from landline.adapters.postgres.migrations import POSTGRES_SCHEMA_VERSION
from landline.protocol.partitions import partition_of
from landline.protocol.records import DeviceRecord, MessageRecord
from landline_stack import LandlineServer, Stack
from landline_stack.ports import free_port
from support.command import run_landline
from support.peer import until_applied
from support.postgres import execute, fetch
from support.stack import KAFKA_SECONDS, stack_or_skip, steady
from support.waiting import until, until_equal

pytestmark = pytest.mark.stack

SECRET = "nobody else's business"
COUNT = 20


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """A stack whose topics have the usual names."""
    with steady(stack_or_skip()) as own:
        yield own


@pytest.fixture(scope="module")
def ws_1(own: Stack) -> Iterator[LandlineServer]:
    """The server that writes what is audited."""
    with LandlineServer.on(own, "ws-1", own.directory / "ws-1") as server:
        yield server


async def audit(own: Stack, *arguments: str) -> tuple[int, list[str]]:
    """Run the command; return its exit code and what it said."""
    where = ["--kafka", own.kafka_servers, "--postgres", own.postgres_url]
    code, said = await asyncio.to_thread(run_landline, "audit", *where, *arguments)
    assert SECRET not in said
    return code, said.splitlines()


ONE = "(SELECT message_id FROM messages WHERE conversation = 'dm:alice:carol' ORDER BY 1 LIMIT 1)"
AT_ONE = f"(SELECT log_partition, log_offset FROM messages WHERE message_id = {ONE})"
CAROLS = "(SELECT mailbox_id FROM devices WHERE user_name = 'carol')"


OWE_CAROL = f"""
    INSERT INTO pending SELECT {CAROLS}, log_partition, log_offset, 1, false FROM messages
    WHERE conversation = 'dm:alice:bob' LIMIT 1
"""
OWE_WHAT_WAS_RECEIVED = """
    INSERT INTO pending SELECT mailbox_id, log_partition, log_offset, 1, false
    FROM devices CROSS JOIN messages WHERE user_name = 'bob' AND message_id IN (
        SELECT message_id FROM message_status WHERE recipient = 'bob' AND status = 'DELIVERED')
    LIMIT 1
"""
OPEN_A_DEVICE = "INSERT INTO devices (user_name, device, since) VALUES ('carol', 'tab', '{NULL,0}')"
MOVE = f"UPDATE messages SET log_offset = log_offset + 1000 WHERE message_id = {ONE}"
CHANGE = f"UPDATE messages SET content = 'x', sender = 'eve' WHERE message_id = {ONE}"
DISOWN = f"DELETE FROM pending WHERE (log_partition, log_offset) = {AT_ONE}"
RECEIVE = f"UPDATE pending SET is_received = true WHERE (log_partition, log_offset) = {AT_ONE}"

DOCTORED = (
    (f"DELETE FROM messages WHERE message_id = {ONE}", "message_missing"),
    (CHANGE, "message_changed"),
    (MOVE, "message_moved"),
    (DISOWN, "pending_missing"),
    (RECEIVE, "receipt_unknown"),
    (OWE_CAROL, "pending_unknown"),
    (OWE_WHAT_WAS_RECEIVED, "receipt_missing"),
    ("UPDATE conversations SET title = 'x' WHERE name LIKE '%carol'", "conversation_changed"),
    ("DELETE FROM members WHERE user_name = 'carol'", "member_missing"),
    ("UPDATE members SET joined_offset = 1 WHERE user_name = 'carol'", "member_changed"),
    (OPEN_A_DEVICE, "device_unknown"),
)

TABLES = ("messages", "conversations", "members", "devices", "pending")


async def keep(url: str) -> None:
    for table in TABLES:
        await execute(url, f"CREATE TABLE kept_{table} AS TABLE {table}")


async def restore(url: str) -> None:
    for table in TABLES:
        await execute(url, f"TRUNCATE {table}; INSERT INTO {table} TABLE kept_{table}")


async def chat(url: str) -> None:
    """Alice writes to bob, who reads half of it, and to carol, who is never there."""
    async with (
        landline.connect(url, username="alice") as alice,
        landline.connect(url, username="bob") as bob,
    ):
        for _ in range(COUNT):
            await alice.send("bob", SECRET)
            await alice.send("carol", SECRET)
        seen = 0
        async for _message in bob:
            seen += 1
            if seen == COUNT // 2:
                break


async def test_under_a_running_server_nothing_differs_but_what_was_doctored_and_forged(
    own: Stack, ws_1: LandlineServer
) -> None:
    await chat(f"ws://127.0.0.1:{ws_1.port}/ws/chat")
    await asyncio.to_thread(ws_1.restart)  # the last receipts are in the log then
    await until_applied(ws_1.ws_url)
    code, said = await audit(own)
    assert (code, said[-1]) == (0, "log and store agree"), said

    # Rows that somebody has changed.
    await keep(own.postgres_url)
    for doctored, kind in DOCTORED:
        await execute(own.postgres_url, doctored)
        code, said = await audit(own)
        assert (code, said[-1]) == (1, f"1 difference: 1 {kind}"), (doctored, said)
        await restore(own.postgres_url)

    # What is missing comes back as docs/failures.md says: the log is applied again.
    [(id, partition, offset)] = await fetch(
        own.postgres_url,
        f"SELECT message_id, log_partition, log_offset FROM messages WHERE message_id = {ONE}",
    )
    await asyncio.to_thread(ws_1.stop)
    at = "(log_partition, log_offset) = ($1, $2)"
    for table in ("messages", "pending"):
        await execute(own.postgres_url, f"DELETE FROM {table} WHERE {at}", partition, offset)
    code, said = await audit(own)
    assert (code, said[-1]) == (1, "1 difference: 1 message_missing"), said
    back = "UPDATE applied SET next_offset = $1 WHERE log_partition = $2"
    await execute(own.postgres_url, back, offset, partition)
    await asyncio.to_thread(ws_1.start)

    async def is_whole() -> bool:
        return (await audit(own))[0] == 0

    await until(is_whole, "the audit finds no difference")

    # Those who may write to the topic can add what no server would.
    [(id,)] = await fetch(own.postgres_url, f"SELECT {ONE}::text")
    receipt = '{"v":1,"status":"DELIVERED","message_ids":["%s"],"conversation":"dm:alice:carol",'
    receipt += '"recipient":"mallory","delivered_at":"2026"}'
    values = (receipt % id, receipt % id.replace(id[:8], "f" * 8), "garbage")
    await produce(own, partition, *(value.encode() for value in values))
    await until_equal(lambda: fetch(own.postgres_url, "SELECT 1 FROM quarantine"), [(1,)])
    code, said = await audit(own)
    assert (code, said[-1]) == (1, "3 differences: 1 quarantined, 2 receipt_stray"), said
    await execute(own.postgres_url, "DELETE FROM quarantine")
    code, said = await audit(own)
    assert code == 1
    assert any(line.startswith(f"unreadable: partition {partition} offset") for line in said)
    await redrive(own, ws_1)


async def produce(own: Stack, partition: int, *values: bytes) -> None:
    """Write records into the log."""
    producer = Producer({"bootstrap.servers": own.kafka_servers, "acks": "all"})
    for value in values:
        producer.produce(MESSAGES_TOPIC, value, partition=partition)
    assert await asyncio.to_thread(producer.flush, KAFKA_SECONDS) == 0


async def put_in_quarantine(own: Stack, partition: int, value: bytes) -> None:
    """Do as a server that cannot read this record."""
    await produce(own, partition, value)
    here = f"log_partition = {partition}"
    url = own.postgres_url
    sql = f"INSERT INTO quarantine SELECT {partition}, next_offset, $1, 'x' FROM applied"
    await execute(url, f"{sql} WHERE {here}", value)
    await execute(url, f"UPDATE applied SET next_offset = next_offset + 1 WHERE {here}")


async def redrive(own: Stack, ws_1: LandlineServer) -> None:
    """Records that a server of an older version has put into quarantine are applied after all."""
    url = own.postgres_url
    id = "00000001-0000-8000-8000-00000000c0de"
    message = MessageRecord(id, None, "dm:dora:erin", "dora", ("erin",), SECRET, "2026").encode_2()
    home = partition_of("dm:dora:erin", 32)
    await asyncio.to_thread(ws_1.restart)
    await until_applied(ws_1.ws_url)
    await asyncio.to_thread(ws_1.stop)
    await execute(url, "DELETE FROM quarantine")
    await put_in_quarantine(own, (home + 1) % 32, message)  # by a program that counts otherwise
    await put_in_quarantine(own, home, DeviceRecord("erin", "phone", True).encode_2())
    await put_in_quarantine(own, home, b"garbage")
    await asyncio.to_thread(ws_1.start)
    code, lines = await audit(own, "--redrive")
    assert code == 1, lines
    assert any(f": message, appended again at partition {home} " in line for line in lines), lines
    assert any(f": device, appended again at partition {home} " in line for line in lines), lines
    assert lines[-3] == "2 records appended again (1 device, 1 message)"
    assert lines[-2].startswith("the servers that write the store apply what was appended; ")
    assert lines[-1] == "1 cannot be read by this version and stay in quarantine"
    stored = f"SELECT log_partition FROM messages WHERE message_id = '{id}'"
    await until_equal(lambda: fetch(url, stored), [(home,)])
    opened = f"SELECT since[{home} + 1] IS NOT NULL FROM devices WHERE device = 'phone'"
    await until_equal(lambda: fetch(url, opened), [(True,)])
    assert await fetch(url, "SELECT value FROM quarantine") == [(b"garbage",)]
    code, said = await audit(own)
    about = [line for line in said if id in line or "phone" in line or "dora" in line]
    assert about == [], said


async def test_in_format_1_it_says_what_is_needed_first(own: Stack, postgres_url: str) -> None:
    await asyncio.to_thread(run_landline, "migrate", "--postgres", postgres_url)
    await execute(postgres_url, "UPDATE record_format SET format = 1")
    for arguments in ((), ("--redrive",)):
        code, said = await audit(own, "--postgres", postgres_url, *arguments)
        assert (code, len(said)) == (2, 1)
        assert "landline audit needs the store in format 2, and it is in format 1" in said[0]
        assert "run landline migrate first" in said[0]


async def test_what_cannot_be_audited_is_exit_code_2(own: Stack, postgres_url: str) -> None:
    code, said = await audit(own, "--postgres", postgres_url)
    assert (code, len(said)) == (2, 1)
    needed = f"this Landline needs {POSTGRES_SCHEMA_VERSION}; run landline migrate"
    assert f"its schema is at version 0, {needed}" in said[0]
    code, said = await audit(own, "--kafka", f"127.0.0.1:{free_port()}")
    assert code == 2
    assert "Kafka" in said[0]
