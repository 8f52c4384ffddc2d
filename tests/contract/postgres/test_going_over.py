"""From format 1 to format 2: what comes of the rows, and what servers of both versions notice."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from landline import writer
from landline.adapters.postgres import (
    OldServers,
    PostgresMessageStore,
    check,
    go_over,
    going_over,
    migrate,
    record_format,
)
from landline.adapters.postgres.migrations import BEGIN_COLUMNS, POSTGRES_SCHEMA_VERSION
from landline.adapters.sqlite import Database, SqliteEventLog
from landline.app import migrate as migrate_command
from landline.config.loading import load_for_migration
from landline.config.values import SecretUrl
from landline.errors import StartupError, StoreUnavailable
from landline.model import (
    FIRST_TURN,
    Batch,
    DeviceChange,
    LogIdentity,
    Mailbox,
    Message,
    PendingQuery,
    Position,
    Read,
    Receipt,
)
from landline.protocol.identity import is_room, participants
from landline.protocol.records import DeviceRecord
from landline_stack.postgres import PostgresServer
from support.event_logs import append_all
from support.postgres import execute, fetch
from support.postgres_dump import dump
from support.tables import in_order
from support.version_before import BEFORE, StoreBefore, make_before, start_before
from support.waiting import go_round, running, until, until_equal

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("patient_postgres")]

PARTITIONS = 3
TIME_MS = 1_767_323_045_678
USERS = ("alice", "bob", "Zoë", "carol", "zoe")
FORMAT = "SELECT format FROM record_format"

Rows = list[tuple[Any, ...]]


class Quiet:
    """Hears how far it is, and may be made to stop it."""

    def __init__(self, stop_at: str = "") -> None:
        self.lines: list[str] = []
        self._stop_at = stop_at

    def tell(self, line: str) -> None:
        self.lines.append(line)
        self.progress(line)

    def progress(self, text: str) -> None:
        if self._stop_at and self._stop_at in text:
            self._stop_at = ""
            raise Killed


class Killed(Exception):
    """The process ends here."""


def uuid(number: int) -> str:
    return f"{number:08x}-0000-8000-8000-00000000c0de"


def message(
    number: int,
    offset: int,
    *,
    partition: int = 0,
    conversation: str = "dm:alice:bob",
    sender: str = "alice",
    to: Sequence[str] = ("bob",),
) -> Message:
    position = Position(partition, offset)
    return Message(
        uuid(number), conversation, sender, tuple(to), "hello", position, TIME_MS + offset
    )


def receipt(number: int, by: str, offset: int = 1 << 30) -> Receipt:
    return Receipt(uuid(number), Mailbox(by), "2026-01-02T03:04:05.678Z", offset)


def random_batches(chance: random.Random, count: int, start: int = 0) -> list[Batch]:
    """Return what servers of the version before may apply: two of a pair, notes to oneself, texts
    that are no names of conversations, groups, receipts without a message and of strangers.
    """
    batches = []
    for step in range(start, start + count):
        for partition in range(PARTITIONS):
            offsets = [step * 10 + each for each in range(chance.randrange(1, 6))]
            sent = []
            for offset in offsets:
                number = (partition << 20) + offset
                one, other = chance.choice(USERS), chance.choice(USERS)
                low, high = sorted((one, other))
                name, to = f"dm:{low}:{high}", [other]
                if chance.random() < 0.15:
                    name = chance.choice(("notes", "c", "dm:", "Ärmel", "ähre", "dm:alice"))
                    to = chance.sample(USERS, 2)
                sent.append(
                    message(
                        number, offset, partition=partition, conversation=name, sender=one, to=to
                    )
                )
            known = range((partition << 20), (partition << 20) + step * 10 + 14)
            receipts = {
                (each := chance.choice(known), by): receipt(each, by)
                for by in (*USERS, "mallory")
                for _ in range(chance.randrange(4))
            }
            batches.append(
                Batch(partition, step * 10, step * 10 + 10, tuple(sent), tuple(receipts.values()))
            )
    return batches


async def expected(url: SecretUrl) -> dict[str, Rows]:
    """Return what the tables have to hold, told from those of format 1."""
    messages = await fetch(
        url.reveal(),
        "SELECT message_id::text, conversation, sender, log_partition, log_offset,"
        " (extract(epoch FROM created_at) * 1000)::bigint FROM messages ORDER BY log_offset",
    )
    deliveries = await fetch(
        url.reveal(),
        "SELECT message_id::text, recipient, status, log_offset FROM deliveries",
    )
    conversations: dict[str, Any] = {}
    members: dict[str, Sequence[str]] = {}
    for id, name, sender, _partition, offset, time_ms in messages:
        kind = "room" if is_room(name) else "direct"
        conversations[name] = (name, kind, None, None, offset, time_ms)
        named = {who for key, who, _, at in deliveries if key == id and at is not None}
        members.setdefault(name, participants(name) or tuple({sender, *named}))
    places = {id: (partition, offset, name) for id, name, _, partition, offset, _ in messages}
    pending = [
        (user, "*", *places[id], False)
        for id, user, status, _offset in deliveries
        if status == "UNDELIVERED" and id in places
    ]
    owed: dict[tuple[str, str], int] = {}
    for user, _, _, offset, name, _ in pending:
        owed[name, user] = min(offset, owed.get((name, user), offset))
    rows = []
    for name, users in members.items():
        for user in users:
            read = owed[name, user] - 1 if (name, user) in owed else conversations[name][4]
            rows.append((name, user, "member", 0, read))
    found = {"conversations": list(conversations.values()), "members": rows, "pending": pending}
    return dict(in_order(found))  # type: ignore[arg-type]


async def found(url: SecretUrl) -> dict[str, Any]:
    rows = in_order(await dump(url))
    assert rows["former_members"] == rows["devices"] == []
    return {name: rows[name] for name in ("conversations", "members", "pending")}


async def owed(store: PostgresMessageStore, user: str) -> list[str]:
    [answer] = await store.pending([PendingQuery(Mailbox(user), {}, 100_000)])
    return [each.id for each in answer.messages]


@pytest.fixture(params=["by bytes", "by the database"])
async def before(request: pytest.FixtureRequest, database: SecretUrl) -> SecretUrl:
    """A database of the version before; and one whose columns are older, in its own collation."""
    await make_before(database, PARTITIONS)
    if request.param == "by the database":
        await execute(
            database.reveal(),
            'ALTER TABLE messages ALTER COLUMN conversation TYPE text COLLATE "default",'
            ' ALTER COLUMN sender TYPE text COLLATE "default";'
            'ALTER TABLE deliveries ALTER COLUMN recipient TYPE text COLLATE "default",'
            ' ALTER COLUMN mailbox TYPE text COLLATE "default"',
        )
        await execute(
            database.reveal(),
            "ALTER TABLE deliveries DROP CONSTRAINT deliveries_by_recipient;"
            "CREATE UNIQUE INDEX deliveries_by_recipient"
            ' ON deliveries (message_id, recipient COLLATE "C")',
        )
    return database


@pytest.fixture
async def open_store() -> AsyncIterator[Callable[[Any], Any]]:
    opened: list[PostgresMessageStore] = []

    def keep(store: PostgresMessageStore) -> PostgresMessageStore:
        opened.append(store)
        return store

    yield keep
    for store in opened:
        await store.close()


# --- what comes of the rows ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_what_there_is_goes_over(
    before: SecretUrl, seed: int, monkeypatch: pytest.MonkeyPatch, open_store: Callable[[Any], Any]
) -> None:
    """Servers of both versions write before and during it."""
    chance = random.Random(seed)
    monkeypatch.setattr(going_over, "STEP_CONVERSATIONS", 3)
    monkeypatch.setattr(going_over, "STEP_MESSAGES", 7)
    old = open_store(StoreBefore(before, "old"))
    new = open_store(PostgresMessageStore(before, "new"))
    batches = random_batches(chance, 30)
    for batch in batches[:45]:
        assert await old.apply([batch])
    assert await migrate(before) == POSTGRES_SCHEMA_VERSION - 5
    assert await check(before) == []
    for batch in batches[45:60]:
        assert await chance.choice([old, new]).apply([batch])
    with pytest.raises(OldServers) as refusal:
        await go_over(before, Quiet())
    assert refusal.value.names == ["old"]
    for batch in batches[60:]:
        assert await chance.choice([old, new]).apply([batch])
    await old.close()
    want = await expected(before)
    assert await go_over(before, Quiet())
    assert await found(before) == want
    assert not await go_over(before, Quiet())
    names = {row[0] for row in await fetch(before.reveal(), "SELECT user_name FROM devices")}
    assert {row[1] for row in want["members"]} <= names
    for user in USERS:
        assert len(await owed(new, user)) == sum(row[0] == user for row in want["pending"])
    assert new.record_version == 2
    debts = [await owed(new, user) for user in USERS]
    place: Position | None = Position(0, -1)
    while place is not None:
        # One by one: whose mailboxes are looked into, no other message says.
        _count, place = await new.purge(2 * TIME_MS, place, 1)
    assert [await owed(new, user) for user in USERS] == debts
    left = await fetch(before.reveal(), "SELECT message_id::text FROM messages")
    assert {id for (id,) in left} == {id for ids in debts for id in ids}


async def test_odd_rows_go_over_too(before: SecretUrl) -> None:
    await execute(
        before.reveal(),
        f"""
        INSERT INTO messages VALUES
            ('{uuid(1)}', 'dm:alice:bob', 'alice', 'x', to_timestamp(1), 0, 5),
            ('{uuid(2)}', 'dm:bob:bob', 'bob', 'x', to_timestamp(2), 1, 6),
            ('{uuid(3)}', 'any text', 'alice', 'x', to_timestamp(3), 2, 7);
        INSERT INTO deliveries
            (message_id, recipient, mailbox, delivered_at, log_partition, log_offset, conversation)
        VALUES
            -- owed, without a conversation, and at an older place than that of its message
            ('{uuid(1)}', 'bob', 'bob', NULL, 0, 9, NULL),
            -- to oneself
            ('{uuid(2)}', 'bob', 'bob', NULL, 1, 6, 'dm:bob:bob'),
            -- not only by those who are named
            ('{uuid(3)}', 'bob', 'bob', '2026', 2, 7, 'any text'),
            ('{uuid(3)}', 'carol', 'carol', NULL, 2, 7, 'any text'),
            ('{uuid(3)}', 'mallory', 'mallory', '2026', NULL, NULL, NULL),
            -- of no message at all
            ('{uuid(4)}', 'bob', 'bob', '2026', NULL, NULL, NULL),
            ('{uuid(5)}', 'bob', 'bob', NULL, 0, 3, '');
        """,
    )
    want = await expected(before)
    await migrate(before)
    assert await go_over(before, Quiet())
    assert await found(before) == want
    assert want["pending"] == [
        ("bob", "*", 0, 5, "dm:alice:bob", False),
        ("bob", "*", 1, 6, "dm:bob:bob", False),
        ("carol", "*", 2, 7, "any text", False),
    ]
    statuses = await fetch(before.reveal(), "SELECT * FROM message_status ORDER BY 1, 2")
    assert [(recipient, status) for _id, recipient, status in statuses] == [
        ("bob", "UNDELIVERED"),
        ("bob", "UNDELIVERED"),
        ("bob", "DELIVERED"),
        ("carol", "UNDELIVERED"),
    ]


async def test_a_database_without_rows_goes_over_at_once(before: SecretUrl) -> None:
    await migrate(before)
    assert await fetch(before.reveal(), FORMAT) == [(1,)]  # a server has adopted its log
    assert await go_over(before, Quiet())
    assert await fetch(before.reveal(), FORMAT) == [(2,)]


async def test_a_new_database_begins_in_format_2(
    database: SecretUrl, open_store: Callable[[Any], Any]
) -> None:
    await migrate(database)
    assert await fetch(database.reveal(), FORMAT) == [(2,)]
    assert not await go_over(database, Quiet())
    assert await fetch(database.reveal(), "SELECT to_regclass('deliveries')") == [(None,)]
    with pytest.raises(AssertionError, match="refuses to start"):
        await start_before(database)
    store = open_store(PostgresMessageStore(database, "ws-1"))
    await store.adopt(LogIdentity("cluster", "topic", PARTITIONS))
    assert store.record_version == 1  # nobody has looked yet
    assert await store.apply([Batch(0, 0, 1, (message(1, 0),))])
    assert store.record_version == 2


# --- killed and run again ------------------------------------------------------------------------

_DIE = "SELECT pg_terminate_backend(pg_backend_pid())"

# Where the process ends: when it tells this, or in the place of a statement of this name.
KILLS = {
    "in the first steps": ("8 conversations", ""),
    "after what came meanwhile": ("10 messages that came meanwhile", ""),
    "before the end": ("what is pending", ""),
    "while it fills pending": ("", "_FILL_PENDING"),
    "at the very end": ("", "BEGIN_FORMAT_2"),
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS.keys())
async def test_killed_anywhere_it_goes_on_from_there(
    database: SecretUrl,
    kill: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    open_store: Callable[[Any], Any],
) -> None:
    monkeypatch.setattr(going_over, "STEP_CONVERSATIONS", 4)
    monkeypatch.setattr(going_over, "STEP_MESSAGES", 5)
    monkeypatch.setattr(going_over, "LEFT_FOR_THE_END", 0)
    batches = random_batches(random.Random(7), 40)
    await make_before(database, PARTITIONS)
    old = open_store(StoreBefore(database, "old"))
    for batch in batches[:60]:
        assert await old.apply([batch])
    await migrate(database)
    with monkeypatch.context() as patch:
        # What comes meanwhile comes when it has begun to fill.
        note = going_over._note
        coming = iter(batches[60:90])

        async def note_and_write(*given: Any) -> None:
            await note(*given)
            if not old._is_closed and not given[0].is_in_transaction():
                for batch in [each for _, each in zip(range(5), coming, strict=False)]:
                    assert await old.apply([batch])

        async def go_on_alone(connection: Any) -> None:
            for batch in coming:
                assert await old.apply([batch])
            await old.close()

        patch.setattr(going_over, "_note", note_and_write)
        check_servers = going_over._check_servers

        async def close_and_check(connection: Any) -> None:
            if not old._is_closed:
                await go_on_alone(connection)
            await check_servers(connection)

        patch.setattr(going_over, "_check_servers", close_and_check)
        stop_at, name = kill
        if name:
            before = getattr(going_over, name).rstrip("; \n")
            patch.setattr(going_over, name, f"{before}; {_DIE}")
        with pytest.raises((Killed, StartupError)):
            await go_over(database, Quiet(stop_at=stop_at))
    assert await fetch(database.reveal(), FORMAT) == [(1,)]
    new = open_store(PostgresMessageStore(database, "new"))
    applied = await new.applied()
    for batch in batches:
        if batch.start >= applied[batch.partition]:
            assert await new.apply([batch])
    await old.close()
    want = await expected(database)
    assert await go_over(database, Quiet())
    assert await found(database) == want


# --- servers -------------------------------------------------------------------------------------


async def test_while_an_old_server_is_connected_it_is_named_and_nothing_changes(
    database: SecretUrl,
    open_store: Callable[[Any], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    await make_before(database, PARTITIONS)
    old = open_store(StoreBefore(database, "ws-9"))
    new = open_store(PostgresMessageStore(database, "ws-1"))
    assert await old.apply([Batch(0, 0, 1, (message(1, 0),))])
    settings = load_for_migration({"postgres": database.reveal()}, {}, needs_log=False)
    assert await migrate_command._migrate_all(settings) == 1
    assert (await new.applied())[0] == 1
    assert await migrate_command._migrate_all(settings) == 1
    out = capsys.readouterr().out
    assert "stays in format 1, as the version before is run by ws-9; replace them" in out
    assert await new.others() == ["ws-9"]
    assert await start_before(database) == 1
    assert await old.apply([Batch(0, 1, 2, (message(2, 1),))])
    assert await owed(old, "bob") == [uuid(1), uuid(2)]
    await old.close()
    assert await migrate_command._migrate_all(settings) == 0
    assert "store is in format 2; it went over" in capsys.readouterr().out
    assert await migrate_command._migrate_all(settings) == 0
    assert capsys.readouterr().out.endswith("store is in format 2\n")
    with pytest.raises(AssertionError, match="refuses to start"):
        await start_before(database)
    assert await owed(new, "bob") == [uuid(1), uuid(2)]


async def test_an_old_server_that_comes_in_the_last_moment_is_named_too(
    database: SecretUrl, open_store: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_before(database, PARTITIONS)
    await migrate(database)
    old = open_store(StoreBefore(database, "ws-9"))
    in_time = going_over._in_time

    async def come_first(connection: Any, work: Any) -> None:
        await old.applied()
        await in_time(connection, work)

    monkeypatch.setattr(going_over, "_in_time", come_first)
    with pytest.raises(OldServers):
        await go_over(database, Quiet())
    assert await fetch(database.reveal(), FORMAT) == [(1,)]
    assert await old.apply([Batch(0, 0, 1, (message(1, 0),))])


async def test_a_very_long_id_does_not_hide_the_version(
    database: SecretUrl, open_store: Callable[[Any], Any]
) -> None:
    await make_before(database, PARTITIONS)
    await migrate(database)
    new = open_store(PostgresMessageStore(database, "x" * 64))
    old = open_store(StoreBefore(database, "y" * 64))
    await new.applied()
    await old.applied()
    with pytest.raises(OldServers) as refusal:
        await go_over(database, Quiet())
    [name] = refusal.value.names
    assert set(name) == {"y"}
    await old.close()
    assert await new.others() == []
    assert await go_over(database, Quiet())


async def test_servers_go_on_while_it_goes_over_and_lose_nothing(
    database: SecretUrl, open_store: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(going_over, "STEP_CONVERSATIONS", 5)
    monkeypatch.setattr(going_over, "STEP_MESSAGES", 20)
    await make_before(database, PARTITIONS)
    await migrate(database)
    stores = [open_store(PostgresMessageStore(database, f"ws-{n}")) for n in range(PARTITIONS)]
    is_over = asyncio.Event()
    counts = dict.fromkeys(range(PARTITIONS), 0)

    async def write(store: PostgresMessageStore, partition: int) -> None:
        left = 20
        while left > 0:
            offset = counts[partition]
            number = (partition << 20) + offset
            name = f"dm:alice:user{offset % 50:02}"
            sent = message(
                number, offset, partition=partition, conversation=name, to=(name[9:], "bob")
            )
            is_due = offset >= 10 and offset % 3 == 0
            old = (receipt(number - 10, "bob", offset),) if is_due else ()
            assert await store.apply([Batch(partition, offset, offset + 1, (sent,), old)])
            counts[partition] += 1
            left -= is_over.is_set()

    async def read(store: PostgresMessageStore) -> None:
        while not is_over.is_set():
            await store.pending([PendingQuery(Mailbox("bob"), {}, 50)] * 3)

    tasks = [asyncio.create_task(write(store, p)) for p, store in enumerate(stores)]
    tasks += [asyncio.create_task(read(store)) for store in stores]
    await until(lambda: min(counts.values()) > 60, "they write")
    assert await go_over(database, Quiet())
    assert await fetch(database.reveal(), FORMAT) == [(2,)]
    is_over.set()
    await asyncio.gather(*tasks)
    assert [store.record_version for store in stores] == [2] * PARTITIONS
    for store in stores:
        expected = [
            uuid((p << 20) + offset)
            for p, count in counts.items()
            for offset in range(count)
            if (offset + 10) % 3 or offset + 10 >= count
        ]
        assert await owed(store, "bob") == expected
    names = await fetch(database.reveal(), "SELECT name, last_offset FROM conversations")
    assert dict(names) == {
        f"dm:alice:user{n:02}": max(
            offset for count in counts.values() for offset in range(count) if offset % 50 == n
        )
        for n in range(50)
    }


async def test_who_holds_the_table_is_not_waited_for_and_nothing_changes(
    database: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(going_over, "LOCK_MILLISECONDS", 100)
    monkeypatch.setattr(going_over, "PAUSE_SECONDS", 0.05)
    await make_before(database, PARTITIONS)
    await migrate(database)
    holder = await asyncpg.connect(database.reveal())
    try:
        await holder.execute("BEGIN; LOCK TABLE deliveries IN ACCESS SHARE MODE")
        with pytest.raises(StartupError, match="in use by others"):
            await go_over(database, Quiet())
        monkeypatch.setattr(going_over, "TRIES", 200)
        going = asyncio.create_task(go_over(database, Quiet()))
        await asyncio.sleep(0.5)
        assert not going.done()
        await holder.execute("ROLLBACK")
        assert await going
    finally:
        await holder.close()


# --- the version that this is, in format 1 -------------------------------------------------------


def test_format_1_is_what_the_version_before_does() -> None:
    sql = BEFORE.parents[3] / "src" / "landline" / "adapters" / "postgres" / "sql"
    for before, now in [
        ("apply", "apply_1"),
        ("pending", "pending_1"),
        ("find", "find"),
        ("applied", "applied"),
    ]:
        assert (BEFORE / f"{before}.sql").read_bytes() == (sql / f"{now}.sql").read_bytes()


ONLY_2: dict[str, Batch] = {
    "device": Batch(0, 0, 1, change=DeviceChange("bob", "phone", True, 0)),
    "read": Batch(0, 0, 1, reads=(Read("dm:alice:bob", "bob", 0),)),
    "receipt": Batch(0, 0, 1, (), (Receipt(uuid(1), Mailbox("bob", "phone"), "2026", 0),)),
    "data": Batch(
        0,
        0,
        1,
        (Message(uuid(1), "dm:a:b", "a", ("b",), "x", Position(0, 0), TIME_MS, data='{"a":1}'),),
    ),
    "sender's device": Batch(
        0,
        0,
        1,
        (Message(uuid(1), "dm:a:b", "a", ("b",), "x", Position(0, 0), TIME_MS, device="phone"),),
    ),
    "members": Batch(0, 0, 1, (message(1, 0, to=()),)),
}


@pytest.mark.parametrize("batch", ONLY_2.values(), ids=ONLY_2.keys())
async def test_format_1_waits_with_what_only_version_2_can_say_until_it_has_gone_over(
    database: SecretUrl, batch: Batch, open_store: Callable[[Any], Any]
) -> None:
    await make_before(database, PARTITIONS)
    await migrate(database)
    store = open_store(PostgresMessageStore(database, "ws-1"))
    late = open_store(PostgresMessageStore(database, "ws-2"))
    for each in (store, late):
        with pytest.raises(StoreUnavailable, match=r"format 1.*run `landline migrate`"):
            await each.apply([batch])
        assert each.record_version == 1
    assert not any((await store.applied()).values())
    assert await go_over(database, Quiet())
    # Another server wrote it already; this one had not looked.
    assert late.record_version == 1
    assert await late.apply([batch])
    assert late.record_version == 2


async def test_in_format_1_pages_come_in_the_order_of_the_log(
    database: SecretUrl, open_store: Callable[[Any], Any]
) -> None:
    await make_before(database, PARTITIONS)
    await migrate(database)
    store = open_store(PostgresMessageStore(database, "ws-1"))
    sent = tuple(message(n, n) for n in range(5))
    other = message(9, 0, partition=1)
    assert await store.apply([Batch(0, 0, 5, sent), Batch(1, 0, 1, (other,))])
    query = PendingQuery(Mailbox("bob"), {}, 3, FIRST_TURN)
    [page] = await store.pending([query])
    assert (page.messages, page.complete, page.until) == (sent[:3], False, {0: 3})
    assert (page.ahead, page.turn, page.closed) == ((), None, frozenset())
    assert await go_over(database, Quiet())
    [page] = await store.pending([query])
    assert [each.position for each in page.messages] == [(0, 0), (1, 0), (0, 1)]
    assert page.turn is not None


@pytest.mark.parametrize("notices", ["by looking", "as a page fails", "as a batch fails"])
async def test_a_server_that_began_in_format_1_notices(
    database: SecretUrl,
    open_store: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
    notices: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(record_format, "LOOK_SECONDS", 0.02)
    await make_before(database, PARTITIONS)
    await migrate(database)
    store = open_store(PostgresMessageStore(database, "ws-1"))
    assert await owed(store, "bob") == []
    watching = asyncio.create_task(store.format.watch()) if notices == "by looking" else None
    await go_round()
    assert store.record_version == 1
    assert await go_over(database, Quiet())
    if watching:
        await until(lambda: store.record_version == 2, "it has seen it")
        assert not watching.done()
        watching.cancel()
    elif notices == "as a page fails":
        assert await owed(store, "bob") == []
    else:
        assert await store.apply([Batch(0, 0, 1, (message(1, 0),))])
    assert store.record_version == 2
    assert store.health() is None


async def test_a_table_that_is_missing_for_another_reason_is_trouble(
    database: SecretUrl, open_store: Callable[[Any], Any]
) -> None:
    await make_before(database, PARTITIONS)
    await migrate(database)
    store = open_store(PostgresMessageStore(database, "ws-1"))
    await execute(database.reveal(), "ALTER TABLE deliveries RENAME TO elsewhere")
    with pytest.raises(StoreUnavailable, match="42P01"):
        await store.apply([Batch(0, 0, 1)])
    assert store.record_version == 1


async def restore(postgres: PostgresServer, database: SecretUrl) -> None:
    """Put the database in the place of which there is a copy; nobody is connected any more."""
    name = database.reveal().rpartition("/")[2]
    await execute(postgres.url, f"DROP DATABASE {name} WITH (FORCE)")
    await execute(postgres.url, f"CREATE DATABASE {name} TEMPLATE {name}_backup")


@pytest.fixture
async def backup(postgres: PostgresServer, database: SecretUrl) -> AsyncIterator[None]:
    """A copy of the database in format 1, with a message."""
    await make_before(database, PARTITIONS)
    await migrate(database)
    store = PostgresMessageStore(database, "ws-1")
    assert await store.apply([Batch(0, 0, 1, (message(1, 0),))])
    await store.close()
    name = database.reveal().rpartition("/")[2]
    closed = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    await until_equal(lambda: fetch(database.reveal(), closed), [(1,)])
    await execute(postgres.url, f"CREATE DATABASE {name}_backup TEMPLATE {name}")
    yield
    await execute(postgres.url, f"DROP DATABASE {name}_backup WITH (FORCE)")


@pytest.mark.usefixtures("backup")
@pytest.mark.parametrize("has_columns", [False, True], ids=["as it was", "half gone over"])
async def test_a_server_notices_that_the_store_is_back_in_format_1(
    postgres: PostgresServer,
    database: SecretUrl,
    open_store: Callable[[Any], Any],
    has_columns: bool,
) -> None:
    """Records stay in version 2: the log has some. The writer waits, and skips none."""
    store = open_store(PostgresMessageStore(database, "ws-1"))
    assert await go_over(database, Quiet())
    begins = Batch(0, 1, 2, change=DeviceChange("bob", "phone", True, 1))
    assert await store.apply([begins])
    assert await owed(store, "bob") == [uuid(1)]
    await restore(postgres, database)
    if has_columns:
        await execute(database.reveal(), BEGIN_COLUMNS)
    # A mailbox that is asked for in format 2 would look empty.
    assert await owed(store, "bob") == [uuid(1)]
    assert await store.applied() == {0: 1, 1: 0, 2: 0}
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="run `landline migrate`"):
            await store.apply([begins])
    assert store.record_version == 2
    assert await fetch(database.reveal(), "SELECT count(*) FROM quarantine") == [(0,)]
    assert await go_over(database, Quiet())
    assert await store.apply([begins, Batch(0, 2, 3, (message(2, 2),))])
    [page] = await store.pending([PendingQuery(Mailbox("bob", "phone"), {}, 9)])
    assert [each.id for each in page.messages] == [uuid(1), uuid(2)]


async def test_a_writer_waits_for_format_2_however_often_it_tries(
    database: SecretUrl,
    open_store: Callable[[Any], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "_LAST_BACKOFF_SECONDS", 0.05)
    await make_before(database, 1)
    await migrate(database)
    store = open_store(PostgresMessageStore(database, "ws-1"))
    log_file = Database(tmp_path, lambda _trouble: None)
    log = SqliteEventLog(log_file)
    await append_all(log, [("bob", DeviceRecord("bob", "phone", True).encode_2())])
    tries = 0
    apply = store.apply

    async def count_tries(batches: Sequence[Batch]) -> bool:
        nonlocal tries
        tries += 1
        return bool(await apply(batches))

    monkeypatch.setattr(store, "apply", count_tries)
    working = writer.Writer(log, store)
    async with running(working.run()):
        await until(lambda: tries > 12, "it tries again and again")
        assert "run `landline migrate`" in str(working.trouble)
        assert not any((await store.applied()).values())
        assert await go_over(database, Quiet())
        await until(lambda: bool(working.applied.get(0)), "it goes on")
    await log_file.close()
    assert working.quarantined == 0
    rows = "SELECT user_name, device FROM devices WHERE device <> '*'"
    assert await fetch(database.reveal(), rows) == [("bob", "phone")]
