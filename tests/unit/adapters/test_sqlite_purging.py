"""Old messages go when nobody is owed them; old entries of the log go when they are applied."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from landline.adapters.sqlite import Database, SqliteMessageStore
from landline.adapters.sqlite.purging import purge_log
from landline.errors import StoreUnavailable
from landline.model import Batch, Mailbox, Message, PendingQuery, Position, Receipt
from support.version_1 import make_file, opened

FIRST = Position(0, -1)  # behind which there is everything
COUNT = 20


def sent(number: int, *, time_ms: int | None = None) -> Message:
    """Return a message whose number is its place and its time; an odd one is to carol."""
    name, recipient = ("dm:alice:carol", "carol") if number % 2 else ("dm:alice:bob", "bob")
    time_ms = number if time_ms is None else time_ms
    return Message(f"m{number}", name, "alice", (recipient,), "x", Position(0, number), time_ms)


def received(number: int, by: str = "bob") -> Receipt:
    return Receipt(f"m{number}", Mailbox(by), "2026-01-01T00:00:00Z", COUNT)


@pytest.fixture(params=["new", "upgraded"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A file in which bob has received everything, and carol nothing."""
    messages = [sent(number) for number in range(COUNT)]
    receipts = [received(number) for number in range(COUNT)]
    if request.param == "upgraded":
        make_file(tmp_path, messages, receipts)
    database = Database(tmp_path, lambda _why: None)
    if request.param == "new":
        batch = Batch(0, 0, COUNT + 1, tuple(messages), tuple(receipts))
        assert await SqliteMessageStore(database).apply([batch])
    yield database
    await database.close()


async def left(database: Database) -> list[int]:
    rows = await database.read(
        lambda connection: connection.execute(
            "SELECT log_offset FROM messages ORDER BY log_offset"
        ).fetchall()
    )
    return [offset for (offset,) in rows]


async def purged(database: Database) -> list[tuple[int, int]]:
    return await database.read(
        lambda connection: connection.execute("SELECT * FROM purged").fetchall()
    )


async def test_what_nobody_is_owed_goes_and_the_rest_stays(database: Database) -> None:
    store = SqliteMessageStore(database)
    assert await store.purge(10, FIRST, 100) == (5, None)
    odd = [number for number in range(COUNT) if number % 2 or number >= 10]
    assert await left(database) == odd
    assert await purged(database) == [(0, 9)]
    [pending] = await store.pending([PendingQuery(Mailbox("carol"), {}, 100)])
    assert [each.position.offset for each in pending.messages] == list(range(1, COUNT, 2))
    assert await store.purge(10, FIRST, 100) == (0, None)


async def test_it_is_done_in_steps(database: Database) -> None:
    store = SqliteMessageStore(database)
    after: Position | None = FIRST
    steps = []
    while after is not None:
        count, after = await store.purge(1_000, after, 6)
        steps.append((count, after))
    assert steps == [(3, Position(0, 5)), (3, Position(0, 11)), (3, Position(0, 17)), (1, None)]
    assert await left(database) == list(range(1, COUNT, 2))
    assert await purged(database) == [(0, 19)]
    # A step that removes nothing further up, or something further down, takes nothing back.
    assert await store.purge(1_000, FIRST, 3) == (0, Position(0, 5))
    assert await purged(database) == [(0, 19)]


async def test_it_ends_at_the_first_that_is_newer(database: Database) -> None:
    store = SqliteMessageStore(database)
    late = Batch(0, COUNT + 1, COUNT + 3, (sent(COUNT + 2, time_ms=1),), (received(COUNT + 2),))
    late_receipt = received(COUNT + 2)._replace(offset=COUNT + 9)
    assert await store.apply([late])
    assert await store.apply([Batch(0, COUNT + 3, COUNT + 10, (), (late_receipt,))])
    assert await store.purge(5, FIRST, 100) == (3, None)
    assert await store.purge(5, Position(0, COUNT - 1), 100) == (1, None)


async def test_what_is_purged_is_not_known_any_more(database: Database) -> None:
    store = SqliteMessageStore(database)
    await store.purge(10, FIRST, 100)
    assert await store.find(["m0", "m1"]) == {
        "m1": (await store.find(["m1"]))["m1"],
    }


async def test_trouble_with_the_file_is_said(tmp_path: Path) -> None:
    database = Database(tmp_path / "data", lambda _why: None)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="removed or moved away"):
        await SqliteMessageStore(database).purge(10, FIRST, 100)
    await database.close()


@pytest.mark.parametrize(
    ("before_ms", "applied", "limit", "first"),
    [
        (1_010, 100, 100, 10),
        (1_010, 4, 100, 4),
        (1_010, 100, 3, 3),
        (9_999, 100, 100, 19),  # the last one stays: the next is counted from it
        (1_000, 100, 100, 0),
        (0, 0, 0, 0),
    ],
)
def test_of_the_log_the_low_end_goes(
    before_ms: int, applied: int, limit: int, first: int, tmp_path: Path
) -> None:
    make_file(tmp_path, [sent(number) for number in range(COUNT)])  # its times begin at 1,000
    with opened(tmp_path) as connection:
        count = purge_log(connection, before_ms, applied, limit)
        rows = connection.execute("SELECT offset FROM log ORDER BY offset").fetchall()
    assert count == first
    assert rows == [(offset,) for offset in range(first, COUNT)]
