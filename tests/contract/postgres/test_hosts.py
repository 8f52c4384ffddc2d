"""Several PostgreSQL hosts, the first of which is of no use: the next one is found all the same."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from landline.adapters.postgres import PostgresMessageStore, check, message_store, migrate
from landline.config.values import SecretUrl
from landline.errors import StartupError, StoreUnavailable
from landline.model import (
    Batch,
    LogIdentity,
    Mailbox,
    Message,
    PendingQuery,
    Position,
)
from landline_stack.ports import free_port
from landline_stack.postgres import PostgresServer
from support.faults import paused
from support.hosts import NO_SUCH_HOST, know_no_such_host
from support.postgres import execute
from support.waiting import until

pytestmark = pytest.mark.stack

SECONDS = 60.0
LOG = LogIdentity("cluster", "topic", 1)
Place = AbstractAsyncContextManager[str]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A second server. A test that pauses it leaves it running."""
    with PostgresServer(tmp_path_factory.mktemp("postgres-other")) as server:
        yield server


@pytest.fixture
async def twin(database: SecretUrl, other: PostgresServer) -> AsyncIterator[SecretUrl]:
    """The same database, user and password on the second server."""
    parts = urlsplit(database.reveal())
    name = parts.path.lstrip("/")
    await execute(other.url, f"ALTER ROLE landline PASSWORD '{parts.password}'")
    other._password_file.write_text(parts.password or "")
    await execute(other.url, f"CREATE DATABASE {name}")
    yield SecretUrl(other.database_url(name))
    await execute(other.url, f"DROP DATABASE {name} WITH (FORCE)")


def with_hosts(url: SecretUrl, *hosts: str) -> SecretUrl:
    """Return the URL with these hosts for its own."""
    parts = urlsplit(url.reveal())
    user = parts.netloc.rpartition("@")[0]
    return SecretUrl(parts._replace(netloc=f"{user}@{','.join(hosts)}").geturl())


def host_of(url: SecretUrl) -> str:
    return urlsplit(url.reveal()).netloc.rpartition("@")[2]


# --- hosts that are of no use --------------------------------------------------------------------


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that has no TLS and gives everybody the same answer, or none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        if answer:
            writer.write(b"N")
            await reader.read(1024)
            writer.write(answer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@asynccontextmanager
async def dropping() -> AsyncIterator[str]:
    """A port whose queue is full: the kernel drops what else would connect."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(sock.getsockname())
        yield f"127.0.0.1:{sock.getsockname()[1]}"
        for each in waiting:
            each.close()


@asynccontextmanager
async def named(host: str) -> AsyncIterator[str]:
    yield host


_STARTING = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"


@pytest.fixture
def useless(
    other: PostgresServer, twin: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Place]]:
    """Makes a host of some kind that will not do."""
    end = threading.Event()
    know_no_such_host(monkeypatch)
    resolve = socket.getaddrinfo

    def hanging(host: str, *args: object, **options: object) -> object:
        if host == "hangs.invalid":
            end.wait(SECONDS)
        return resolve(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", hanging)

    @asynccontextmanager
    async def paused() -> AsyncIterator[str]:
        other.pause()
        try:
            yield host_of(twin)
        finally:
            other.resume()

    @asynccontextmanager
    async def standby() -> AsyncIterator[str]:
        await execute(other.url, "ALTER ROLE landline SET default_transaction_read_only = on")
        try:
            yield host_of(twin)
        finally:
            undo = "ALTER ROLE landline RESET default_transaction_read_only"
            await execute(other.url, f"BEGIN READ WRITE; {undo}; COMMIT")

    kinds: dict[str, Callable[[], Place]] = {
        "paused": paused,
        "silent": lambda: answering(b""),
        "dropping": dropping,
        "refused": lambda: named(f"127.0.0.1:{free_port()}"),
        "unknown": lambda: named(f"{NO_SUCH_HOST}:5432"),
        "unresolved": lambda: named("hangs.invalid:5432"),
        "standby": standby,
        "starting": lambda: answering(b"E" + (len(_STARTING) + 4).to_bytes(4, "big") + _STARTING),
        "stranger": lambda: answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    }
    yield lambda kind: kinds[kind]()
    end.set()


KINDS = [
    "paused",
    "silent",
    "dropping",
    "refused",
    "unknown",
    "unresolved",
    "standby",
    "starting",
    "stranger",
]


# --- at the start --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 4])
async def test_a_start_finds_the_host_that_will_do(
    kind: str,
    count: int,
    useless: Callable[[str], Place],
    database: SecretUrl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind one or several of a kind that will not."""
    if kind != "paused":  # one kind is enough for the real time; each connection waits for it
        monkeypatch.setattr("landline.adapters.postgres.hosts.NEXT_SECONDS", 0.1)
    async with useless(kind) as host:
        url = with_hosts(database, *[host] * count, host_of(database))
        async with asyncio.timeout(SECONDS):
            assert await check(url) == []
            await migrate(url)
            store = PostgresMessageStore(url, "ws-1")
            assert await store.adopt(LOG) == LOG  # within the lane's own deadline
            await asyncio.gather(
                store.applied(), store.pending([PendingQuery(Mailbox("bob"), {}, 1)])
            )
            assert await store.apply([Batch(0, 0, 1)])
            await store.close()


async def test_a_start_that_finds_none_names_every_host(
    useless: Callable[[str], Place], database: SecretUrl
) -> None:
    async with useless("refused") as refused, useless("standby") as standby:
        with pytest.raises(StartupError) as error:
            await check(with_hosts(database, refused, standby))
    assert f"{refused}: nothing listens there" in str(error.value)
    assert f"{standby}: the server is a standby or read-only" in str(error.value)
    assert "start PostgreSQL" in str(error.value)
    assert (urlsplit(database.reveal()).password or "") not in str(error.value)


# --- while running -------------------------------------------------------------------------------


def wait_for_the_first(patch: pytest.MonkeyPatch) -> None:
    """Ask the next host only when this one has failed: a busy machine may be slow to connect."""
    for name in ("NEXT_SECONDS", "ALL_SECONDS"):
        patch.setattr(f"landline.adapters.postgres.hosts.{name}", SECONDS)
    patch.setattr("landline.adapters.postgres.lane.LANE_CONNECT_SECONDS", SECONDS)


@pytest.fixture
async def store(
    database: SecretUrl, twin: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PostgresMessageStore]:
    """A store of two hosts that uses the first one; both know the log."""
    for url in (database, twin):
        await migrate(url)
        alone = PostgresMessageStore(url, "ws-0")
        await alone.adopt(LOG)
        await alone.close()
    store = PostgresMessageStore(with_hosts(database, host_of(twin), host_of(database)), "ws-1")
    with monkeypatch.context() as patch:
        wait_for_the_first(patch)
        await asyncio.gather(store.applied(), store.pending([PendingQuery(Mailbox("bob"), {}, 1)]))
        assert await store.apply([Batch(0, 0, 1)])
    yield store
    await store.close()


@pytest.mark.parametrize("lane", ["writer", "replay", "asker"])
async def test_a_host_that_falls_silent_is_left_by_those_who_wait_for_it(
    lane: str,
    store: PostgresMessageStore,
    other: PostgresServer,
    database: SecretUrl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle of a call, long before its deadline; the other lanes follow."""
    call = {
        "writer": lambda: store.apply([Batch(0, 0, 2)]),
        "replay": lambda: store.pending([PendingQuery(Mailbox("bob"), {}, 1)]),
        "asker": store.applied,
    }[lane]
    for each in store._lanes:
        monkeypatch.setattr(each, "_deadline_seconds", 10 * SECONDS)
    async with paused(other):
        with capture_logs() as lines:
            async with asyncio.timeout(SECONDS):
                with pytest.raises(StoreUnavailable, match="another one took over"):
                    await call()
                assert await store.applied() == {0: 0}  # the other server's
                assert await store.apply([Batch(0, 0, 5)])
                [page] = await store.pending([PendingQuery(Mailbox("bob"), {}, 1)])
        assert page.applied == {0: 5}
        assert [each["event"] for each in lines] == ["postgres_moved"]
        assert lines[0]["host"] == host_of(database)
        assert store.health() is None
    # Nobody goes back to the one that woke up: it may think that it is the primary still.
    assert await store.applied() == {0: 5}
    [page] = await store.pending([PendingQuery(Mailbox("bob"), {}, 1)])
    assert page.applied == {0: 5}


async def test_a_host_that_is_only_slow_is_waited_for(
    store: PostgresMessageStore, twin: SecretUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_the_first(monkeypatch)
    monkeypatch.setattr("landline.adapters.postgres.lane.HANG_SECONDS", 0.1)
    await execute(
        twin.reveal(),
        """
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION slow();
        """,
    )
    facts = Message(f"{1:032x}", "c", "alice", ("bob",), "x", Position(0, 1), 1)
    with capture_logs() as lines:
        assert await store.apply([Batch(0, 1, 2, (facts,))])
    assert await store.applied() == {0: 2}
    assert lines == []


async def test_nothing_is_left_of_the_hosts_that_were_asked(
    store: PostgresMessageStore, other: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_store, "PROBE_SECONDS", 0.1)
    tasks = asyncio.all_tasks()
    async with paused(other):
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    await store.applied()
                    break
                except StoreUnavailable:
                    continue
    await until(lambda: asyncio.all_tasks() <= tasks, "no task of ours is left")
