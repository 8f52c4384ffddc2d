"""The contract of `landline.ports.MessageStore`, for every adapter."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from landline.errors import Unstorable
from landline.model import (
    FIRST_TURN,
    NOWHERE,
    Appended,
    Batch,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Quarantined,
    Receipt,
    Turn,
)
from landline.ports import MessageStore
from support.owed import answer as expected_answer
from support.stores import Stores

TIME_MS = 1_767_323_045_678
SECONDS = 30.0  # generous: nothing here is measured

_MESSAGES = """
    SELECT CAST(message_id AS text), conversation, sender, content, log_partition, log_offset
    FROM messages ORDER BY 1
"""
_DELIVERIES = """
    SELECT CAST(message_id AS text), recipient, mailbox, status, delivered_at, log_offset
    FROM deliveries ORDER BY 1, 2
"""
_QUARANTINE = "SELECT log_partition, log_offset, value, reason FROM quarantine ORDER BY 1, 2"


def uuid(number: int) -> str:
    return f"{number:08x}-0000-8000-8000-00000000c0de"


def message(
    number: int,
    offset: int,
    *,
    partition: int = 0,
    to: Iterable[str] = ("bob",),
    content: str = "hello",
    conversation: str = "dm:alice:bob",
) -> Message:
    return Message(
        uuid(number),
        conversation,
        "alice",
        tuple(to),
        content,
        Position(partition, offset),
        TIME_MS + offset,
    )


def receipt(number: int, by: str = "bob", at: str = "2026-01-02T03:04:05.678Z") -> Receipt:
    return Receipt(uuid(number), by, at)


async def ask(
    store: MessageStore, mailbox: str = "bob", after: Positions = NOWHERE, limit: int = 1_000
) -> Pending:
    return (await store.pending([PendingQuery(mailbox, after, limit)]))[0]


async def owed(store: MessageStore, mailbox: str = "bob") -> list[str]:
    return [each.id for each in (await ask(store, mailbox)).messages]


async def dump(stores: Stores) -> list[list[tuple[Any, ...]]]:
    return [await stores.rows(sql) for sql in (_MESSAGES, _DELIVERIES, _QUARANTINE)]


async def status(stores: Stores) -> list[tuple[Any, ...]]:
    return await stores.rows(
        "SELECT recipient, status, delivered_at FROM deliveries ORDER BY recipient"
    )


# --- position and rows move together -------------------------------------------------------------


async def test_an_empty_store_owes_nothing_and_has_applied_nothing(store: MessageStore) -> None:
    assert not any((await store.applied()).values())
    pending = await ask(store)
    assert pending.messages == ()
    assert pending.complete
    assert not any(pending.applied.values())
    assert await store.apply([])
    assert await store.pending([]) == []
    assert await store.find([]) == {}
    assert store.health() is None


async def test_a_batch_brings_its_rows_and_its_position(store: MessageStore) -> None:
    sent = message(1, 3)
    assert await store.apply([Batch(0, 0, 5, (sent,))])
    assert (await store.applied())[0] == 5
    assert (await ask(store)).messages == (sent,)
    assert await store.find([sent.id, uuid(2)]) == {sent.id: Appended(sent.position, sent.time_ms)}


@pytest.mark.parametrize("start", [0, 4, 6, 1_000])
async def test_a_batch_that_does_not_start_at_the_position_changes_nothing(
    stores: Stores, store: MessageStore, start: int
) -> None:
    await store.apply([Batch(0, 0, 5, (message(1, 3),))])
    before = await dump(stores)
    bad = Quarantined(Position(0, start), b"?", "bad")
    late = Batch(0, start, start + 9, (message(2, start),), (receipt(1),), (bad,))
    assert not await store.apply([late])
    assert await dump(stores) == before
    assert (await store.applied())[0] == 5


async def test_a_batch_at_the_wrong_place_leaves_those_of_other_partitions_alone(
    stores: Stores, store: MessageStore
) -> None:
    batches = [
        Batch(partition, int(partition == 0), 2, (message(partition, 1, partition=partition),))
        for partition in range(stores.partitions)
    ]
    assert not await store.apply(batches)
    applied = await store.applied()
    assert [applied.get(p, 0) for p in range(stores.partitions)] == [0] + [2] * (
        stores.partitions - 1
    )
    assert await owed(store) == [uuid(number) for number in range(1, stores.partitions)]


async def test_of_two_appliers_one_wins_each_partition(stores: Stores) -> None:
    """In each round both bring every partition on, each with a message of its own."""
    appliers = [await stores.open(), await stores.open()]
    rounds = 20

    def batches(applier: int, offset: int) -> list[Batch]:
        numbers = [(p, (p * rounds + offset) * 2 + applier) for p in range(stores.partitions)]
        return [
            Batch(p, offset, offset + 1, (message(number, offset, partition=p),))
            for p, number in numbers
        ]

    for offset in range(rounds):
        await asyncio.gather(*(appliers[each].apply(batches(each, offset)) for each in (0, 1)))
    pending = await ask(appliers[0])
    assert pending.applied == dict.fromkeys(range(stores.partitions), rounds)
    assert [each.position for each in pending.messages] == [
        Position(p, offset) for p in range(stores.partitions) for offset in range(rounds)
    ]


async def test_what_was_applied_survives_reopening(stores: Stores) -> None:
    store = await stores.open()
    await store.apply([Batch(0, 0, 7, (message(1, 1), message(2, 2)), (receipt(1),))])
    before = await dump(stores)
    await stores.close()
    store = await stores.open()
    assert await dump(stores) == before
    assert (await store.applied())[0] == 7
    assert await owed(store) == [uuid(2)]


async def test_quarantine_keeps_bytes_and_reason(stores: Stores, store: MessageStore) -> None:
    bad = Quarantined(Position(0, 4), b"\x00\xff{", "not JSON: line 1")
    assert await store.apply([Batch(0, 0, 5, quarantined=(bad,))])
    assert (await dump(stores))[2] == [(0, 4, bad.value, bad.reason)]
    assert (await store.applied())[0] == 5


# --- facts and receipts only join ----------------------------------------------------------------


class Model:
    """What a log comes to, in whatever order and however often it is applied."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.receipts: dict[tuple[str, str], str] = {}

    def add(self, item: Message | Receipt) -> None:
        if isinstance(item, Message):
            known = self.messages.get(item.id, item)
            self.messages[item.id] = min(known, item, key=lambda each: each.position)
        else:
            key = (item.message_id, item.recipient)
            self.receipts[key] = min(self.receipts.get(key, item.delivered_at), item.delivered_at)

    def dump(self) -> list[list[tuple[Any, ...]]]:
        facts = [
            (m.id, m.conversation, m.sender, m.content, *m.position) for m in self.messages.values()
        ]
        offsets: dict[tuple[str, str], int | None] = dict.fromkeys(self.receipts)
        for m in self.messages.values():
            offsets.update({(m.id, user): m.position.offset for user in m.recipients})
        deliveries = []
        for (id, user), offset in offsets.items():
            at = self.receipts.get((id, user))
            deliveries.append(
                (id, user, user, "UNDELIVERED" if at is None else "DELIVERED", at, offset)
            )
        return [sorted(facts), sorted(deliveries, key=lambda row: row[:2]), []]

    def batch(self, partition: int, start: int) -> Batch:
        messages = tuple(self.messages.values())
        receipts = tuple(Receipt(*key, at) for key, at in self.receipts.items())
        return Batch(partition, start, start + 1, messages, receipts)


def small_log(chance: random.Random, partitions: int) -> list[list[Message | Receipt]]:
    """Return some of everything for each partition: repeats of sends, receipts of strangers and
    of others, receipts of messages that never come.
    """
    logs = []
    for partition in range(partitions):
        log: list[Message | Receipt] = []
        for offset in range(30):
            number = partition * 100 + chance.randrange(10)
            if chance.random() < 0.5:
                users = [("bob",), ("bob", "carol"), ("alice",)][number % 3]
                log.append(message(number, offset, partition=partition, to=users))
            else:
                by = chance.choice(["bob", "carol", "alice", "stranger"])
                at = f"2026-01-02T03:04:0{chance.randrange(10)}.000Z"
                log.append(receipt(number, by, at))
        logs.append(log)
    return logs


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_and_any_repeats_come_to_the_same(
    stores: Stores, store: MessageStore, seed: int
) -> None:
    chance = random.Random(seed)
    logs = small_log(chance, stores.partitions)
    expected = Model()
    for item in (item for log in logs for item in log):
        expected.add(item)
    shuffled = []
    for log in logs:
        items = log + chance.choices(log, k=len(log))
        chance.shuffle(items)
        shuffled.append(items)
    start = 0
    while any(shuffled):
        batches = []
        for partition, items in enumerate(shuffled):
            cut = Model()
            for _ in range(min(len(items), chance.randrange(8))):
                cut.add(items.pop())
            batches.append(cut.batch(partition, start))
        assert await store.apply(batches)
        start += 1
    assert await dump(stores) == expected.dump()


async def test_batches_that_share_a_receipt_are_applied_together(
    stores: Stores, store: MessageStore
) -> None:
    """No honest log has the same message in two partitions; one that has must not stop it all."""
    batches = [
        Batch(
            p, 0, 1, (message(1, 0, partition=p),), (receipt(1, at=f"2026-01-0{9 - p}T00:00:00Z"),)
        )
        for p in range(stores.partitions)
    ]
    assert await store.apply(batches)
    assert await status(stores) == [
        ("bob", "DELIVERED", f"2026-01-0{9 - stores.partitions + 1}T00:00:00Z")
    ]
    assert (await store.find([uuid(1)]))[uuid(1)].position == Position(0, 0)


async def test_the_lowest_position_wins_and_brings_its_time(store: MessageStore) -> None:
    await store.apply([Batch(0, 0, 1, (message(1, 50),))])
    await store.apply([Batch(0, 1, 2, (message(1, 20),))])
    await store.apply([Batch(0, 2, 3, (message(1, 90),))])
    assert (await ask(store)).messages == (message(1, 20),)
    assert await store.find([uuid(1)]) == {uuid(1): Appended(Position(0, 20), TIME_MS + 20)}


async def test_a_receipt_ends_the_debt_before_with_and_after_its_message(
    stores: Stores, store: MessageStore
) -> None:
    await store.apply([Batch(0, 0, 1, (), (receipt(1),))])
    assert await store.find([uuid(1)]) == {}
    await store.apply([Batch(0, 1, 2, (message(1, 1), message(2, 2)), (receipt(2),))])
    await store.apply([Batch(0, 2, 3, (message(3, 3), message(4, 4)))])
    await store.apply([Batch(0, 3, 4, (), (receipt(3),))])
    assert await owed(store) == [uuid(4)]


async def test_a_message_that_comes_again_stays_delivered(store: MessageStore) -> None:
    await store.apply([Batch(0, 0, 1, (message(1, 5),), (receipt(1),))])
    await store.apply([Batch(0, 1, 2, (message(1, 3),))])
    await store.apply([Batch(0, 2, 3, (message(1, 9),))])
    assert await owed(store) == []


async def test_a_stranger_s_receipt_changes_nothing_for_the_recipients(store: MessageStore) -> None:
    await store.apply([Batch(0, 0, 1, (), (receipt(1, "mallory"),))])
    await store.apply([Batch(0, 1, 2, (message(1, 1),))])
    await store.apply([Batch(0, 2, 3, (), (receipt(1, "eve"),))])
    assert await owed(store) == [uuid(1)]
    assert await owed(store, "mallory") == []
    assert await owed(store, "eve") == []


async def test_each_recipient_acknowledges_for_themselves(store: MessageStore) -> None:
    await store.apply([Batch(0, 0, 1, (message(1, 0, to=("bob", "carol", "dave")),))])
    await store.apply([Batch(0, 1, 2, (), (receipt(1, "carol"),))])
    assert [await owed(store, user) for user in ("bob", "carol", "dave")] == [
        [uuid(1)],
        [],
        [uuid(1)],
    ]


@pytest.mark.parametrize("order", [(4, 2, 7), (7, 4, 2), (2, 4, 7)])
async def test_the_earliest_receipt_counts(
    stores: Stores, store: MessageStore, order: Sequence[int]
) -> None:
    for offset, second in enumerate(order):
        at = f"2026-01-02T03:04:0{second}.000Z"
        await store.apply([Batch(0, offset, offset + 1, (), (receipt(1, at=at),))])
    assert await status(stores) == [("bob", "DELIVERED", "2026-01-02T03:04:02.000Z")]


# --- pending -------------------------------------------------------------------------------------


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
        PendingQuery(user, {0: n * 10 + n % 2} if n % 3 else NOWHERE, 1 + n % 4)
        for n, user in enumerate(users)
    ]
    queries += [PendingQuery("nobody", NOWHERE, 5), queries[4], queries[4]]
    answers = await store.pending(queries)
    assert len(answers) == len(queries)
    for query, answer in zip(queries, answers, strict=True):
        expected = [
            m
            for m in sent
            if m.recipients == (query.mailbox,) and m.position.offset >= query.after.get(0, 0)
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
            answers = await reader.pending([PendingQuery("bob", NOWHERE, 1_000)] * 2)
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
        receipts = tuple(Receipt(each.id, "bob", "2026") for each in gone)
        assert await store.apply([Batch(partition, 0, 50, tuple(sent), receipts)])
        owed += [each for each in sent if each not in gone]
    queries = []
    for _ in range(60):
        after = {p: chance.randrange(40) for p in range(stores.partitions) if chance.random() < 0.5}
        turns = [Turn(f"dm:bob:{chance.choice(NAMES)}", chance.randrange(stores.partitions))]
        turn = chance.choice([None, FIRST_TURN, *turns])
        limit, limit_bytes = chance.choice((1, 2, 5, 12, 64)), chance.choice((1, 30, 400, 10_000))
        own = [Turn(f"dm:bob:{each}", p) for each in NAMES for p in range(stores.partitions)]
        cursors = {each: chance.randrange(60) for each in own if chance.random() < 0.5}
        queries.append(PendingQuery("bob", after, limit, turn, limit_bytes, cursors))
    for query, found in zip(queries, await store.pending(queries), strict=True):
        assert found == expected_answer(owed, query, found.applied)


# --- waiting -------------------------------------------------------------------------------------


async def test_whoever_waits_is_woken_when_the_position_is_reached(stores: Stores) -> None:
    writer, waiter = await stores.open(), await stores.open()
    await writer.apply([Batch(0, 0, 3)])
    async with asyncio.timeout(SECONDS):
        assert (await waiter.wait_applied(NOWHERE)).get(0, 0) in (0, 3)
        assert (await writer.wait_applied({0: 3}))[0] == 3
        waits = [asyncio.ensure_future(writer.wait_applied({0: end})) for end in (4, 6, 5)]
        await writer.apply([Batch(0, 3, 5)])
        assert (await waits[0])[0] >= 4
        assert (await waits[2])[0] >= 5
        assert not waits[1].done()
        await writer.apply([Batch(0, 5, 6)])
        assert (await waits[1])[0] == 6


async def test_a_wait_that_is_cancelled_harms_nobody(store: MessageStore) -> None:
    given_up = asyncio.ensure_future(store.wait_applied({0: 1}))
    patient = asyncio.ensure_future(store.wait_applied({0: 1}))
    await store.applied()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await store.apply([Batch(0, 0, 1)])
    async with asyncio.timeout(SECONDS):
        assert (await patient)[0] == 1
        assert (await store.wait_applied({0: 1}))[0] == 1


# --- text ----------------------------------------------------------------------------------------

TEXTS = {
    "four bytes": "𝄞 😀 👩‍👩‍👧‍👦",
    "right to left": "שלום \u202e abc \u200f العربية",
    "combining": "e\u0301 Z\u0351\u0367\u0311",
    "controls": "\x01\x08\t\r\n\x1b[31m\x7f\x85\u2028",
    "quotes": """'"`$1 $$ \\ \\' E'\\x41' {a,b} {"NULL",NULL} -- ; %s ?1""",
    "null": "NULL",
    "spaces": "  \u3000 ",
    "edges": "\ufeff\ufffe\uffff\U0010ffff",
    "longest": "é" * 8_192,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_text_comes_back_as_it_was(store: MessageStore, text: str) -> None:
    user = text[:15]
    sent = Message(uuid(1), text, user, (user,), text, Position(0, 0), TIME_MS)
    await store.apply([Batch(0, 0, 1, (sent,))])
    assert (await ask(store, user)).messages == (sent,)


# Refusals -------------------------------------------------------------------------------------


async def test_what_can_never_be_stored_is_refused_and_changes_nothing(
    stores: Stores, store: MessageStore
) -> None:
    """The writer's validator lets nothing of the kind through; if it did, a store that only says
    "unavailable" would be asked for ever.
    """
    poison = Batch(0, 0, 2, (message(1, 0), message(2, 1, content="a lone \ud800")))
    before = await dump(stores)
    with pytest.raises(Unstorable):
        await store.apply([poison])
    assert await dump(stores) == before
    assert await store.apply([Batch(0, 0, 2, (message(1, 0),))])
