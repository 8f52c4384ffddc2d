"""What may be too much for one statement goes in steps, each committed for itself."""

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from contract.script import ROOM, Script
from landline.adapters.postgres import PostgresMessageStore, applying
from landline.errors import StoreUnavailable
from landline.model import (
    Batch,
    DeviceChange,
    EventKind,
    Mailbox,
    MemberChange,
    MemberStep,
    Message,
    Position,
    Receipt,
    Role,
)
from support.postgres import execute
from support.stores import PostgresStores
from support.tables import Rows

pytestmark = pytest.mark.stack

STEP = 5
SENT = 23


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "AHEAD_ROWS", STEP)


@pytest.fixture
async def store(postgres_stores: PostgresStores) -> PostgresMessageStore:
    store = await postgres_stores.open()
    assert isinstance(store, PostgresMessageStore)
    return store


@pytest.fixture
def script(store: PostgresMessageStore) -> Script:
    return Script(store)


def fail_at(store: PostgresMessageStore, sql: str, number: int, patch: pytest.MonkeyPatch) -> None:
    """Have the store fail before it runs this statement for this time."""
    fetch = store._fetch
    count = 0

    async def fetch_or_fail(lane: Any, text: str, *arguments: Any) -> list[Any]:
        nonlocal count
        count += text == sql
        if count == number:
            raise StoreUnavailable("as the test wants it")
        return await fetch(lane, text, *arguments)

    patch.setattr(store, "_fetch", fetch_or_fail)


def owed(rows: Rows) -> dict[str, list[int]]:
    """Return the offsets that each mailbox of bob is owed and has not received elsewhere."""
    found: dict[str, list[int]] = {}
    for user, device, _partition, offset, _name, is_received in rows["pending"]:
        if user == "bob" and not is_received:
            found.setdefault(device, []).append(offset)
    return {device: sorted(offsets) for device, offsets in found.items()}


# --- a device ends -------------------------------------------------------------------------------


async def say(script: Script, partition: int = 0) -> list[int]:
    """Return the offsets of many messages to bob."""
    offsets = []
    for _ in range(SENT):
        await script.says("alice", "bob", partition=partition)
        offsets.append(script.offset)
    return offsets


async def fill(script: Script) -> tuple[list[int], list[int]]:
    """Have the phone owed much. Returns the offsets that only the phone is owed, and those that the
    tablet is owed too; the laptop has gone.
    """
    await script.begins("bob/phone")
    await script.begins("bob/laptop")
    only = await say(script)
    await script.ends("bob/laptop")
    await script.begins("bob/tablet")
    return only, await say(script)


@pytest.mark.parametrize("fails_at", [None, 1, 2, 4, 10])
async def test_much_that_an_ended_device_was_owed_goes_back_in_steps(
    postgres_stores: PostgresStores,
    store: PostgresMessageStore,
    script: Script,
    fails_at: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, after = await fill(script)
    got = await script.says("alice", "bob")
    await script.acknowledges("bob/tablet", got)
    start = (await store.applied())[0]
    ends = Batch(0, start, start + 1, change=DeviceChange("bob", "phone", False, start))
    assert owed(await postgres_stores.tables()) == {"phone": before + after, "tablet": after}
    if fails_at:
        with monkeypatch.context() as patch:
            fail_at(store, applying.HAND_BACK, fails_at, patch)
            with pytest.raises(StoreUnavailable):
                await store.apply([ends])
        assert (await store.applied())[0] == start
        done = (fails_at - 1) * STEP
        rows = owed(await postgres_stores.tables())
        assert len(rows["phone"]) == 2 * SENT - done  # what was done stays done
        # A device that has not ended yet is shown all that was not received.
        assert set(rows["phone"]) | set(rows.get("*", ())) >= set(before)
    assert await store.apply([ends])
    tables = await postgres_stores.tables()
    assert owed(tables) == {"*": before, "tablet": after}
    assert not [row for row in tables["pending"] if row[1] == "phone"]
    assert not await store.apply([ends])
    assert await postgres_stores.tables() == tables


async def test_a_device_that_ends_in_all_partitions_at_once_hands_back_all(
    postgres_stores: PostgresStores, store: PostgresMessageStore, script: Script
) -> None:
    for partition in range(4):
        await script.begins("bob/phone", partition=partition)
        await say(script, partition)
    applied = await store.applied()
    ends = [
        Batch(p, at, at + 1, change=DeviceChange("bob", "phone", False, at))
        for p, at in applied.items()
    ]
    before = [(*row[2:5], False) for row in (await postgres_stores.tables())["pending"]]
    assert len(before) == 4 * SENT
    assert await store.apply(ends)
    tables = await postgres_stores.tables()
    assert [tuple(row[2:]) for row in tables["pending"]] == before
    assert {row[1] for row in tables["pending"]} == {"*"}
    assert tables["devices"] == []


@pytest.mark.parametrize("is_waiting", [False, True], ids=["behind", "overtaken as it waits"])
async def test_a_step_of_a_writer_that_is_behind_moves_nothing(
    postgres_stores: PostgresStores,
    store: PostgresMessageStore,
    script: Script,
    is_waiting: bool,
) -> None:
    await fill(script)
    start = (await store.applied())[0]
    arguments = ([0], [start], ["bob"], ["phone"], [start], 1_000)
    tables = await postgres_stores.tables()
    move = "UPDATE applied SET next_offset = next_offset + 1 WHERE log_partition = 0"
    if is_waiting:
        holder = await asyncpg.connect(postgres_stores._url.reveal())
        try:
            await holder.execute(f"BEGIN; {move}")
            stepping = asyncio.create_task(
                store._fetch(store._writer, applying.HAND_BACK, *arguments)
            )
            await asyncio.wait([stepping], timeout=0.5)
            assert not stepping.done()
            await holder.execute("COMMIT")
            rows = await stepping
        finally:
            await holder.close()
    else:
        await execute(postgres_stores._url.reveal(), move)
        rows = await store._fetch(store._writer, applying.HAND_BACK, *arguments)
    assert [tuple(row) for row in rows] == [(0,)]
    assert await postgres_stores.tables() == tables


async def test_records_that_are_read_again_do_not_end_the_device_of_today(
    postgres_stores: PostgresStores, store: PostgresMessageStore
) -> None:
    """To set the position back is a cure: see the runbook."""
    sent = Message(
        "0" * 8 + "-0000-8000-8000-00000000c0de",
        "dm:alice:bob",
        "alice",
        ("bob",),
        "x",
        Position(0, 4),
        1,
    )
    received = Receipt(sent.id, Mailbox("bob", "phone"), "2026", 5)
    changes = [("phone", True), ("laptop", True), ("laptop", False), ("laptop", True)]
    batches = [
        *(
            Batch(0, n, n + 1, change=DeviceChange("bob", device, is_added, n))
            for n, (device, is_added) in enumerate(changes)
        ),
        Batch(0, 4, 5, (sent,)),
        Batch(0, 5, 6, (), (received,)),
    ]
    assert await store.apply(batches)
    tables = await postgres_stores.tables()
    assert [row[1] for row in tables["pending"]] == ["laptop"]
    assert len(tables["devices"]) == 2
    back = "UPDATE applied SET next_offset = 0 WHERE log_partition = 0"
    await execute(postgres_stores._url.reveal(), back)
    for batch in batches:
        assert await store.apply([batch])
        assert await postgres_stores.tables() == tables


# --- somebody is removed from a room -------------------------------------------------------------


async def fill_room(script: Script) -> None:
    """Have bob owed much of a room, in three mailboxes, and something else."""
    await script.makes("alice", "bob", "carol")
    for name in (None, "bob/phone", "bob/tablet"):
        if name:
            await script.begins(name)
        for _ in range(STEP):
            await script.says("alice", ROOM)
    await script.says("alice", "bob")


def removal(number: int, start: int) -> Batch:
    id = f"{number:08x}-0000-8000-8000-00000000abcd"
    place = Position(0, start)
    event = Message(id, ROOM, "alice", (), "", place, 1, EventKind.MEMBER, "{}")
    change = MemberChange(ROOM, "bob", MemberStep.REMOVE, Role.MEMBER)
    return Batch(0, start, start + 1, (event,), change=change)


def addition(number: int, start: int) -> Batch:
    change = MemberChange(ROOM, "bob", MemberStep.ADD, Role.MEMBER)
    return replace(removal(number, start), change=change)


@pytest.mark.parametrize("fails_at", [None, 1, 3])
async def test_much_that_a_removed_member_was_owed_goes_in_steps(
    postgres_stores: PostgresStores,
    store: PostgresMessageStore,
    script: Script,
    fails_at: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await fill_room(script)
    start = (await store.applied())[0]
    before = await postgres_stores.tables()
    if fails_at:
        with monkeypatch.context() as patch:
            fail_at(store, applying.FORGET_ROOM, fails_at, patch)
            with pytest.raises(StoreUnavailable):
                await store.apply([removal(1, start)])
        left = await postgres_stores.tables()
        assert len(before["pending"]) - len(left["pending"]) == (fails_at - 1) * STEP
    assert await store.apply([removal(1, start)])
    tables = await postgres_stores.tables()
    last = start - 1
    assert owed(tables) == {"phone": [last], "tablet": [last]}
    carol = [row for row in before["pending"] if row[0] == "carol"]
    event = ("carol", "*", 0, start, ROOM, False)
    assert [row for row in tables["pending"] if row[0] == "carol"] == [*carol, event]


async def test_where_a_removal_does_nothing_no_step_does_anything(
    postgres_stores: PostgresStores, store: PostgresMessageStore, script: Script
) -> None:
    """Its event is known, somebody is no member, or the writer is behind."""
    await fill_room(script)
    start = (await store.applied())[0]
    assert await store.apply([removal(1, start)])
    assert await store.apply([addition(2, start + 1)])
    said = Message(
        "0" * 8 + "-0000-8000-8000-00000000abcd", ROOM, "alice", (), "x", Position(0, start + 2), 1
    )
    assert await store.apply([Batch(0, start + 2, start + 3, (said,))])
    tables = await postgres_stores.tables()
    assert start + 2 in owed(tables)["phone"]
    assert await store.apply([removal(1, start + 3)])  # a repeat of the event
    assert not await store.apply([removal(3, start + 3)])  # behind
    stranger = removal(4, start + 4)
    change = MemberChange(ROOM, "mallory", MemberStep.REMOVE, Role.MEMBER)
    assert owed(await postgres_stores.tables()) == owed(tables)
    assert await store.apply([replace(stranger, change=change)])
    assert start + 2 in owed(await postgres_stores.tables())["phone"]
