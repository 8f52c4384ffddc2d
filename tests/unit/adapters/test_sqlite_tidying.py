"""What an upgrade leaves behind goes while the server works, however often that is interrupted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from landline.adapters.sqlite import Database, SqliteMessageStore, SqliteTidying, tidying
from landline.adapters.sqlite.opening import FILE_NAME
from landline.model import Batch, Mailbox, Message, PendingQuery, Position
from support.version_1 import make_file, opened
from support.waiting import until

COUNT = 50
STEP_ROWS = 7


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "STEP_ROWS", STEP_ROWS)
    monkeypatch.setattr(tidying, "RETRY_SECONDS", 0.01)


def sent(number: int) -> Message:
    return Message(
        f"m{number}", "dm:alice:bob", "alice", ("bob",), "hello", Position(0, number), number
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    make_file(tmp_path, [sent(number) for number in range(COUNT)])
    return tmp_path


def left(directory: Path) -> int | None:
    """Return how many rows the old table has; None: it is gone."""
    with opened(directory) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema").fetchall()
        if ("deliveries_1",) not in names:
            return None
        [count] = connection.execute("SELECT count(*) FROM deliveries_1").fetchone()
        return int(count)


def has_changed(directory: Path, before: int | None) -> bool:
    return left(directory) != before


@asynccontextmanager
async def running(database: Database, pause_seconds: float = 0.0) -> AsyncIterator[None]:
    task = asyncio.create_task(SqliteTidying(database, pause_seconds).run())
    yield
    assert not task.done()  # or its server would end
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_old_table_is_emptied_and_goes_while_messages_are_applied(
    directory: Path,
) -> None:
    database = Database(directory, lambda _why: None)
    store = SqliteMessageStore(database)
    with capture_logs() as lines:
        async with running(database):
            for number in range(COUNT, COUNT + 30):
                assert await store.apply([Batch(0, number, number + 1, (sent(number),))])
            await until(lambda: left(directory) is None, "it is gone")
            await until(lambda: len(lines) == 1, "it is said")
    assert lines[0]["event"] == "upgrade_tidied_up"
    assert lines[0]["rows"] == COUNT
    [pending] = await store.pending([PendingQuery(Mailbox("bob"), {}, 1_000)])
    assert len(pending.messages) == COUNT + 30
    await database.close()


async def test_it_goes_on_where_it_was_interrupted(directory: Path) -> None:
    counts = []
    for _ in range(3):
        database = Database(directory, lambda _why: None)
        before = left(directory)
        async with running(database, 3600.0):
            await until(partial(has_changed, directory, before), "a step is done")
        counts.append(left(directory))
        await database.close()
    assert counts == [COUNT - STEP_ROWS, COUNT - 2 * STEP_ROWS, COUNT - 3 * STEP_ROWS]
    database = Database(directory, lambda _why: None)
    async with running(database):
        await until(lambda: left(directory) is None, "it is gone")
    await database.close()


async def test_a_disk_in_trouble_is_waited_for(directory: Path) -> None:
    database = Database(directory, lambda _why: None)
    place = directory / FILE_NAME
    place.rename(place.with_name("elsewhere"))
    await until(lambda: database.health() is not None, "it is in trouble")
    async with running(database):
        await asyncio.sleep(0.05)
        place.with_name("elsewhere").rename(place)
        await until(lambda: database.health() is None, "it is well")
        await until(lambda: left(directory) is None, "it is gone")
    await database.close()


async def test_a_file_that_was_never_old_has_nothing_to_tidy(tmp_path: Path) -> None:
    database = Database(tmp_path, lambda _why: None)
    with capture_logs() as lines:
        async with running(database):
            await asyncio.sleep(0.05)
    assert lines == []
    await database.close()
