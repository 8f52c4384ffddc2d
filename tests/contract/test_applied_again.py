"""Any part of the log, applied again, changes nothing.

`applied` is set back by whoever follows docs/failures.md, and by a database that has lost commits.
"""

import random

import pytest

from landline.model import Positions
from support.events import Logs, in_pieces, random_logs
from support.stores import Stores
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
