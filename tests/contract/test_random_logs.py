"""Whatever a log holds, and wherever it is cut: every store comes to what `Tables` comes to."""

import random
from collections.abc import Collection

import pytest

from landline.model import Batch, Stretch
from landline.ports import MessageStore
from landline.protocol.fold import fold
from support.events import Logs, in_pieces, random_logs, random_queries
from support.stores import Stores
from support.tables import Tables


async def differences(stores: Stores, tables: Tables) -> dict[str, Collection[object]]:
    """Return the rows that only one of both has."""
    found, expected = await stores.tables(), tables.rows()
    assert found.keys() == expected.keys()
    differing = {name: set(found[name]) ^ set(expected[name]) for name in found}
    differing["message_status"] = await stores.statuses() ^ tables.statuses()
    assert all(len(found[name]) == len(expected[name]) for name in found)
    return {name: sorted(rows, key=repr) for name, rows in differing.items() if rows}


async def compare(
    chance: random.Random, stores: Stores, store: MessageStore, tables: Tables
) -> None:
    """Compare rows and answers."""
    assert await differences(stores, tables) == {}
    numbers = await stores.conversation_ids()
    tables.renumber(numbers)
    queries = random_queries(chance, stores.partitions, numbers)
    for query, found in zip(queries, await store.pending(queries), strict=True):
        applied = {each: end for each, end in found.applied.items() if end}
        assert applied == tables.applied
        assert found == tables.pending(query, found.applied)
        numbered = [(each.conversation, each.conversation_id) for each in found.messages]
        assert all(numbers[name] == number for name, number in numbered)
    ids = [*tables.messages, "00000000-0000-8000-8000-000000000000"]
    assert await store.find(ids) == tables.find(ids)


@pytest.mark.parametrize("seed", range(12))
async def test_a_store_comes_to_what_the_tables_come_to_all_along(
    stores: Stores, store: MessageStore, seed: int
) -> None:
    chance = random.Random(seed)
    tables = Tables(stores.partitions)
    pieces = in_pieces(chance, random_logs(chance, stores.partitions))
    looks = set(chance.sample(range(len(pieces)), min(3, len(pieces)))) | {len(pieces) - 1}
    for number, batches in enumerate(pieces):
        assert await store.apply(batches)
        assert tables.apply(batches)
        if number in looks:
            await compare(chance, stores, store, tables)


@pytest.mark.parametrize("seed", range(100, 112))
async def test_it_does_not_matter_where_the_log_is_cut_or_what_is_applied_twice(
    stores: Stores, store: MessageStore, seed: int
) -> None:
    chance = random.Random(seed)
    logs = random_logs(chance, stores.partitions, records=120)
    # Of each partition all at once. The numbers of conversations alone depend on that.
    tables = applied_at_once(logs, stores.partitions)
    done: list[Batch] = []
    for batches in in_pieces(chance, logs):
        assert await store.apply(batches)
        done += batches
        if chance.random() < 0.2:
            assert not await store.apply(chance.sample(done, min(3, len(done))))
    tables.applied = {each: end for each, end in (await store.applied()).items() if end}
    await compare(chance, stores, store, tables)


def applied_at_once(logs: Logs, partitions: int) -> Tables:
    """Return what comes of each log in one piece."""
    tables = Tables(partitions)
    for log in logs.values():
        if log:
            end = log[-1].position.offset + 1
            assert tables.apply(fold(Stretch(log[0].position.partition, 0, end, tuple(log))))
    return tables
