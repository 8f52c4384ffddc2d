"""The contract of `landline.ports.MessageStore`, for every adapter."""

import asyncio
import json

import pytest

from contract.messages import SECONDS, TIME_MS, ask, dump, message, owed, receipt, status, uuid
from landline.errors import Unstorable
from landline.model import (
    NOWHERE,
    Appended,
    Batch,
    EventKind,
    Message,
    Position,
    Quarantined,
)
from landline.ports import MessageStore
from support.stores import Stores


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
    late = Batch(0, start, start + 9, (message(2, start),), (receipt(1, offset=start),), (bad,))
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
            Batch(
                p,
                offset,
                offset + 1,
                (message(number, offset, partition=p, conversation=f"c{p}"),),
            )
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
    await store.apply([Batch(0, 0, 7, (message(1, 1), message(2, 2)), (receipt(1, offset=3),))])
    before = await dump(stores)
    await stores.close()
    store = await stores.open()
    assert await dump(stores) == before
    assert (await store.applied())[0] == 7
    assert await owed(store) == [uuid(2)]


async def test_quarantine_keeps_bytes_and_reason(stores: Stores, store: MessageStore) -> None:
    bad = Quarantined(Position(0, 4), b"\x00\xff{", "not JSON: line 1")
    assert await store.apply([Batch(0, 0, 5, quarantined=(bad,))])
    assert (await stores.tables())["quarantine"] == [(0, 4, bad.value, bad.reason)]
    assert (await store.applied())[0] == 5


async def test_of_a_message_in_several_partitions_the_first_that_is_applied_counts(
    stores: Stores, store: MessageStore
) -> None:
    """No honest log has the same message in two partitions; one that has must not stop it all."""
    batches = [
        Batch(p, 0, 2, (message(1, 0, partition=p),), (receipt(1, offset=1),))
        for p in range(stores.partitions)
    ]
    assert await store.apply(batches)
    assert await status(stores) == [("bob", "DELIVERED")]
    assert (await store.find([uuid(1)]))[uuid(1)].position == Position(0, 0)


async def test_the_first_record_of_a_message_is_the_message(store: MessageStore) -> None:
    await store.apply([Batch(0, 0, 6, (message(1, 5),))])
    await store.apply([Batch(0, 6, 7, (message(1, 6, content="other"),))])
    await store.apply([Batch(0, 7, 8, (message(1, 2, content="lower, as no log has it"),))])
    assert (await ask(store)).messages == (message(1, 5),)
    assert await store.find([uuid(1)]) == {uuid(1): Appended(Position(0, 5), TIME_MS + 5)}


async def test_a_receipt_ends_the_debt_with_its_message_and_after_it_but_not_before(
    store: MessageStore,
) -> None:
    await store.apply([Batch(0, 0, 1, (), (receipt(1, offset=0),))])
    assert await store.find([uuid(1)]) == {}
    both = (receipt(2, offset=4), receipt(3, offset=3))
    await store.apply([Batch(0, 1, 5, (message(1, 1), message(2, 2), message(3, 4)), both)])
    await store.apply([Batch(0, 5, 7, (message(4, 5), message(5, 6)))])
    await store.apply([Batch(0, 7, 8, (), (receipt(4, offset=7),))])
    assert await owed(store) == [uuid(1), uuid(3), uuid(5)]


async def test_a_message_that_comes_again_stays_delivered(store: MessageStore) -> None:
    await store.apply([Batch(0, 0, 6, (message(1, 4),), (receipt(1, offset=5),))])
    await store.apply([Batch(0, 6, 7, (message(1, 6),))])
    assert await owed(store) == []


async def test_a_stranger_s_receipt_changes_nothing_for_the_recipients(store: MessageStore) -> None:
    await store.apply([Batch(0, 0, 2, (message(1, 0),), (receipt(1, "mallory", offset=1),))])
    await store.apply([Batch(0, 2, 3, (), (receipt(1, "eve", offset=2),))])
    assert await owed(store) == [uuid(1)]
    assert await owed(store, "mallory") == []
    assert await owed(store, "eve") == []


async def test_each_recipient_acknowledges_for_themselves(store: MessageStore) -> None:
    await store.apply([Batch(0, 0, 1, (message(1, 0, to=("bob", "carol", "dave")),))])
    await store.apply([Batch(0, 1, 2, (), (receipt(1, "carol", offset=1),))])
    assert [await owed(store, user) for user in ("bob", "carol", "dave")] == [
        [uuid(1)],
        [],
        [uuid(1)],
    ]


async def test_those_who_wait_are_woken_when_the_position_is_reached(stores: Stores) -> None:
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
    data = json.dumps({"a": text[:500]}, ensure_ascii=False)
    sent = Message(
        uuid(1), text[:60], user, (user,), text, Position(0, 0), TIME_MS, EventKind.MESSAGE, data
    )
    await store.apply([Batch(0, 0, 1, (sent,))])
    assert (await ask(store, user)).messages == (sent,)


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
