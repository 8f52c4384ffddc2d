"""Who reads conversations has lanes of their own: they hold up nobody, and nobody holds them up.
So have those who look up the members of rooms, and purging.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from contract.messages import ask, message
from landline.adapters.postgres import PostgresMessageStore, migrate
from landline.config.values import SecretUrl
from landline.errors import StoreUnavailable
from landline.model import (
    Batch,
    HistoryQuery,
    ListQuery,
    LogIdentity,
    Mailbox,
    Position,
    Receipt,
)
from landline_stack.postgres import PostgresServer
from support.faults import paused
from support.postgres import execute, fetch
from support.waiting import until, until_equal

pytestmark = pytest.mark.stack

SECONDS = 30.0
DIRECT = "dm:alice:bob"
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'landline-ws-1/2' AND wait_event_type = 'Lock'
"""
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'landline-ws-1/2'"


@pytest.fixture
async def store(patient_postgres: None, database: SecretUrl) -> AsyncIterator[PostgresMessageStore]:
    await migrate(database)
    store = PostgresMessageStore(database, "ws-1")
    await store.adopt(LogIdentity("cluster", "topic", 1))
    assert await store.apply([Batch(0, 0, 1, (message(1, 0),))])
    yield store
    await store.close()


@asynccontextmanager
async def locked(database: SecretUrl, table: str) -> AsyncIterator[None]:
    """Let nobody at a table meanwhile."""
    connection = await asyncpg.connect(database.reveal())
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table}")
            yield
    finally:
        await connection.close()


def questions(store: PostgresMessageStore) -> list[Callable[[], Awaitable[object]]]:
    """Return what people ask."""
    conversations = store.conversations
    return [
        lambda: conversations.list(ListQuery("bob", None, 10)),
        lambda: conversations.history(HistoryQuery("bob", DIRECT, None, None, 10)),
        lambda: conversations.history(HistoryQuery("bob", DIRECT, None, 0, 10)),
        lambda: conversations.members("bob", DIRECT),
        lambda: conversations.statuses("alice", [message(1, 0).id]),
    ]


async def test_who_waits_for_a_conversation_holds_up_nobody_else(
    store: PostgresMessageStore, database: SecretUrl
) -> None:
    async with locked(database, "former_members"):
        reading = [
            asyncio.ensure_future(
                store.conversations.history(HistoryQuery("bob", DIRECT, None, None, 10))
            )
            for _ in range(5)
        ]
        await until_equal(lambda: fetch(database.reveal(), WAITING), [(2,)])
        async with asyncio.timeout(SECONDS):
            assert await store.apply([Batch(0, 1, 2, (message(2, 1),))])
            assert len((await ask(store)).messages) == 2
            assert await store.find([message(2, 1).id])
            assert await store.conversations.rooms([DIRECT]) == {}
        assert not any(each.done() for each in reading)
    pages = await asyncio.gather(*reading)
    assert [len(page.messages) for page in pages if page] == [2] * 5


async def test_who_waits_for_replay_or_the_writer_holds_up_nobody_who_reads(
    store: PostgresMessageStore, database: SecretUrl
) -> None:
    async with locked(database, "pending"):
        others = [asyncio.ensure_future(ask(store)) for _ in range(9)]
        applying = asyncio.ensure_future(store.apply([Batch(0, 1, 2, (message(2, 1),))]))
        await until_equal(lambda: fetch(database.reveal(), WAITING), [(6,)])
        async with asyncio.timeout(SECONDS):
            for ask_them in questions(store)[:-1]:  # a status is what is pending
                await ask_them()
            assert await store.conversations.rooms([DIRECT]) == {}
        assert not any(each.done() for each in (applying, *others))
    assert await applying
    await asyncio.gather(*others)


async def test_what_takes_too_long_is_given_up_and_health_does_not_depend_on_it(
    store: PostgresMessageStore, database: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.conversations, "_deadline_seconds", 0.5)
    async with locked(database, "conversations"):
        async with asyncio.timeout(SECONDS):
            outcomes = await asyncio.gather(
                *(each() for each in questions(store)), return_exceptions=True
            )
        assert [type(each) for each in outcomes] == [StoreUnavailable] * len(outcomes)
        assert store.health() is None
        assert len((await ask(store)).messages) == 1
    monkeypatch.setattr(store.conversations, "_deadline_seconds", SECONDS)
    for each in questions(store):
        await each()


async def test_a_server_that_is_paused_hangs_nobody_who_reads(
    store: PostgresMessageStore,
    postgres: PostgresServer,
    database: SecretUrl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = asyncio.all_tasks()
    for _ in range(2):  # the format is looked at again once a connection is new
        await asyncio.gather(*(each() for each in questions(store)))
    with monkeypatch.context() as hurry:
        hurry.setattr(store.conversations, "_deadline_seconds", 0.5)
        async with paused(postgres), asyncio.timeout(SECONDS):
            for _ in range(2):  # on connections that were open, then on ones that cannot be opened
                outcomes = await asyncio.gather(
                    *(each() for each in questions(store)), return_exceptions=True
                )
                assert [type(each) for each in outcomes] == [StoreUnavailable] * len(outcomes)
    for each in questions(store):
        await each()
    await until(lambda: asyncio.all_tasks() <= tasks, "no task of ours is left")
    await store.close()
    await until_equal(lambda: fetch(database.reveal(), CONNECTIONS), [(0,)])
    for each in (*questions(store), lambda: store.conversations.rooms([DIRECT])):
        with pytest.raises(StoreUnavailable, match="closed"):
            await each()


async def test_who_sends_to_a_room_does_not_wait_for_long_and_health_says_why(
    store: PostgresMessageStore, database: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with locked(database, "members"):
        with monkeypatch.context() as hurry:
            hurry.setattr(store._rooms, "_deadline_seconds", 0.5)
            async with asyncio.timeout(SECONDS):
                with pytest.raises(StoreUnavailable, match="in time"):
                    await store.conversations.rooms([DIRECT])
                assert store.health() == "PostgreSQL does not answer in time"
    await until(lambda: store.health() is None, "it is found out that it works again")
    assert await store.conversations.rooms([DIRECT]) == {}


async def test_purging_holds_up_nobody(store: PostgresMessageStore, database: SecretUrl) -> None:
    begin = Position(0, -1)
    bobs = Receipt(message(1, 0).id, Mailbox("bob"), "2026", 1)
    assert await store.apply([Batch(0, 1, 2, (), (bobs,))])
    async with locked(database, "purged IN SHARE MODE"):
        purging = asyncio.ensure_future(store.purge(2**42, begin, 10))
        await until_equal(lambda: fetch(database.reveal(), WAITING), [(1,)])
        async with asyncio.timeout(SECONDS):
            assert await store.apply([Batch(0, 2, 3, (message(2, 2),))])
            assert len((await ask(store)).messages) == 1
            assert await store.conversations.rooms([DIRECT]) == {}
            for each in questions(store):
                await each()
        assert not purging.done()
    assert await purging == (1, Position(0, 2))


async def test_what_purging_runs_into_is_no_trouble_of_the_store(
    store: PostgresMessageStore, database: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._purger, "_deadline_seconds", 0.5)
    async with locked(database, "outsiders"), asyncio.timeout(SECONDS):
        with pytest.raises(StoreUnavailable, match="in time"):
            await store.purge(2**42, Position(0, -1), 10)
        assert store.health() is None


async def test_before_the_cluster_has_gone_over_it_is_said_what_has_to_be_run(
    store: PostgresMessageStore, database: SecretUrl
) -> None:
    await execute(database.reveal(), "UPDATE record_format SET format = 1")
    before = PostgresMessageStore(database, "ws-2")
    asked = questions(before)
    asked.append(lambda: before.conversations.rooms([DIRECT]))
    for each in asked:
        with pytest.raises(StoreUnavailable, match="`landline migrate`"):
            await each()
    await execute(database.reveal(), "UPDATE record_format SET format = 2")
    for each in asked:
        await each()
    await before.close()
