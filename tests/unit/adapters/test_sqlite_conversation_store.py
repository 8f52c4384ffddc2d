"""What people read in a file that was of version 1, when the file is in trouble, and while others
read: they have a thread of their own.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from landline.adapters.sqlite import Database, SqliteConversations, SqliteMessageStore
from landline.errors import StoreUnavailable
from landline.model import (
    DeliveryStatus,
    HistoryQuery,
    ListedMember,
    ListQuery,
    Mailbox,
    Message,
    PendingQuery,
    Position,
    Receipt,
)
from support.version_1 import make_file

NAME = "dm:alice:bob"
SECONDS = 30.0

Questions = list[Callable[[], Awaitable[object]]]


def questions(conversations: SqliteConversations) -> Questions:
    """Return what people ask."""
    return [
        lambda: conversations.list(ListQuery("alice", None, 9)),
        lambda: conversations.history(HistoryQuery("alice", NAME, None, None, 9)),
        lambda: conversations.history(HistoryQuery("alice", NAME, None, 0, 9)),
        lambda: conversations.members("alice", NAME),
        lambda: conversations.statuses("alice", ["m1"]),
    ]


def lookups(database: Database) -> Questions:
    """Return what sends, pushes and replays wait for."""
    store, conversations = SqliteMessageStore(database), SqliteConversations(database)
    return [
        lambda: conversations.rooms(["room"]),
        lambda: store.pending([PendingQuery(Mailbox("alice"), {}, 9)]),
        lambda: store.find(["m1"]),
        store.applied,
    ]


async def test_what_version_1_has_left_can_be_read(tmp_path: Path) -> None:
    messages = [
        Message(f"m{offset}", NAME, "alice", ("bob",), str(offset), Position(0, offset), offset)
        for offset in range(1, 6)
    ]
    received = [Receipt(f"m{each}", Mailbox("bob"), "2026-01-01T00:00:00Z", 9) for each in (1, 2)]
    make_file(tmp_path, messages, received)
    database = Database(tmp_path, lambda _why: None)
    conversations = SqliteConversations(database)
    back = await conversations.history(HistoryQuery("bob", NAME, 4, None, 2))
    forth = await conversations.history(HistoryQuery("bob", NAME, None, 3, 9))
    assert back is not None
    assert forth is not None
    assert (back.messages, back.complete) == (tuple(messages[1:3]), False)
    assert (forth.messages, forth.complete) == (tuple(messages[3:]), True)
    [item] = await conversations.list(ListQuery("bob", None, 9))
    assert (item.last, item.read_offset, item.unread) == (messages[-1], 2, 3)
    members = await conversations.members("alice", NAME)
    assert members == [ListedMember("alice", None, 5), ListedMember("bob", None, 2)]
    assert set(await conversations.statuses("alice", ["m2", "m3"])) == {
        DeliveryStatus("m2", "bob", True),
        DeliveryStatus("m3", "bob", False),
    }
    await database.close()


async def test_trouble_with_the_file_is_said_and_over_when_it_is_back(tmp_path: Path) -> None:
    database = Database(tmp_path / "data", lambda _why: None)
    asked = [*questions(SqliteConversations(database)), *lookups(database)]
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    for each in asked:
        with pytest.raises(StoreUnavailable, match="cannot read the store"):
            await each()
    (tmp_path / "elsewhere").rename(tmp_path / "data")
    for each in asked:
        await each()
    await database.close()


@pytest.mark.parametrize("who", ["people", "others"])
async def test_people_who_read_and_all_others_do_not_wait_for_each_other(
    tmp_path: Path, who: str
) -> None:
    database = Database(tmp_path / "data", lambda _why: None)
    asked, free = questions(SqliteConversations(database)), lookups(database)
    hold = database.answer
    if who == "others":
        asked, free, hold = free, asked, database.read
    done = threading.Event()
    held = asyncio.ensure_future(hold(lambda _connection: done.wait(SECONDS)))
    behind = [asyncio.ensure_future(each()) for each in asked]
    async with asyncio.timeout(SECONDS / 2):
        for _ in range(3):
            await asyncio.gather(*(each() for each in free))
    assert not any(each.done() for each in (held, *behind))
    closing = asyncio.ensure_future(database.close())
    done.set()
    assert await held
    await asyncio.gather(*behind)  # what was asked before it is closed is answered
    await closing
