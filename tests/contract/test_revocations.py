"""What every `RevocationStore` keeps to."""

import asyncio
import random

import pytest

from landline.model import Revocation
from landline.ports import RevocationStore
from simulation.good_weather import ModelRevocationStores
from support.stores import PostgresStores, SqliteStores

FAR_MS = 253_402_300_799_999
NAMES = ["a", "A", "*", "%", "'", "ä", "Ä", "日本語", "🦊", "e\u0302", "x" * 64]


class Opened:
    """Stores on the same data, as several servers have them."""

    def __init__(self, stores: SqliteStores | PostgresStores | ModelRevocationStores) -> None:
        self._stores = stores

    async def open(self) -> RevocationStore:
        """Return one more."""
        return await self._stores.revocations()

    async def restart(self) -> RevocationStore:
        """Close them all, and return one that is opened after that."""
        await self._stores.close()
        return await self.open()


@pytest.fixture(
    params=["sqlite_stores", "model", pytest.param("postgres_stores", marks=pytest.mark.stack)],
    ids=["sqlite", "model", "postgres"],
)
def opened(request: pytest.FixtureRequest) -> Opened:
    if request.param == "model":
        return Opened(ModelRevocationStores())
    return Opened(request.getfixturevalue(request.param))


async def everything(store: RevocationStore, limit: int = 3) -> list[Revocation]:
    """Return all rows, page by page."""
    rows: list[Revocation] = []
    while page := await store.since(rows[-1].revoked_at if rows else 0, limit):
        assert len(page) <= limit
        rows += page
    return rows


async def test_what_was_entered_is_there_for_everybody_at_once_and_after_a_restart(
    opened: Opened,
) -> None:
    one, two = await opened.open(), await opened.open()
    assert list(await two.since(0, 10)) == []
    assert list(await two.standing(0)) == []
    revocation = await one.revoke("alice", FAR_MS)
    assert (revocation.user, revocation.until_ms) == ("alice", FAR_MS)
    assert revocation.revoked_at > 0
    assert list(await two.since(0, 10)) == [revocation]
    again = await opened.restart()
    assert list(await again.since(0, 10)) == [revocation]
    assert list(await again.standing(0)) == [revocation]


async def test_each_is_later_than_all_before_and_read_in_that_order(opened: Opened) -> None:
    store = await opened.open()
    entered = [await store.revoke(f"user{number}", None) for number in range(10)]
    times = [revocation.revoked_at for revocation in entered]
    assert times == sorted(set(times))
    assert await everything(store) == entered
    assert list(await store.since(times[4], 3)) == entered[5:8]
    assert list(await store.since(times[-1], 3)) == []


async def test_of_a_user_there_is_the_latest_one(opened: Opened) -> None:
    store = await opened.open()
    first = await store.revoke("alice", None)
    other = await store.revoke("bob", None)
    second = await store.revoke("alice", None)
    assert first.revoked_at < other.revoked_at < second.revoked_at
    assert await everything(store) == [other, second]


async def test_until_stays_when_none_is_given_and_is_replaced_by_another(opened: Opened) -> None:
    store = await opened.open()
    assert (await store.revoke("alice", FAR_MS)).until_ms == FAR_MS
    assert (await store.revoke("alice", None)).until_ms == FAR_MS
    assert (await store.revoke("alice", 1_000)).until_ms == 1_000
    assert (await store.revoke("alice", None)).until_ms == 1_000
    assert (await store.revoke("bob", None)).until_ms is None


async def test_a_start_reads_who_is_refused_then_and_the_latest_of_all(opened: Opened) -> None:
    store = await opened.open()
    long = await store.revoke("long", FAR_MS)
    await store.revoke("short", 2_000)
    await store.revoke("gone", None)
    last = await store.revoke("last", 1_000)
    assert set(await store.standing(2_000)) == {long, last}
    longer = await store.revoke("longer", FAR_MS)
    assert set(await store.standing(2_000)) == {long, longer}


async def test_every_name_means_itself(opened: Opened) -> None:
    store = await opened.open()
    entered = [await store.revoke(name, None) for name in NAMES]
    assert [revocation.user for revocation in entered] == NAMES
    assert await everything(store) == entered


async def test_who_reads_on_while_others_write_misses_nobody(opened: Opened) -> None:
    """A later one is never seen before an earlier one: a server would not come back for that."""
    stores = [await opened.open() for _ in range(4)]
    reader = await opened.open()
    seen: list[Revocation] = []
    are_done = False

    async def write(store: RevocationStore, number: int) -> list[Revocation]:
        chance = random.Random(number)
        return [
            await store.revoke(f"user{number}-{chance.randrange(1_000)}-{turn}", None)
            for turn in range(25)
        ]

    async def read() -> None:
        is_last = False
        while not is_last:
            is_last = are_done
            seen.extend(await reader.since(seen[-1].revoked_at if seen else 0, 10))
            await asyncio.sleep(0)
        seen.extend(await everything_after(reader, seen[-1].revoked_at))

    reading = asyncio.create_task(read())
    written = await asyncio.gather(*(write(store, n) for n, store in enumerate(stores)))
    are_done = True
    await reading
    entered = sorted((each for some in written for each in some), key=lambda each: each.revoked_at)
    assert seen == entered


async def everything_after(store: RevocationStore, revoked_at: int) -> list[Revocation]:
    return [each for each in await everything(store, 50) if each.revoked_at > revoked_at]
