"""Plans are kept: one that was made when the tables were empty must not scan them when they are
large, and none may depend on how large they are.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from landline.adapters.postgres import (
    PostgresMessageStore,
    applying,
    batch_rows,
    conversations,
    migrate,
    pages,
    purging,
)
from landline.adapters.postgres.lane import connect
from landline.config.values import SecretUrl
from landline.model import Batch, DeviceChange, LogIdentity, Message, Position
from support.postgres import execute

pytestmark = pytest.mark.stack

STATEMENTS = {
    "apply": batch_rows.APPLY,
    "apply_room": applying.APPLY_ROOM,
    "apply_member": applying.APPLY_MEMBER,
    "open_devices": applying.OPEN_DEVICES,
    "close_devices": applying.CLOSE_DEVICES,
    "hand_back": applying.HAND_BACK,
    "forget_room": applying.FORGET_ROOM,
    "pending": pages.PENDING,
    "turns": pages.TURNS,
    "purge": purging.PURGE,
    "rooms": conversations.ROOMS,
    "conversations_of": conversations.CONVERSATIONS_OF,
    "history_before": conversations.HISTORY_BEFORE,
    "history_after": conversations.HISTORY_AFTER,
    "members_of": conversations.MEMBERS_OF,
    "statuses_of": conversations.STATUSES_OF,
    "forget_pending": conversations.FORGET_PENDING,
}
GROWING = {
    "messages",
    "pending",
    "devices",
    "members",
    "former_members",
    "outsiders",
    "conversations",
    "ended_users",
}
FILL = """
    INSERT INTO conversations (name, kind, last_offset, last_time_ms)
        SELECT 'dm:a:user' || n, 'direct', n, n FROM generate_series(1, 3000) AS n;
    INSERT INTO devices (user_name, device)
        SELECT 'user' || n, '*' FROM generate_series(1, 3000) AS n;
    INSERT INTO members
        SELECT conversation_id, substr(name, 6), 'member', 0, 1, 0 FROM conversations;
    INSERT INTO messages
        SELECT gen_random_uuid(), 'dm:a:user' || n % 3000, 'a', 'x', now(), 0, n
        FROM generate_series(1, 9000) AS n;
    INSERT INTO pending SELECT mailbox_id, 0, mailbox_id, mailbox_id, false FROM devices;
    INSERT INTO ended_users SELECT user_name, 'nobody', '{9}' FROM devices;
    ANALYZE;
"""


async def plan(connection: Any, sql: str) -> Mapping[str, Any]:
    """Return the plan that is kept for a statement."""
    await connection.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE kept AS {sql}")
    count = len((await connection.prepare(sql)).get_parameters())
    nothing = ", ".join(["NULL"] * count)
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE kept ({nothing})")
    await connection.execute("DEALLOCATE kept")
    return dict(json.loads(text)[0]["Plan"])


def nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)


@pytest.fixture
async def connection(database: SecretUrl) -> Any:
    await migrate(database)
    opened = await connect(database, "landline-ws-1", 60.0)
    yield opened
    await opened.close()


@pytest.mark.parametrize("sql", STATEMENTS.values(), ids=STATEMENTS.keys())
@pytest.mark.parametrize("is_filled", [False, True], ids=["empty", "filled"])
async def test_what_grows_is_looked_up_in_an_index(
    connection: Any, database: SecretUrl, sql: str, is_filled: bool
) -> None:
    if is_filled:
        await execute(database.reveal(), FILL)
    kept = await plan(connection, sql)
    scans = [node for node in nodes(kept) if node.get("Relation Name") in GROWING]
    scans = [node for node in scans if node["Node Type"] != "ModifyTable"]
    assert scans
    for node in scans:
        assert "Index Cond" in node or "TID Cond" in node, node
    # What is sorted is what comes in or goes out.
    assert not [node for node in scans if node["Node Type"] == "Bitmap Heap Scan"]


@pytest.mark.parametrize("is_filled", [False, True], ids=["empty", "filled"])
async def test_what_comes_in_is_not_gone_through_once_for_each_row(
    connection: Any, database: SecretUrl, is_filled: bool
) -> None:
    """A batch of a thousand messages would be a million steps."""
    if is_filled:
        await execute(database.reveal(), FILL)
    inner = [
        each
        for node in nodes(await plan(connection, batch_rows.APPLY))
        if node["Node Type"] == "Nested Loop"
        for each in node["Plans"]
        if each["Parent Relationship"] == "Inner"
    ]
    assert inner
    for node in inner:
        kinds = {each["Node Type"] for each in nodes(node)}
        assert not kinds & {"CTE Scan", "Function Scan"}, node


@pytest.mark.parametrize("is_filled", [False, True], ids=["empty", "filled"])
async def test_purging_reads_of_a_mailbox_what_lies_in_the_stretch(
    connection: Any, database: SecretUrl, is_filled: bool
) -> None:
    """And not all that it is owed."""
    if is_filled:
        await execute(database.reveal(), FILL)
    [node] = [
        each
        for each in nodes(await plan(connection, purging.PURGE))
        if each.get("Relation Name") == "pending"
    ]
    assert node["Index Name"] == "pending_pkey"


# A conversation and a room of 15,000 events each; bob was in the room a thousand times.
LONG = """
    INSERT INTO conversations (name, kind, history, last_offset, last_time_ms) VALUES
        ('dm:alice:bob', 'direct', NULL, 1, 1), ('room:long', 'room', 'joined', 1, 1);
    INSERT INTO members
        SELECT conversation_id, user_name, 'member', CASE kind WHEN 'room' THEN 39000 ELSE 0 END, 1,
               CASE kind WHEN 'room' THEN 38999 ELSE 0 END
        FROM conversations CROSS JOIN unnest(ARRAY['alice', 'bob']) AS user_name
        WHERE name IN ('dm:alice:bob', 'room:long');
    INSERT INTO former_members
        SELECT conversation_id, 'bob', 10000 + n * 20, 10000 + n * 20 + 2
        FROM conversations CROSS JOIN generate_series(1, 1000) AS n WHERE name = 'room:long';
    INSERT INTO messages
        SELECT gen_random_uuid(), CASE n % 2 WHEN 0 THEN 'dm:alice:bob' ELSE 'room:long' END,
               'alice', 'x', now(), 0, n
        FROM generate_series(10000, 40000) AS n;
    INSERT INTO applied VALUES (0, 40001);
"""
QUESTIONS = {
    "unread": (conversations.CONVERSATIONS_OF, "'bob', NULL, NULL, 50, 100, 1000"),
    "one's own": (conversations.CONVERSATIONS_OF, "'alice', NULL, NULL, 50, 100, 300"),
    "newest": (conversations.HISTORY_BEFORE, "'bob', 'dm:alice:bob', 99999, 50, 9999"),
    "before": (conversations.HISTORY_BEFORE, "'bob', 'dm:alice:bob', 25000, 50, 9999"),
    "after": (conversations.HISTORY_AFTER, "'bob', 'dm:alice:bob', 25000, 50, 9999"),
    "before, in spans": (conversations.HISTORY_BEFORE, "'bob', 'room:long', 25000, 50, 9999"),
    "after, in spans": (conversations.HISTORY_AFTER, "'bob', 'room:long', 25000, 50, 9999"),
}


@pytest.mark.parametrize(("sql", "arguments"), QUESTIONS.values(), ids=QUESTIONS.keys())
@pytest.mark.parametrize("is_known", [False, True], ids=["no statistics", "statistics"])
async def test_who_reads_looks_at_no_more_than_it_takes(
    connection: Any, database: SecretUrl, sql: str, arguments: str, is_known: bool
) -> None:
    await execute(database.reveal(), LONG + ("ANALYZE" if is_known else ""))
    await connection.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE kept AS {sql}")
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE kept ({arguments})")
    scans = [
        node for node in nodes(json.loads(text)[0]["Plan"]) if node.get("Relation Name") in GROWING
    ]
    looked_at = sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in scans
    )
    assert 50 < looked_at < 700


async def test_numbers_that_are_not_used_are_not_lost(connection: Any, database: SecretUrl) -> None:
    """There are 2^31 for conversations and mailboxes; a number is taken for a new row alone."""
    store = PostgresMessageStore(database, "ws-1")
    await store.adopt(LogIdentity("cluster", "topic", 1))
    for offset in range(0, 30, 3):
        id = f"{offset:08x}-0000-8000-8000-00000000c0de"
        sent = Message(id, "dm:a:b", "a", ("b",), "x", Position(0, offset), 1)
        added = DeviceChange("b", "phone", True, offset + 1)
        assert await store.apply(
            [
                Batch(0, offset, offset + 1, (sent,)),
                Batch(0, offset + 1, offset + 2, change=added),
                Batch(0, offset + 2, offset + 3, change=added),
            ]
        )
    await store.close()
    last = "SELECT last_value FROM pg_sequences WHERE sequencename = $1"
    assert await connection.fetchval(last, "conversations_conversation_id_seq") == 1
    assert await connection.fetchval(last, "devices_mailbox_id_seq") == 3
