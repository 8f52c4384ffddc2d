"""Users who are no more: what they have said is shown under another name, and nothing of before is
owed to them, for every store.
"""

import pytest

from contract.script import ROOM, Script
from landline.model import HistoryQuery, Positions
from landline.ports import ConversationStore
from support.stores import ReadingStores

DIRECT = "dm:alice:bob"


@pytest.fixture
async def script(reading_stores: ReadingStores) -> Script:
    return Script(await reading_stores.open())


async def seen(
    conversations: ConversationStore, user: str, conversation: str = DIRECT
) -> list[tuple[str, str]]:
    """Return content and sender of all that a user sees, the same from both ends."""
    pages = [
        await conversations.history(HistoryQuery(user, conversation, None, after, 100))
        for after in (None, -1)
    ]
    assert pages[0] == pages[1]
    assert pages[0] is not None
    return [(each.content, each.sender) for each in pages[0].messages]


def up_to(script: Script) -> Positions:
    return {0: script.offset + 1}


async def test_what_they_have_said_is_shown_under_the_other_name_wherever_it_is_read(
    script: Script, conversations: ConversationStore
) -> None:
    await script.makes("alice", "bob", "carol")
    await script.says("alice", "bob", "to bob")
    await script.says("alice", ROOM, "to all")
    await script.says("bob", "alice", "to alice")
    await conversations.end_user("alice", "nobody", up_to(script))
    assert await seen(conversations, "bob") == [("to bob", "nobody"), ("to alice", "bob")]
    # What is told of a room is told of those who were in it.
    assert await seen(conversations, "carol", ROOM) == [("", "alice"), ("to all", "nobody")]
    assert await script.senders("bob") == ["alice", "nobody", "nobody"]


async def test_who_comes_back_begins_anew(script: Script, conversations: ConversationStore) -> None:
    await script.says("alice", "bob", "once")
    await conversations.end_user("alice", "nobody", up_to(script))
    later = await script.says("bob", "alice", "who are you?")
    await script.says("alice", "bob", "another one")
    assert await seen(conversations, "bob") == [
        ("once", "nobody"),
        ("who are you?", "bob"),
        ("another one", "alice"),
    ]
    assert await script.owed("alice") == [later]


async def test_whoever_ends_again_has_the_last_name(
    script: Script, conversations: ConversationStore
) -> None:
    await script.says("alice", "bob", "first")
    await conversations.end_user("alice", "nobody", up_to(script))
    await script.says("alice", "bob", "second")
    await conversations.end_user("alice", "somebody", up_to(script))
    await conversations.end_user("alice", "anybody", {0: 1})  # said late: it was said of less
    assert await seen(conversations, "bob") == [("first", "anybody"), ("second", "anybody")]


async def test_nothing_of_before_is_owed_to_them_and_nobody_says_that_it_was_delivered(
    reading_stores: ReadingStores,
    script: Script,
    conversations: ConversationStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for adapter in ("sqlite.conversation_store", "postgres.conversations"):
        monkeypatch.setattr(f"landline.adapters.{adapter}.FORGOTTEN_ROWS", 2)
    sent = [await script.says("bob", "alice") for _ in range(5)]
    other = await script.says("bob", "carol")
    await conversations.end_user("alice", "nobody", up_to(script))
    assert await script.owed("alice") == []
    assert await script.owed("carol") == [other]
    assert await conversations.statuses("bob", sent) == []
    assert {row[0] for row in await reading_stores.statuses()} == {other}
    later = await script.says("bob", "alice")
    [status] = await conversations.statuses("bob", [later])
    assert not status.is_delivered


async def test_devices_keep_what_they_are_owed(
    script: Script, conversations: ConversationStore
) -> None:
    """They end by records of the log, before: one that is there has begun again."""
    await script.begins("alice/phone")
    sent = await script.says("bob", "alice")
    await conversations.end_user("alice", "nobody", up_to(script))
    assert await script.owed("alice/phone") == [sent]


async def test_what_the_log_says_again_is_not_owed_to_them_again(
    reading_stores: ReadingStores, script: Script, conversations: ConversationStore
) -> None:
    sent = await script.says("bob", "alice")
    await conversations.end_user("alice", "nobody", up_to(script))
    await script.says("bob", "alice", again=sent)
    assert await script.owed("alice") == []
    assert [row[-2:] for row in (await reading_stores.tables())["pending"]] == []


@pytest.mark.parametrize(
    "reading_stores", ["model_stores", pytest.param("postgres_stores", marks=pytest.mark.stack)],
    ids=["model", "postgres"], indirect=True,
)  # fmt: skip
async def test_it_is_said_of_each_partition(
    script: Script, conversations: ConversationStore
) -> None:
    await script.says("alice", "bob", "here")
    await script.says("alice", "carol", "there", partition=2)
    await script.says("alice", "carol", "there, later", partition=2)
    await conversations.end_user("alice", "nobody", {0: 1, 2: 1})
    assert await seen(conversations, "bob") == [("here", "nobody")]
    assert await seen(conversations, "carol", "dm:alice:carol") == [
        ("there", "nobody"),
        ("there, later", "alice"),
    ]
    await conversations.end_user("alice", "nobody", {2: 2})
    assert await seen(conversations, "bob") == [("here", "nobody")]
    assert [each[1] for each in await seen(conversations, "carol", "dm:alice:carol")] == [
        "nobody",
        "nobody",
    ]
