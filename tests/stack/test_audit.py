"""`landline audit` on real Kafka and PostgreSQL, under a server that runs, and doctored."""

import asyncio
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

import landline
from landline.adapters.kafka import MESSAGES_TOPIC
from landline.adapters.postgres.migrations import POSTGRES_SCHEMA_VERSION
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


ONE = "(SELECT message_id FROM deliveries WHERE recipient = 'carol' ORDER BY 1 LIMIT 1)"
READ = "(SELECT message_id FROM deliveries WHERE status = 'DELIVERED' ORDER BY 1 LIMIT 1)"


DOCTORED = (
    (f"DELETE FROM messages WHERE message_id = {ONE}", "1 difference: 1 message_missing"),
    (
        f"UPDATE messages SET content = 'x', sender = 'eve' WHERE message_id = {ONE}",
        "1 difference: 1 message_changed",
    ),
    (f"DELETE FROM deliveries WHERE message_id = {ONE}", "1 difference: 1 message_changed"),
    (
        f"UPDATE deliveries SET delivered_at = '2026' WHERE message_id = {ONE}",
        "1 difference: 1 receipt_unknown",
    ),
    (
        f"UPDATE deliveries SET delivered_at = NULL WHERE message_id = {READ}",
        "1 difference: 1 receipt_missing",
    ),
    (
        f"UPDATE messages SET log_offset = log_offset + 1 WHERE message_id = {ONE}",
        "2 differences: 1 message_changed, 1 message_moved",
    ),
)

KEEP = "CREATE TABLE m AS TABLE messages; CREATE TABLE d AS TABLE deliveries"
_COLUMNS = "message_id, recipient, mailbox, delivered_at, log_partition, log_offset"
RESTORE = f"""
    TRUNCATE messages, deliveries;
    INSERT INTO messages SELECT * FROM m;
    INSERT INTO deliveries ({_COLUMNS}) SELECT {_COLUMNS} FROM d
"""


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
    await execute(own.postgres_url, KEEP)
    for doctored, counted in DOCTORED:
        await execute(own.postgres_url, doctored)
        code, said = await audit(own)
        assert (code, said[-1]) == (1, counted), said
        await execute(own.postgres_url, RESTORE)

    # What is missing comes back as docs/failures.md says: the log is applied again.
    [(id, partition, offset)] = await fetch(
        own.postgres_url,
        f"SELECT message_id, log_partition, log_offset FROM messages WHERE message_id = {ONE}",
    )
    await asyncio.to_thread(ws_1.stop)
    for table in ("messages", "deliveries"):
        await execute(own.postgres_url, f"DELETE FROM {table} WHERE message_id = $1", id)
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
    producer = Producer({"bootstrap.servers": own.kafka_servers, "acks": "all"})
    for value in (receipt % id, receipt % id.replace(id[:8], "f" * 8), "garbage"):
        producer.produce(MESSAGES_TOPIC, value, partition=3)
    assert await asyncio.to_thread(producer.flush, KAFKA_SECONDS) == 0
    await until_equal(lambda: fetch(own.postgres_url, "SELECT 1 FROM quarantine"), [(1,)])
    code, said = await audit(own)
    assert (code, said[-1]) == (1, "3 differences: 1 quarantined, 2 receipt_stray"), said
    await execute(own.postgres_url, "DELETE FROM quarantine")
    code, said = await audit(own)
    assert code == 1
    assert any(line.startswith("unreadable: partition 3 offset") for line in said)


async def test_what_cannot_be_audited_is_exit_code_2(own: Stack, postgres_url: str) -> None:
    code, said = await audit(own, "--postgres", postgres_url)
    assert (code, len(said)) == (2, 1)
    needed = f"this Landline needs {POSTGRES_SCHEMA_VERSION}; run landline migrate"
    assert f"its schema is at version 0, {needed}" in said[0]
    code, said = await audit(own, "--kafka", f"127.0.0.1:{free_port()}")
    assert code == 2
    assert "Kafka" in said[0]
