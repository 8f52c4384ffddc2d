"""The PostgreSQL store when the server, or the line to it, fails: never a hang, never a loss."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from landline.adapters.postgres import PostgresMessageStore, migrate
from landline.config.values import SecretUrl
from landline.errors import StoreUnavailable, Unstorable
from landline.model import (
    Batch,
    LogIdentity,
    Mailbox,
    Message,
    PendingQuery,
    Position,
    Receipt,
)
from landline_stack.postgres import PostgresServer
from landline_stack.proxy import Proxy
from support.faults import paused
from support.postgres import execute, fetch
from support.waiting import go_round, until, until_equal

pytestmark = pytest.mark.stack

SECONDS = 30.0
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'landline-ws-1/2'"


def message(number: int, offset: int, *, partition: int = 0, content: str = "hello") -> Message:
    id = f"{number:08x}-0000-8000-8000-00000000c0de"
    position = Position(partition, offset)
    return Message(id, "dm:alice:bob", "alice", ("bob",), content, position, 1_767_323_045_678)


async def owed(store: PostgresMessageStore, user: str = "bob") -> int:
    return len((await store.pending([PendingQuery(Mailbox(user), {}, 1_000)]))[0].messages)


@pytest.fixture
async def make_store(
    patient_postgres: None, database: SecretUrl
) -> AsyncIterator[Callable[[SecretUrl], Awaitable[PostgresMessageStore]]]:
    """Makes stores on the test's own database, through whatever line the URL names."""
    await migrate(database)
    opened = []

    async def make(url: SecretUrl) -> PostgresMessageStore:
        store = PostgresMessageStore(url, "ws-1")
        opened.append(store)
        await store.adopt(LogIdentity("cluster", "topic", 2))
        return store

    yield make
    for store in opened:
        await store.close()


@pytest.fixture
async def store(
    make_store: Callable[[SecretUrl], Awaitable[PostgresMessageStore]], database: SecretUrl
) -> PostgresMessageStore:
    return await make_store(database)


@asynccontextmanager
async def hurried(store: PostgresMessageStore) -> AsyncIterator[None]:
    """Have it deadlines that a test can wait for, during the block alone."""
    with pytest.MonkeyPatch.context() as patch:
        for each in store._lanes:
            patch.setattr(each, "_deadline_seconds", 0.5)
        yield


def calls(store: PostgresMessageStore) -> dict[str, Callable[[], Awaitable[object]]]:
    return {
        "apply": lambda: store.apply([Batch(0, 0, 1, (message(1, 0),))]),
        "applied": store.applied,
        "wait_applied": lambda: store.wait_applied({0: 1}),
        "pending": lambda: owed(store),
        "find": lambda: store.find([message(1, 0).id]),
        "identity": store.identity,
    }


# --- the server ----------------------------------------------------------------------------------


async def test_a_server_that_is_paused_hangs_nobody_and_leaks_nothing(
    postgres: PostgresServer, store: PostgresMessageStore, database: SecretUrl
) -> None:
    await asyncio.gather(owed(store), store.applied())  # every lane is open
    tasks = asyncio.all_tasks()
    async with paused(postgres), hurried(store):
        for _ in range(3):  # on connections that were open, then on ones that cannot be opened
            async with asyncio.timeout(SECONDS):
                outcomes = await asyncio.gather(
                    *(call() for call in calls(store).values()), return_exceptions=True
                )
            assert [type(each) for each in outcomes] == [StoreUnavailable] * len(outcomes)
            assert store.health() is not None
        given_up = asyncio.ensure_future(store.wait_applied({0: 9}))
        await go_round()
        given_up.cancel()
    await until(lambda: store.health() is None, "it works by itself, although nobody asks")
    assert await store.apply([Batch(0, (await store.applied())[0], 5)])
    assert await owed(store) in (0, 1)
    await until_equal(lambda: fetch(database.reveal(), CONNECTIONS), [(3,)])
    await until(lambda: asyncio.all_tasks() <= tasks, "no task of ours is left")


async def test_a_store_closed_under_its_callers_tells_them_and_leaves_nothing(
    store: PostgresMessageStore, database: SecretUrl
) -> None:
    tasks = asyncio.all_tasks()
    asked = [call() for call in calls(store).values()] + [store.wait_applied({0: 9})]
    callers = [asyncio.ensure_future(each) for each in asked]
    await go_round()
    await store.close()
    async with asyncio.timeout(SECONDS):
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(outcomes[-1], StoreUnavailable)
        for call in calls(store).values():
            with pytest.raises(StoreUnavailable, match="closed"):
                await call()
    assert asyncio.all_tasks() <= tasks
    await until_equal(lambda: fetch(database.reveal(), CONNECTIONS), [(0,)])


async def test_a_server_that_is_killed_and_comes_back_lost_nothing(
    postgres: PostgresServer, store: PostgresMessageStore
) -> None:
    is_busy = asyncio.Event()

    async def write() -> None:
        applied = 0
        while applied < 60:
            if applied == 20:
                is_busy.set()
            try:
                applied = (await store.applied())[0]
                batch = Batch(0, applied, applied + 1, (message(applied, applied),))
                if await store.apply([batch]):
                    applied += 1
            except StoreUnavailable:
                await until(lambda: store.health() is None, "it is back")

    async with asyncio.timeout(SECONDS):
        writing = asyncio.ensure_future(write())
        try:
            await is_busy.wait()
            postgres.kill()
        finally:
            await asyncio.to_thread(postgres.start)
        await writing
    assert await owed(store) == 60
    assert (await store.applied())[0] == 60


async def test_a_restart_between_two_calls_is_not_noticed(
    postgres: PostgresServer, store: PostgresMessageStore
) -> None:
    await asyncio.gather(owed(store), store.applied())
    await asyncio.to_thread(postgres.restart)
    assert await store.apply([Batch(0, 0, 1, (message(1, 0),))])
    assert await owed(store) == 1


async def test_a_restored_backup_is_brought_up_again_from_the_log(
    postgres: PostgresServer, store: PostgresMessageStore, database: SecretUrl
) -> None:
    """The store believes the database, not its own memory of it."""
    name = database.reveal().rpartition("/")[2]
    assert await store.apply([Batch(0, 0, 10, (message(1, 3),))])
    await execute(
        postgres.url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
        name,
    )
    await execute(postgres.url, f"CREATE DATABASE {name}_backup TEMPLATE {name}")
    assert await store.apply([Batch(0, 10, 20, (message(2, 13),))])
    assert (await store.wait_applied({0: 20}))[0] == 20
    await execute(postgres.url, f"DROP DATABASE {name} WITH (FORCE)")
    await execute(postgres.url, f"ALTER DATABASE {name}_backup RENAME TO {name}")
    waiting = asyncio.ensure_future(store.wait_applied({0: 20}))
    assert (await store.applied())[0] == 10
    assert not await store.apply([Batch(0, 20, 30, (message(3, 23),))])
    assert not waiting.done()
    assert await store.apply([Batch(0, 10, 20, (message(2, 13),))])
    async with asyncio.timeout(SECONDS):
        assert (await waiting)[0] == 20
    assert await owed(store) == 2


# --- the line ------------------------------------------------------------------------------------


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[Proxy]:
    with Proxy("postgres", postgres.port) as proxy:
        yield proxy


@pytest.fixture
async def distant(
    make_store: Callable[[SecretUrl], Awaitable[PostgresMessageStore]],
    database: SecretUrl,
    postgres: PostgresServer,
    proxy: Proxy,
) -> PostgresMessageStore:
    """A store at the other end of the line; its statement is prepared, so one message is enough."""
    url = database.reveal().replace(f":{postgres.port}/", f":{proxy.port}/")
    store = await make_store(SecretUrl(url))
    assert await store.apply([Batch(1, 0, 1)])
    return store


async def test_a_line_cut_after_the_commit_was_sent_leaves_the_answer_to_the_store(
    store: PostgresMessageStore, distant: PostgresMessageStore, proxy: Proxy
) -> None:
    batch = Batch(
        0, 0, 1, (message(1, 0),), (Receipt(message(1, 0).id, Mailbox("eve"), "2026", 0),)
    )
    proxy.hold_answers()
    applying = asyncio.ensure_future(distant.apply([batch]))
    async with asyncio.timeout(SECONDS):
        await store.wait_applied({0: 1})
        assert not applying.done()
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            await applying
    assert (await store.applied())[0] == 1
    assert not await distant.apply([batch])
    assert await owed(distant) == 1


async def test_a_line_cut_before_the_statement_arrived_leaves_nothing_behind(
    store: PostgresMessageStore, distant: PostgresMessageStore, proxy: Proxy
) -> None:
    batch = Batch(0, 0, 1, (message(1, 0),))
    proxy.hold_questions()
    applying = asyncio.ensure_future(distant.apply([batch]))
    async with asyncio.timeout(SECONDS):
        await asyncio.to_thread(proxy.has_held.wait)
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            await applying
    assert (await store.applied())[0] == 0
    assert await distant.apply([batch])


async def test_a_writer_that_stands_still_holds_no_lock(
    store: PostgresMessageStore, distant: PostgresMessageStore, proxy: Proxy
) -> None:
    """One that was stopped in the middle of `apply` hears nothing of its end; others go on."""
    proxy.hold_answers()
    stopped = asyncio.ensure_future(distant.apply([Batch(0, 0, 1, (message(1, 0),))]))
    async with asyncio.timeout(SECONDS):
        await store.wait_applied({0: 1})
        assert await store.apply([Batch(0, 1, 2, (message(1, 0), message(2, 1)))])
    assert not stopped.done()
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped


# --- what PostgreSQL says ------------------------------------------------------------------------

_FAIL = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.content = 'bad' THEN
            RAISE EXCEPTION 'as the test wants it' USING ERRCODE = '{}', DETAIL = NEW.content;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER fail BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION fail();
"""

TRANSIENT = {
    "deadlock": "40P01",
    "serialization": "40001",
    "read only": "25006",
    "disk full": "53100",
    "out of memory": "53200",
    "too many connections": "53300",
    "shutdown": "57P01",
    "crash": "57P02",
    "statement timeout": "57014",
    "lock timeout": "55P03",
    "rights": "42501",
    "no table": "42P01",
    "stack depth": "54001",
    "input/output": "58030",
    "corrupted": "XX001",
    "raised": "P0001",
    "another encoding": "22P05",
    "unknown": "ZZ999",
}
REFUSED = {
    "text": "22021",
    "too long": "22001",
    "number": "22003",
    "check": "23514",
    "not null": "23502",
    "index row": "54000",
}


@pytest.mark.parametrize("code", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_what_may_pass_is_never_blamed_on_the_data(
    store: PostgresMessageStore, database: SecretUrl, code: str
) -> None:
    await execute(database.reveal(), _FAIL.format(code))
    with pytest.raises(StoreUnavailable, match=code):
        await store.apply([Batch(0, 0, 1, (message(1, 0, content="bad"),))])
    assert store.health() is not None
    assert (await store.applied())[0] == 0
    assert await store.apply([Batch(0, 0, 1, (message(1, 0),))])
    assert store.health() is None


@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED.keys())
async def test_what_can_never_be_stored_is_refused_and_nothing_was_changed(
    store: PostgresMessageStore, database: SecretUrl, code: str
) -> None:
    await execute(database.reveal(), _FAIL.format(code))
    bad = Batch(1, 0, 1, (message(2, 0, partition=1, content="bad"),))
    with pytest.raises(Unstorable) as refusal:
        await store.apply([Batch(0, 0, 1, (message(1, 0),)), bad])
    assert "DETAIL" not in str(refusal.value)
    assert store.health() is None
    assert await store.applied() == {0: 0, 1: 0}
    assert await owed(store) == 0


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"], ids=["nul", "surrogate"])
async def test_text_that_cannot_be_kept_is_refused(store: PostgresMessageStore, text: str) -> None:
    """No validator lets such text through; should one do so, the writer must hear of it."""
    with pytest.raises(Unstorable) as refusal:
        await store.apply([Batch(0, 0, 1, (message(1, 0, content=f"secret {text}"),))])
    assert "secret" not in str(refusal.value)
    assert (await store.applied())[0] == 0


_SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(0.003); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON {0} FOR EACH ROW EXECUTE FUNCTION slow();
"""


@pytest.mark.parametrize("table", ["messages", "conversations", "devices", "pending"])
async def test_writers_that_touch_the_same_rows_in_opposite_order_do_not_fail(
    make_store: Callable[[SecretUrl], Awaitable[PostgresMessageStore]],
    database: SecretUrl,
    table: str,
) -> None:
    """Each row takes a while, so without an order of their own the two would surely meet."""
    await execute(database.reveal(), _SLOW.format(table))
    one, other = await make_store(database), await make_store(database)
    for start in range(0, 60, 20):
        numbers = range(start, start + 20)
        users = [f"user{number}" for number in numbers]
        rows = [
            [
                Message(
                    message(number, 0).id,
                    f"dm:alice:{user}",
                    "alice",
                    (user,),
                    "hello",
                    Position(partition, start + place),
                    1_767_323_045_678,
                )
                for place, (number, user) in enumerate(
                    list(zip(numbers, users, strict=True))[::way]
                )
            ]
            for partition, way in ((0, 1), (1, -1))
        ]
        batches = [Batch(p, start, start + 20, tuple(rows[p])) for p in (0, 1)]
        assert all(await asyncio.gather(one.apply(batches[:1]), other.apply(batches[1:])))
        assert [await owed(one, user) for user in users] == [1] * 20


async def test_a_store_s_own_writer_wakes_those_who_wait(
    store: PostgresMessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline.adapters.postgres.applied_poller.POLL_SECONDS", 10 * SECONDS)
    waiting = asyncio.ensure_future(store.wait_applied({0: 1}))
    await go_round()
    assert await store.apply([Batch(0, 0, 1)])
    async with asyncio.timeout(SECONDS):
        assert (await waiting)[0] == 1
