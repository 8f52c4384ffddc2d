"""The contract of `landline.ports.MessageStore.pending`, for every adapter."""

import asyncio
import random
from dataclasses import replace

import pytest

from contract.messages import SECONDS, ask, message, receipt, uuid
from landline.model import (
    FIRST_TURN,
    NOWHERE,
    Batch,
    Mailbox,
    Message,
    PendingQuery,
    Positions,
    Receipt,
    Turn,
)
from landline.ports import MessageStore
from support.owed import answer as expected_answer
from support.stores import Stores


async def fill(stores: Stores, store: MessageStore, count: int) -> list[Message]:
    """Store that many messages to bob in each partition and return them by position."""
    batches = [
        Batch(
            p,
            0,
            count,
            tuple(message(p * count + offset, offset, partition=p) for offset in range(count)),
        )
        for p in range(stores.partitions)
    ]
    assert await store.apply(batches)
    return [each for batch in batches for each in batch.messages]


async def test_pending_comes_in_the_order_of_positions_whatever_came_first(
    store: MessageStore,
) -> None:
    offsets = list(range(50))
    random.Random(1).shuffle(offsets)
    for start, offset in enumerate(offsets):
        await store.apply([Batch(0, start, start + 1, (message(1_000 - offset, offset),))])
    assert [each.position.offset for each in (await ask(store)).messages] == sorted(offsets)


async def test_complete_says_exactly_whether_the_limit_cut_something_off(
    stores: Stores, store: MessageStore
) -> None:
    sent = await fill(stores, store, 6)
    for limit in range(len(sent) + 3):
        pending = await ask(store, limit=limit)
        assert list(pending.messages) == sent[:limit]
        assert pending.complete == (limit >= len(sent))


async def test_the_cursor_is_a_vector(stores: Stores, store: MessageStore) -> None:
    sent = await fill(stores, store, 6)
    chance = random.Random(2)
    for _ in range(20):
        after = {
            p: chance.randrange(8)
            for p in range(stores.partitions + 2)
            if chance.random() < 0.7 or p > stores.partitions
        }
        expected = [m for m in sent if m.position.offset >= after.get(m.position.partition, 0)]
        pending = await ask(store, after=after, limit=5)
        assert list(pending.messages) == expected[:5]
        assert pending.complete == (len(expected) <= 5)


async def test_many_mailboxes_are_answered_at_once_each_with_its_own_limit_and_cursor(
    stores: Stores, store: MessageStore
) -> None:
    users = [f"user{number}" for number in range(60)]
    sent = tuple(
        message(n * 10 + offset, n * 10 + offset, to=(user,))
        for n, user in enumerate(users)
        for offset in range(3)
    )
    await store.apply([Batch(0, 0, 600, sent)])
    queries = [
        PendingQuery(Mailbox(user), {0: n * 10 + n % 2} if n % 3 else NOWHERE, 1 + n % 4)
        for n, user in enumerate(users)
    ]
    queries += [PendingQuery(Mailbox("nobody"), NOWHERE, 5), queries[4], queries[4]]
    answers = await store.pending(queries)
    assert len(answers) == len(queries)
    for query, answer in zip(queries, answers, strict=True):
        expected = [
            m
            for m in sent
            if m.recipients == (query.mailbox.user,) and m.position.offset >= query.after.get(0, 0)
        ]
        assert list(answer.messages) == expected[: query.limit]
        assert answer.complete == (len(expected) <= query.limit)
        assert answer.applied == answers[0].applied


async def test_pending_and_applied_are_of_one_snapshot(stores: Stores) -> None:
    """Each offset owes bob one message, so the two numbers can be compared at any time."""
    writer, reader = await stores.open(), await stores.open()
    count = 150

    async def write() -> None:
        for offset in range(count):
            await writer.apply([Batch(0, offset, offset + 1, (message(offset, offset),))])

    async def read() -> None:
        seen = 0
        while seen < count:
            answers = await reader.pending([PendingQuery(Mailbox("bob"), NOWHERE, 1_000)] * 2)
            for answer in answers:
                seen = answer.applied.get(0, 0)
                assert len(answer.messages) == seen

    async with asyncio.timeout(SECONDS):
        await asyncio.gather(write(), read())


@pytest.mark.parametrize("seed", range(4))
async def test_paging_misses_nothing_that_stays_pending_while_rows_change(
    stores: Stores, store: MessageStore, seed: int
) -> None:
    chance = random.Random(seed)
    sent = await fill(stores, store, 40)
    kept = set(chance.sample(range(len(sent)), 30))
    going = [number for number in range(len(sent)) if number not in kept]
    chance.shuffle(going)
    seen: list[Message] = []
    after: Positions = NOWHERE
    start = 40
    while True:
        pending = await ask(store, after=after, limit=7)
        seen += pending.messages
        if pending.complete:
            break
        partition, offset = pending.messages[-1].position
        after = {**dict.fromkeys(range(partition), 40), partition: offset + 1}
        acked = tuple(receipt(going.pop()) for _ in range(min(5, len(going))))
        assert await store.apply([Batch(0, start, start + 1, (), acked)])
        start += 1
    positions = [each.position for each in seen]
    assert positions == sorted(set(positions))
    assert {each.id for each in seen} >= {uuid(number) for number in kept}


NAMES = ("bob", "Zoe", "a-b", "ab", "ä", "𝄞", "_", "zoe")


@pytest.mark.parametrize("seed", range(6))
async def test_an_answer_is_cut_by_count_and_bytes_and_gives_everybody_a_turn(
    stores: Stores, store: MessageStore, seed: int
) -> None:
    chance = random.Random(seed)
    owed: list[Message] = []
    for partition in range(stores.partitions):
        count = chance.choice((0, 3, 40))
        sent = [
            message(
                partition * 1_000 + offset,
                offset,
                partition=partition,
                content="x" * chance.choice((1, 1, 9, 100)),
                conversation=f"dm:bob:{chance.choice(NAMES[: 1 + seed * 2])}",
            )
            for offset in range(count)
        ]
        gone = [each for each in sent if chance.random() < 0.2]
        receipts = tuple(Receipt(each.id, Mailbox("bob"), "2026", 49) for each in gone)
        assert await store.apply([Batch(partition, 0, 50, tuple(sent), receipts)])
        owed += [each for each in sent if each not in gone]
    ids = await stores.conversation_ids()
    owed = [replace(each, conversation_id=ids[each.conversation]) for each in owed]
    some = [Turn(number, p) for number in ids.values() for p in range(stores.partitions)]
    queries = []
    for _ in range(60):
        after = {p: chance.randrange(40) for p in range(stores.partitions) if chance.random() < 0.5}
        turn = chance.choice([None, FIRST_TURN, *chance.sample(some, min(1, len(some)))])
        limit, limit_bytes = chance.choice((1, 2, 5, 12, 64)), chance.choice((1, 30, 400, 10_000))
        cursors = {each: chance.randrange(60) for each in some if chance.random() < 0.5}
        queries.append(PendingQuery(Mailbox("bob"), after, limit, turn, limit_bytes, cursors))
    for query, found in zip(queries, await store.pending(queries), strict=True):
        assert found == expected_answer(owed, query, found.applied)
