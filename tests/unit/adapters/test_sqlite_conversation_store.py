"""What people read in a file that was of version 1, and when the file is in trouble."""

from pathlib import Path

import pytest

from landline.adapters.sqlite import Database, SqliteConversations
from landline.errors import StoreUnavailable
from landline.model import (
    DeliveryStatus,
    HistoryQuery,
    ListedMember,
    ListQuery,
    Mailbox,
    Message,
    Position,
    Receipt,
)
from support.version_1 import make_file

NAME = "dm:alice:bob"


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


async def test_trouble_with_the_file_is_said(tmp_path: Path) -> None:
    database = Database(tmp_path / "data", lambda _why: None)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    conversations = SqliteConversations(database)
    for asked in (
        conversations.rooms(["room"]),
        conversations.list(ListQuery("alice", None, 9)),
        conversations.history(HistoryQuery("alice", NAME, None, None, 9)),
        conversations.members("alice", NAME),
        conversations.statuses("alice", ["m1"]),
    ):
        with pytest.raises(StoreUnavailable, match="cannot read the store"):
            await asked
    await database.close()
