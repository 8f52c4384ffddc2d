"""The store of the simulation and the real one in a file come to the same."""

import random
from pathlib import Path

import pytest

from landline.adapters.sqlite import Database, SqliteMessageStore
from landline.model import FIRST_TURN, Batch, Message, PendingQuery, Position, Receipt, Turn
from simulation.good_weather import good_weather
from simulation.store import ModelMessageStore, Store

USERS = ("ann", "bob", "cid")


def batch(rng: random.Random, start: int, number: int) -> Batch:
    """Return what a stretch might come to: new and old messages, receipts early and late."""
    end = start + rng.randint(1, 6)
    messages: dict[str, Message] = {}
    receipts: dict[tuple[str, str], Receipt] = {}
    for offset in range(start, end):
        which = rng.randint(0, number)
        id, recipient = f"{which:08x}-0000-8000-8000-00000000c0de", USERS[which % 3]
        if rng.random() < 0.6:
            message = Message(
                id,
                f"dm:ann:{USERS[which % 2]}",
                "ann",
                (recipient,),
                f"text {id}",
                Position(0, offset),
                offset,
            )
            messages.setdefault(id, message)
        else:
            receipt = Receipt(id, recipient, f"2026-01-02T03:04:{rng.randint(10, 59)}.000Z")
            receipts.setdefault((id, recipient), receipt)
    return Batch(0, start, end, tuple(messages.values()), tuple(receipts.values()))


@pytest.mark.parametrize("seed", range(20))
async def test_both_stores_answer_alike(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    database = Database(tmp_path, lambda _why: None)
    real, model = SqliteMessageStore(database), ModelMessageStore(Store(good_weather()))
    applied = 0
    for number in range(1, 20):
        start = applied if rng.random() < 0.8 else rng.randint(0, applied)
        batches = [batch(rng, start, number * 3)]
        is_applied = await real.apply(batches)
        assert await model.apply(batches) == is_applied
        applied = (await real.applied()).get(0, 0)
        assert (await model.applied()).get(0, 0) == applied
        queries = [
            PendingQuery(user, {0: rng.randint(0, applied)}, rng.randint(1, 12), turn, 40, cursors)
            for user in USERS
            for turn in (None, FIRST_TURN, Turn("dm:ann:bob", 0), Turn("dm:ann:zoe", 0))
            for cursors in ({}, {Turn("dm:ann:bob", 0): rng.randint(0, applied)})
        ]
        for ours, theirs in zip(
            await model.pending(queries), await real.pending(queries), strict=True
        ):
            assert ours == theirs
        ids = [each.id for each in batches[0].messages]
        assert await model.find(ids) == await real.find(ids)
    await database.close()
