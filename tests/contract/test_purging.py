"""What is old goes when nobody is owed it, whatever its conversation is called."""

from dataclasses import replace

import pytest

from contract.messages import TIME_MS, message, owed, receipt, uuid
from landline.model import Batch, DeviceChange
from landline.ports import MessageStore
from support.stores import ReadingStores

FAR_MS = TIME_MS + 10**9
USERS = ("alice", "bob", "carol", "dave", "erin", "frank")
ROOM = "room:00000001-0000-8000-8000-0000000000aa"
# No server sends these. A log may hold them.
STRANGE = {
    "no kind": "notes",
    "one name": "dm:x",
    "no first name": "dm::x",
    "no second name": "dm:x:",
    "three names": "dm:alice:bob:carol",
    "not in order": "dm:bob:alice",
    "others are named": "dm:alice:bob",
    "it names the others": "dm:carol:dave",
    "a room with names": ROOM,
    "no room": "room:x",
}


async def left(stores: ReadingStores) -> list[str]:
    """Return the ids of the messages that are stored."""
    return sorted(str(row[0]) for row in (await stores.tables())["messages"])


async def all_owed(store: MessageStore) -> dict[str, list[str]]:
    """Return the ids of what each user is owed, if anything."""
    debts = {user: await owed(store, user) for user in USERS}
    return {user: ids for user, ids in debts.items() if ids}


@pytest.fixture
async def store(reading_stores: ReadingStores) -> MessageStore:
    return await reading_stores.open()


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE.keys())
async def test_whoever_is_owed_a_message_keeps_it(
    reading_stores: ReadingStores, store: MessageStore, name: str
) -> None:
    """A first message says who is in such a conversation, and later ones name others."""
    sent = (
        message(1, 0, conversation=name, to=("bob",)),
        message(2, 1, conversation=name, to=("carol",)),
        replace(message(3, 2, conversation=name, to=("dave", "erin")), sender="frank"),
    )
    assert await store.apply([Batch(0, 0, 3, sent)])
    end = 3
    while debts := await all_owed(store):
        await reading_stores.purge(FAR_MS)
        assert await all_owed(store) == debts
        assert await left(reading_stores) == sorted({id for ids in debts.values() for id in ids})
        user, ids = max(debts.items())
        [number] = [number for number in (1, 2, 3) if uuid(number) == ids[0]]
        received = receipt(number, user, offset=end)
        assert await store.apply([Batch(0, end, end + 1, (), (received,))])
        end += 1
    assert end >= 7
    await reading_stores.purge(FAR_MS)
    assert await left(reading_stores) == []


async def test_what_a_device_was_owed_that_has_ended_is_kept_for_its_user(
    reading_stores: ReadingStores, store: MessageStore
) -> None:
    begins = DeviceChange("erin", "phone", True, 0)
    ends = DeviceChange("erin", "phone", False, 2)
    sent = message(1, 1, to=("erin",))
    assert await store.apply([Batch(0, 0, 1, change=begins), Batch(0, 1, 2, (sent,))])
    await reading_stores.purge(FAR_MS)
    assert await store.apply([Batch(0, 2, 3, change=ends)])
    await reading_stores.purge(FAR_MS)
    assert await owed(store, "erin") == [uuid(1)]


async def test_what_is_applied_again_is_kept_away_for_those_too(
    reading_stores: ReadingStores, store: MessageStore
) -> None:
    sent = tuple(message(each, each, conversation="notes", to=("bob", "carol")) for each in (0, 1))
    received = tuple(receipt(0, user, offset=2) for user in ("bob", "carol"))
    batches = [Batch(0, 0, 2, sent), Batch(0, 2, 3, (), received)]
    assert await store.apply(batches)
    await reading_stores.purge(FAR_MS)
    before = await reading_stores.tables()
    await reading_stores.close()
    await reading_stores.set_back({0: 0})
    store = await reading_stores.open()
    assert await store.apply(batches)
    assert await reading_stores.tables() == before
