"""What is checked and done to PostgreSQL before a server starts, and which log it belongs to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from landline.adapters.postgres import (
    PostgresMessageStore,
    check,
    collation_change,
    migrate,
)
from landline.adapters.postgres.lane import connect
from landline.adapters.postgres.migrations import POSTGRES_SCHEMA_VERSION
from landline.config.values import SecretUrl
from landline.errors import StartupError, StoreUnavailable
from landline.model import (
    FIRST_TURN,
    Batch,
    DeviceChange,
    EventKind,
    History,
    LogIdentity,
    Mailbox,
    MemberChange,
    MemberStep,
    Message,
    PendingQuery,
    Position,
    Quarantined,
    Read,
    Receipt,
    Role,
    RoomChange,
    Turn,
)
from landline_stack.ports import free_port
from landline_stack.postgres import PostgresServer
from support.faults import paused
from support.hosts import NO_SUCH_HOST, know_no_such_host
from support.postgres import execute, fetch

pytestmark = pytest.mark.stack

PASSWORD = "correct-horse"
LOG = LogIdentity("cluster", "topic", 3)


def with_user(url: SecretUrl, user: str) -> SecretUrl:
    parts = urlsplit(url.reveal())
    host = parts.netloc.rpartition("@")[2]
    return SecretUrl(parts._replace(netloc=f"{user}:{PASSWORD}@{host}").geturl())


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda url: url.replace(old, new)


@pytest.fixture
async def guest(postgres: PostgresServer, database: SecretUrl) -> AsyncIterator[SecretUrl]:
    """A user of the database who may do nothing in it but connect."""
    name = "guest_" + database.reveal().rpartition("_")[2]
    await execute(postgres.url, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield with_user(database, name)
    await execute(database.reveal(), f"DROP OWNED BY {name}")
    await execute(postgres.url, f"DROP ROLE {name}")


async def refusal(url: SecretUrl) -> str:
    """Return what `check` says of a server that cannot be used; it never tells the password."""
    with pytest.raises(StartupError) as error:
        await check(url)
    sentence = str(error.value)
    assert sentence.startswith("--postgres postgresql://")
    assert "\n" not in sentence
    password = urlsplit(url.reveal()).password
    assert password is None or password not in sentence
    return sentence


# --- preflight -----------------------------------------------------------------------------------


async def test_a_good_server_passes_before_and_after_its_migration(database: SecretUrl) -> None:
    assert await check(database) == []
    assert await migrate(database) == POSTGRES_SCHEMA_VERSION
    assert await check(database) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (replaced("127.0.0.1", NO_SUCH_HOST), "host is unknown"),
        (lambda url: url.replace(str(urlsplit(url).port), str(free_port())), "nothing listens"),
        (
            lambda url: url.replace(urlsplit(url).password or "", "guessed"),
            "wrong user name or pass",
        ),
        (lambda url: url.replace("landline:", "nobody_here:"), "wrong user name or password"),
        (lambda url: f"{url}_missing", "no such database"),
        (lambda url: f"{url}?sslmode=require", "no TLS connection"),
        (lambda url: f"{url}?sslmode=verify-full&sslrootcert=/no/such", "certificate is not where"),
        (lambda _url: "postgresql:///landline?host=/no/such/socket", "socket or a certificate"),
        (replaced("@127.0.0.1:", "@127.0.0.1:x"), "not a URL that can be used"),
    ],
    ids=["host", "port", "password", "user", "database", "tls", "root", "socket", "url"],
)
async def test_a_server_that_cannot_be_reached_is_named_with_the_reason(
    database: SecretUrl,
    change: Callable[[str], str],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    know_no_such_host(monkeypatch)
    assert problem in await refusal(SecretUrl(change(database.reveal())))


async def test_a_server_that_does_not_answer_is_given_up(
    postgres: PostgresServer, database: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline.adapters.postgres.lane.LANE_CONNECT_SECONDS", 0.3)
    async with paused(postgres):
        assert "no answer" in await refusal(database)


async def test_a_user_who_may_not_make_or_write_the_tables_is_told_so(
    database: SecretUrl, guest: SecretUrl
) -> None:
    user = urlsplit(guest.reveal()).username
    assert "may not create tables" in await refusal(guest)
    with pytest.raises(StartupError, match="permission denied"):
        await migrate(guest)
    await migrate(database)
    assert "permission denied for table landline_schema" in await refusal(guest)
    await execute(database.reveal(), f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")
    assert "may not read and write messages, conversations, members" in await refusal(guest)
    await execute(
        database.reveal(), f"GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {user}"
    )
    emptied = "members, devices, pending"
    assert f"DELETE on {emptied}" in await refusal(guest)
    await execute(database.reveal(), f"GRANT DELETE ON {emptied} TO {user}")
    assert await check(guest) == []
    with pytest.raises(StartupError, match=r"DELETE on messages$"):
        await check(guest, purges=True)
    await execute(database.reveal(), f"GRANT DELETE ON messages TO {user}")
    assert await check(guest, purges=True) == []
    assert await migrate(guest) == 0
    store = PostgresMessageStore(guest, "ws-1")  # no right to create, nor to sequences
    assert await store.adopt(LOG) == LOG
    await _use_everything(store)
    await store.close()


async def _use_everything(store: PostgresMessageStore) -> None:
    """Have rows come and go in every table."""
    room = "room:00000001-0000-8000-8000-0000000000aa"

    def event(number: int, conversation: str, *to: str, kind: EventKind) -> Message:
        id = f"{number:08x}-0000-8000-8000-00000000c0de"
        text = "x" if kind is EventKind.MESSAGE else ""
        return Message(id, conversation, "al", to, text, Position(0, number), 1, kind)

    made = event(0, room, kind=EventKind.ROOM)
    left = event(1, room, kind=EventKind.MEMBER)
    sent = event(2, "dm:al:bob", "bob", kind=EventKind.MESSAGE)
    change = RoomChange(room, None, History.ALL, ("al", "bob"))
    leave = MemberChange(room, "bob", MemberStep.REMOVE, Role.MEMBER)
    received = Receipt(sent.id, Mailbox("bob", "phone"), "2026", 5)
    seen = Read("dm:al:bob", "bob", 2)
    bad = Quarantined(Position(0, 6), b"?", "bad")
    assert await store.apply(
        [
            Batch(0, 0, 1, (made,), change=change),
            Batch(0, 1, 2, (left,), change=leave),
            Batch(0, 2, 3, (sent,)),
            Batch(0, 3, 4, change=DeviceChange("bob", "phone", True, 3)),
            Batch(0, 4, 5, change=DeviceChange("bob", "phone", False, 4)),
            Batch(0, 5, 7, (), (received,), (bad,), (seen,)),
        ]
    )
    assert await store.purge(10, Position(0, -1), 10) == (3, Position(0, 2))
    for turn in (None, FIRST_TURN):
        [page] = await store.pending([PendingQuery(Mailbox("al"), {}, 9, turn)])
        assert page.messages == ()


async def test_a_standby_or_read_only_server_is_refused(
    postgres: PostgresServer, database: SecretUrl
) -> None:
    name = database.reveal().rpartition("/")[2]
    await execute(postgres.url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "standby or read-only" in await refusal(database)


async def test_another_encoding_is_refused(postgres: PostgresServer, database: SecretUrl) -> None:
    name = database.reveal().rpartition("/")[2]
    await execute(postgres.url, f"DROP DATABASE {name}")
    await execute(
        postgres.url,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII'"
        " LOCALE_PROVIDER libc LOCALE 'C'",
    )
    assert "encoded in SQL_ASCII" in await refusal(database)


async def test_an_old_server_is_refused(
    database: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline.adapters.postgres.preflight.OLDEST_SERVER", 99)
    assert "needs 99 or newer" in await refusal(database)


async def test_a_collation_that_changed_under_the_indexes_is_named_with_what_to_run(
    postgres: PostgresServer, database: SecretUrl
) -> None:
    name = database.reveal().rpartition("/")[2]
    assert await collation_change(database) is None
    await execute(
        postgres.url, "UPDATE pg_database SET datcollversion = '0' WHERE datname = $1", name
    )
    line = await collation_change(database)
    assert line is not None
    assert "is at version 1, its indexes may be sorted by version 0" in line
    for statement in (each.partition(";")[0] for each in line.split(": ")[-1].split("; then ")):
        await execute(database.reveal(), statement)
    assert await collation_change(database) is None
    await execute(
        postgres.url, "UPDATE pg_database SET datcollversion = NULL WHERE datname = $1", name
    )
    assert await collation_change(database) is None  # nobody wrote down what it was


async def test_commits_that_may_be_forgotten_break_the_promise(
    postgres: PostgresServer, database: SecretUrl
) -> None:
    await migrate(database)
    name = database.reveal().rpartition("/")[2]
    await execute(postgres.url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    [line] = await check(database)
    assert "synchronous_commit is off" in line
    store = PostgresMessageStore(database, "ws-1")
    with pytest.raises(StoreUnavailable, match="synchronous_commit"):
        await store.apply([Batch(0, 0, 1)])
    await store.close()
    store = PostgresMessageStore(database, "ws-1", allow_unsafe=True)
    assert await store.apply([Batch(0, 0, 1)])
    assert await store.purge(1, Position(0, -1), 10) == (0, None)
    await store.close()
    store = PostgresMessageStore(database, "ws-1")
    with pytest.raises(StoreUnavailable, match="synchronous_commit"):
        await store.purge(1, Position(0, -1), 10)
    await store.close()


async def test_sessions_bear_their_server_s_name_and_their_deadlines(database: SecretUrl) -> None:
    connection = await connect(database, "landline-ws-1", 8.0)
    names = ["application_name", "statement_timeout", "lock_timeout", "synchronous_commit"]
    names += ["idle_in_transaction_session_timeout", "tcp_user_timeout", "tcp_keepalives_idle"]
    shown = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
    await connection.close()
    assert shown == ["landline-ws-1", "8s", "8s", "on", "20s", "20000", "10"]


@pytest.mark.parametrize("of", ["DATABASE", "ROLE"])
async def test_settings_of_a_role_or_database_do_not_change_what_is_stored(
    postgres: PostgresServer, database: SecretUrl, guest: SecretUrl, of: str
) -> None:
    await migrate(database)
    user, name = urlsplit(guest.reveal()).username, database.reveal().rpartition("/")[2]
    whose = name if of == "DATABASE" else user
    await execute(database.reveal(), f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}")
    for setting in (
        "client_encoding = 'latin1'",
        "standard_conforming_strings = off",
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = 'sql_standard'",
        "TimeZone = 'Asia/Kathmandu'",
        "statement_timeout = 1",
        "lock_timeout = 1",
        "idle_session_timeout = 1",
    ):
        await execute(postgres.url, f"ALTER {of} {whose} SET {setting}")
    try:
        assert await check(guest) == []
        await _keep_text(guest)
    finally:
        await execute(postgres.url, f"ALTER {of} {whose} RESET ALL")


async def _keep_text(guest: SecretUrl) -> None:
    store = PostgresMessageStore(guest, "ws-1")
    await store.adopt(LOG)
    id = "0" * 8 + "-0000-8000-8000-00000000c0de"
    sent = Message(id, "c", "a", ("bob",), "done \u2713 \\n", Position(0, 0), 1_767_323_045_678)
    assert await store.apply([Batch(0, 0, 1, (sent,))])
    [pending] = await store.pending([PendingQuery(Mailbox("bob"), {}, 9)])
    await store.close()
    assert pending.messages == (sent,)


async def test_a_session_with_another_encoding_is_not_used(
    database: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pooler may hand one out, whatever was asked for."""
    await migrate(database)
    connecting = asyncpg.connect

    async def pooled(*arguments: Any, server_settings: dict[str, str], **named: Any) -> Any:
        server_settings["client_encoding"] = "LATIN1"
        return await connecting(*arguments, server_settings=server_settings, **named)

    monkeypatch.setattr(asyncpg, "connect", pooled)
    assert "client_encoding is LATIN1 in its sessions, not UTF8; connect" in await refusal(database)
    store = PostgresMessageStore(database, "ws-1")
    with pytest.raises(StoreUnavailable, match="client_encoding is LATIN1"):
        await store.apply([Batch(0, 0, 1)])
    await store.close()


async def test_the_schema_may_be_named_in_the_url(database: SecretUrl) -> None:
    await execute(database.reveal(), "CREATE SCHEMA chat")
    url = SecretUrl(f"{database.reveal()}?search_path=chat")
    assert await migrate(url) == POSTGRES_SCHEMA_VERSION
    assert await check(url) == []
    found = await fetch(database.reveal(), "SELECT to_regclass('chat.messages') IS NOT NULL")
    assert found == [(True,)]


# --- migrations ----------------------------------------------------------------------------------


async def test_servers_that_start_at_once_migrate_once(database: SecretUrl) -> None:
    counts = await asyncio.gather(*(migrate(database) for _ in range(6)))
    assert sorted(counts) == [0] * 5 + [POSTGRES_SCHEMA_VERSION]
    numbers = await fetch(database.reveal(), "SELECT number FROM landline_migrations ORDER BY 1")
    assert numbers == [(number,) for number in range(1, POSTGRES_SCHEMA_VERSION + 1)]


async def test_the_schema_of_a_newer_landline_is_refused(database: SecretUrl) -> None:
    await migrate(database)
    await execute(database.reveal(), "INSERT INTO landline_schema VALUES (999)")
    assert "newer Landline (schema 999" in await refusal(database)
    with pytest.raises(StartupError, match="newer Landline"):
        await migrate(database)


async def test_tables_of_another_program_are_left_alone(database: SecretUrl) -> None:
    await execute(database.reveal(), "CREATE TABLE deliveries (parcel text)")
    with pytest.raises(StartupError, match="tables of another program"):
        await migrate(database)
    tables = await fetch(
        database.reveal(), "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    assert tables == [("deliveries",)]


# --- which log -----------------------------------------------------------------------------------


@pytest.fixture
async def store(database: SecretUrl) -> AsyncIterator[PostgresMessageStore]:
    await migrate(database)
    store = PostgresMessageStore(database, "ws-1")
    yield store
    await store.close()


async def test_the_first_log_is_adopted_and_stays(store: PostgresMessageStore) -> None:
    other = LogIdentity("other", "topic", 9)
    assert await store.identity() is None
    assert await store.adopt(LOG) == LOG
    assert await store.applied() == {0: 0, 1: 0, 2: 0}
    assert await store.apply([Batch(1, 0, 7)])
    assert await store.adopt(other) == LOG
    assert await store.adopt(LOG) == LOG
    assert await store.identity() == LOG
    assert await store.applied() == {0: 0, 1: 7, 2: 0}


async def test_servers_that_start_at_once_adopt_one_log(
    store: PostgresMessageStore, database: SecretUrl
) -> None:
    stores = [PostgresMessageStore(database, f"ws-{n}") for n in range(4)]
    logs = [LogIdentity(f"cluster-{n}", "topic", 3) for n in range(4)]
    adopted = await asyncio.gather(
        *(each.adopt(log) for each, log in zip(stores, logs, strict=True))
    )
    assert set(adopted) == {await store.identity()}
    for each in stores:
        await each.close()


async def test_a_new_epoch_puts_every_partition_above_the_old_one(
    store: PostgresMessageStore,
) -> None:
    old = Message(
        "0" * 8 + "-0000-8000-8000-00000000c0de", "c", "a", ("bob",), "x", Position(0, 5), 1
    )
    await store.adopt(LOG)
    assert await store.apply([Batch(0, 0, 6, (old,)), Batch(2, 0, 1_000_000)])
    successor = LogIdentity("other", "again", 4, epoch=0)
    started = await store.start_new_epoch(successor)
    assert started == LogIdentity("other", "again", 4, epoch=1) == await store.identity()
    assert await store.applied() == dict.fromkeys(range(4), 1 << 40)
    assert await store.start_new_epoch(successor) == started  # twice is once
    assert not await store.apply([Batch(0, 6, 7)])
    assert await store.apply([Batch(0, started.base, started.base + 1)])
    # A partition that was added to the log since has no row, and stands at the start.
    assert not await store.apply([Batch(7, 0, 1)])
    assert await store.apply([Batch(7, started.base, started.base + 3)])
    [pending] = await store.pending([PendingQuery(Mailbox("bob"), {}, 9)])
    assert pending.messages == (old,)


async def test_in_a_log_that_has_grown_a_receipt_may_be_in_another_partition(
    store: PostgresMessageStore,
) -> None:
    """Its conversation went to another one; what was owed before would be owed for ever."""
    id = "0" * 8 + "-0000-8000-8000-00000000c0de"
    old = Message(id, "dm:a:bob", "a", ("bob",), "x", Position(2, 5), 1)
    await store.adopt(LOG)
    receipt = Receipt(id, Mailbox("bob"), "2026", 9)
    assert await store.apply([Batch(2, 0, 6, (old,)), Batch(0, 0, 10, (), (receipt,))])
    [pending] = await store.pending([PendingQuery(Mailbox("bob"), {}, 9)])
    assert pending.messages == (old,)  # in one log that is no receipt of it
    start = (await store.start_new_epoch(LOG)).base
    late = receipt._replace(offset=start)
    assert await store.apply([Batch(0, start, start + 1, (), (late,))])
    [pending] = await store.pending([PendingQuery(Mailbox("bob"), {}, 9)])
    assert pending.messages == ()


@pytest.mark.parametrize("turn", [None, FIRST_TURN], ids=["in order", "in turns"])
async def test_partitions_that_only_the_log_before_had_are_closed_to_nobody(
    store: PostgresMessageStore, turn: Turn | None
) -> None:
    """Nothing begins or ends there any more: a device could never be opened, nor could those that
    were open there ever leave the default mailbox.
    """
    await store.adopt(LOG)
    begins = [
        Batch(p, 0, 1, change=DeviceChange("bob", "phone", True, 0)) for p in range(LOG.partitions)
    ]
    assert await store.apply(begins)

    async def closed(device: str | None) -> frozenset[int]:
        [page] = await store.pending([PendingQuery(Mailbox("bob", device), {}, 9, turn)])
        return page.closed

    assert await closed(None) == await closed("laptop") == {0, 1, 2}
    base = (await store.start_new_epoch(LogIdentity("other", "again", 2))).base
    assert await closed(None) == await closed("laptop") == {0, 1}
    assert await closed("phone") == frozenset()
    ends = [
        Batch(p, base, base + 1, change=DeviceChange("bob", "phone", False, base)) for p in (0, 1)
    ]
    assert await store.apply(ends)
    assert await closed(None) == frozenset()
    assert await closed("phone") == {0, 1}
