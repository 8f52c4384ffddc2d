"""Any part of the log, applied again, changes nothing.

`applied` is set back by whoever follows docs/failures.md, and by a database that has lost commits.
"""

import random

import pytest

from landline.model import Positions
from support.events import Logs, in_pieces, random_logs
from support.stores import ReadingStores, Stores
from support.tables import Rows

ROUNDS = 3


async def seen(stores: Stores) -> Rows:
    """Return all that the tables and the view show."""
    return {**await stores.tables(), "message_status": sorted(await stores.statuses())}


def earlier(chance: random.Random, applied: Positions) -> Positions:
    """Return places to begin again, in some partitions or all."""
    begun = [partition for partition, end in applied.items() if end]
    partitions = chance.sample(begun, chance.randrange(1, len(begun) + 1))
    return {each: chance.randrange(applied[each]) for each in partitions}


async def apply(stores: Stores, chance: random.Random, logs: Logs, share: float = 1) -> Positions:
    """Apply what is left of the logs, or about a share of it; return how far that is."""
    store = await stores.open()
    applied = await store.applied()
    left = {
        partition: log
        for partition, log in logs.items()
        if log and applied.get(partition, 0) <= log[-1].position.offset
    }
    pieces = in_pieces(chance, left, applied)
    for batches in pieces[: round(share * len(pieces))]:
        assert await store.apply(batches)
    applied = await store.applied()
    await stores.close()
    return applied


@pytest.mark.parametrize("seed", range(200, 216))
async def test_the_position_is_set_back_and_nothing_changes(stores: Stores, seed: int) -> None:
    chance = random.Random(seed)
    logs = random_logs(chance, stores.partitions, records=chance.choice((30, 80, 160)))
    applied = await apply(stores, chance, logs)
    before = await seen(stores)
    for _ in range(ROUNDS):
        await stores.set_back(earlier(chance, applied))
        if chance.random() < 0.3:  # and again, before all of it was applied again
            applied = await apply(stores, chance, logs, 0.5)
            await stores.set_back(earlier(chance, applied))
        applied = await apply(stores, chance, logs)
        assert await seen(stores) == before


async def purge(stores: ReadingStores, before_ms: int) -> None:
    """Remove what is old and owed to nobody."""
    await stores.purge(before_ms)
    await stores.close()


@pytest.mark.parametrize("seed", range(300, 316))
async def test_what_was_purged_does_not_come_back_and_is_not_owed_again(
    reading_stores: ReadingStores, seed: int
) -> None:
    """Without repeats: of one that stands behind what was purged nobody knows that it is one."""
    chance = random.Random(seed)
    records = chance.choice((80, 160, 240))
    logs = random_logs(chance, reading_stores.partitions, records, repeats=False)
    times = sorted(entry.time_ms for log in logs.values() for entry in log)
    await apply(reading_stores, chance, logs, chance.random())
    await purge(reading_stores, chance.choice(times))
    applied = await apply(reading_stores, chance, logs)
    before_ms = chance.choice(times[len(times) // 2 :])
    await purge(reading_stores, before_ms)
    before = await seen(reading_stores)
    for _ in range(ROUNDS):
        await reading_stores.set_back(earlier(chance, applied))
        await apply(reading_stores, chance, logs, chance.random())
        await purge(reading_stores, before_ms)
        if chance.random() < 0.5:
            await reading_stores.close()
            await reading_stores.set_back(earlier(chance, applied))
        applied = await apply(reading_stores, chance, logs)
        assert await seen(reading_stores) == before
