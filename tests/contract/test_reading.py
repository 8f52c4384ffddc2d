"""What people may read of conversations: each rule as an example, for every store, and random logs
against `Tables`, while messages are purged and users end in between.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from contract.messages import TIME_MS, message, uuid
from contract.script import OTHER_ROOM, ROOM, Script
from landline.model import (
    UNREAD_EVENTS,
    UNREAD_LIMIT,
    Batch,
    DeliveryStatus,
    EventKind,
    History,
    HistoryPage,
    HistoryQuery,
    ListedConversation,
    ListedMember,
    ListQuery,
    Message,
    Role,
    RoomMember,
)
from landline.ports import ConversationStore
from support.events import USERS, in_pieces, random_logs, random_questions
from support.stores import ReadingStores
from support.tables import Tables

DIRECT = "dm:alice:bob"
FAR_MS = TIME_MS + 10**9


@pytest.fixture
async def script(reading_stores: ReadingStores) -> Script:
    return Script(await reading_stores.open())


class Reader:
    """Asks, and says by ids what it was answered."""

    def __init__(self, conversations: ConversationStore) -> None:
        self.conversations = conversations

    async def page(
        self,
        user: str,
        conversation: str = ROOM,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> HistoryPage:
        query = HistoryQuery(user, conversation, before, after, limit)
        page = await self.conversations.history(query)
        assert page is not None
        return page

    async def sees(self, user: str, conversation: str = ROOM) -> list[str]:
        """Return all of a conversation that is visible to the user, after going both ways."""
        page = await self.page(user, conversation)
        assert page.complete
        assert page == await self.page(user, conversation, after=-1)
        backwards: list[Message] = []
        before: int | None = None
        forwards: list[Message] = []
        after = -1
        for limit in (1, 2, 100):
            back = await self.page(user, conversation, before=before, limit=limit)
            backwards[:0] = back.messages
            forth = await self.page(user, conversation, after=after, limit=limit)
            forwards += forth.messages
            if backwards:
                before = backwards[0].position.offset
                after = forwards[-1].position.offset
        assert tuple(backwards) == tuple(forwards) == page.messages
        return [each.id for each in page.messages]

    async def listed(self, user: str) -> Sequence[ListedConversation]:
        return await self.conversations.list(ListQuery(user, None, 100))

    async def item(self, user: str, conversation: str = ROOM) -> ListedConversation:
        [item] = [each for each in await self.listed(user) if each.name == conversation]
        return item

    async def unread(self, user: str, conversation: str = ROOM) -> int:
        return (await self.item(user, conversation)).unread

    async def nothing(self, user: str, conversation: str = ROOM) -> bool:
        """Say whether a conversation is not there for a user, whichever way they ask."""
        histories = [
            await self.conversations.history(HistoryQuery(user, conversation, before, after, 100))
            for before, after in ((None, None), (10**9, None), (None, -1))
        ]
        members = await self.conversations.members(user, conversation)
        names = [each.name for each in await self.listed(user)]
        return histories == [None] * 3 and members is None and conversation not in names


@pytest.fixture
def reader(conversations: ConversationStore) -> Reader:
    return Reader(conversations)


# Random logs -------------------------------------------------------------------------------------


async def compare(
    chance: random.Random,
    stores: ReadingStores,
    conversations: ConversationStore,
    tables: Tables,
) -> None:
    """Compare the answers to random questions, and to the questions that follow from them."""
    applied = await (await stores.open()).applied()
    assert {each: end for each, end in applied.items() if end} == tables.applied
    questions = random_questions(chance, list(tables.messages))
    rooms = await conversations.rooms(questions.rooms)
    assert rooms == tables.rooms(questions.rooms, applied)
    expected = tables.rooms(questions.rooms)
    assert all(list(rooms[each].members) == list(expected[each].members) for each in rooms)
    for lists in questions.lists:
        assert await conversations.list(lists) == tables.listed(lists)
    for history in questions.histories:
        assert await conversations.history(history) == tables.history(history, applied)
    for user, name in questions.members:
        assert await conversations.members(user, name) == tables.members(user, name)
    for sender, ids in questions.statuses:
        statuses = await conversations.statuses(sender, ids)
        assert len(statuses) == len(set(statuses))
        assert set(statuses) == tables.delivery(sender, ids)


async def purge(chance: random.Random, stores: ReadingStores, tables: Tables) -> None:
    """Have messages purged, and take the same ones out of `tables`."""
    times = sorted(each.time_ms for each in tables.messages.values())
    before_ms = chance.choice(times) if times and chance.random() < 0.8 else FAR_MS
    await stores.purge(before_ms)
    left = {str(row[0]) for row in (await stores.tables())["messages"]}
    gone, purgeable = set(tables.messages) - left, tables.purgeable(before_ms)
    assert gone == purgeable
    tables.forget(gone)


async def end_somebody(
    chance: random.Random, conversations: ConversationStore, tables: Tables
) -> None:
    """Have users be no more, one of whom may have been so before."""
    for user in (chance.choice(USERS), *chance.sample(list(tables.ended), len(tables.ended) // 2)):
        name = chance.choice(("nobody", f"deleted-{user}"))
        before = dict(tables.applied)
        await conversations.end_user(user, name, before)
        tables.end_user(user, name, before)


@pytest.mark.parametrize("seed", range(200, 212))
async def test_a_store_answers_what_the_tables_answer_all_along(
    reading_stores: ReadingStores, conversations: ConversationStore, seed: int
) -> None:
    chance = random.Random(seed)
    store = await reading_stores.open()
    tables = Tables(reading_stores.partitions)
    logs = random_logs(chance, reading_stores.partitions, records=chance.choice((80, 200)))
    pieces = in_pieces(chance, logs)
    looks = set(chance.sample(range(len(pieces)), min(3, len(pieces)))) | {len(pieces) - 1}
    for number, batches in enumerate(pieces):
        assert await store.apply(batches)
        assert tables.apply(batches)
        if number in looks:
            await compare(chance, reading_stores, conversations, tables)
            await end_somebody(chance, conversations, tables)
            await compare(chance, reading_stores, conversations, tables)
            await purge(chance, reading_stores, tables)
            await compare(chance, reading_stores, conversations, tables)
    assert await reading_stores.statuses() == tables.statuses()
    assert (await reading_stores.tables())["pending"] == tables.rows()["pending"]


# Pages of a conversation -------------------------------------------------------------------------


async def test_a_page_is_the_newest_below_or_the_oldest_above_an_offset(
    script: Script, reader: Reader
) -> None:
    ids = [await script.says("alice", "bob", str(number)) for number in range(7)]

    async def page(**which: int) -> tuple[list[str], bool]:
        found = await reader.page("bob", DIRECT, **which)
        return [each.id for each in found.messages], found.complete

    assert await page() == (ids, True)
    assert await page(limit=3) == (ids[4:], False)
    assert await page(limit=3, before=4) == (ids[1:4], False)
    assert await page(limit=3, before=3) == (ids[:3], True)
    assert await page(limit=3, before=0) == ([], True)
    assert await page(limit=3, after=2) == (ids[3:6], False)
    assert await page(limit=3, after=3) == (ids[4:], True)
    assert await page(limit=3, after=6) == ([], True)
    assert await page(limit=7) == (ids, True)
    assert await page(limit=7, after=-1) == (ids, True)


@pytest.mark.parametrize("history", list(History))
async def test_a_page_may_begin_at_either_end_of_all_numbers(
    script: Script, reader: Reader, history: History
) -> None:
    """In a direct conversation, in a room, and in former memberships of it."""
    seen: dict[str, list[str]] = {DIRECT: [], ROOM: []}
    seen[ROOM].append(await script.makes("alice", "bob", history=history))
    seen[ROOM].append(await script.says("alice", ROOM))
    await script.removes("alice", "bob")
    seen[ROOM].append(await script.adds("alice", "bob"))
    seen[DIRECT].append(await script.says("alice", "bob"))
    if history is History.ALL:
        seen[ROOM] = await reader.sees("alice")
    for name, ids in seen.items():
        above_0 = ids[1:] if name == ROOM else ids  # the room was made there
        for offset, above, below in (
            (-1, ids, []),
            (0, above_0, []),
            (2**53, [], ids),
            (2**63 - 1, [], ids),
        ):
            page = await reader.page("bob", name, after=offset)
            assert ([each.id for each in page.messages], page.complete) == (above, True)
            page = await reader.page("bob", name, before=offset)
            assert ([each.id for each in page.messages], page.complete) == (below, True)


async def test_a_page_says_how_far_the_store_had_come(script: Script, reader: Reader) -> None:
    await script.says("alice", "bob")
    await script.says("alice", "carol")
    page = await reader.page("bob", DIRECT)
    assert {each: end for each, end in page.applied.items() if end} == {0: 2}


async def test_an_event_comes_with_everything(
    reading_stores: ReadingStores, conversations: ConversationStore, reader: Reader
) -> None:
    sent = replace(message(1, 3, content="Zoë \N{SNOWMAN}\n\x01"), data='{"n":[1,null]}')
    await (await reading_stores.open()).apply([Batch(0, 0, 9, (sent,))])
    for user in ("alice", "bob"):  # as for a mailbox, the recipient is who has asked
        [found] = (await reader.page(user, DIRECT)).messages
        assert found == replace(sent, recipients=(user,))
        assert found.conversation_id == (await reading_stores.conversation_ids())[DIRECT]
        assert (await reader.item(user, DIRECT)).last == found


async def test_what_comes_while_somebody_pages_moves_nothing(
    script: Script, reader: Reader
) -> None:
    ids = [await script.says("alice", "bob", str(number)) for number in range(6)]
    first = await reader.page("bob", DIRECT, limit=2)
    new = await script.says("bob", "alice")
    second = await reader.page("bob", DIRECT, before=4, limit=2)
    forth = await reader.page("bob", DIRECT, after=5, limit=2)
    found = [each.id for each in (*second.messages, *first.messages, *forth.messages)]
    assert found == [*ids[2:], new]


async def test_what_is_purged_while_somebody_pages_is_passed_over(
    reading_stores: ReadingStores, script: Script, reader: Reader
) -> None:
    ids = [await script.says("alice", "bob", str(number)) for number in range(6)]
    await script.acknowledges("bob", *ids[:5])
    await reading_stores.purge(TIME_MS + 4)
    page = await reader.page("bob", DIRECT, before=5, limit=2)
    assert [each.id for each in page.messages] == [ids[4]]
    assert page.complete
    page = await reader.page("alice", DIRECT, after=-1, limit=1)
    assert [each.id for each in page.messages] == [ids[4]]


async def test_all_kinds_of_events_are_in_pages_and_counted(script: Script, reader: Reader) -> None:
    ids = [
        await script.makes("alice", "bob", title="Ideas"),
        await script.says("alice", ROOM),
        await script.adds("alice", "carol"),
        await script.names("alice", "carol", Role.ADMIN),
        await script.titles("alice", "Plans"),
        await script.removes("alice", "carol"),
    ]
    assert await reader.sees("bob") == ids
    page = await reader.page("bob")
    kinds = [each.kind.value for each in page.messages]
    assert kinds == ["room", "message", "member", "member", "room", "member"]
    assert all(each.data for each in page.messages if each.kind is not EventKind.MESSAGE)
    assert await reader.unread("bob") == 6
    assert await reader.unread("alice") == 0


@pytest.mark.parametrize(("limit_bytes", "count"), [(1, 1), (5, 1), (6, 2), (10, 2), (11, 3)])
async def test_a_page_is_limited_in_bytes(
    script: Script, conversations: ConversationStore, limit_bytes: int, count: int
) -> None:
    """One begins as long as those before it, on the way of the page, do not come to the limit."""
    ids = [await script.says("alice", "bob", "fünf") for _ in range(4)]  # 5 bytes
    for before, after, expected in ((None, None, ids[-count:]), (None, -1, ids[:count])):
        query = HistoryQuery("bob", DIRECT, before, after, 4, limit_bytes)
        page = await conversations.history(query)
        assert page is not None
        assert [each.id for each in page.messages] == expected
        assert not page.complete
    query = HistoryQuery("bob", DIRECT, count, None, 4, limit_bytes)
    page = await conversations.history(query)
    assert page is not None
    assert [each.id for each in page.messages] == ids[:count]
    assert page.complete


async def test_events_without_content_cost_no_bytes(
    script: Script, conversations: ConversationStore
) -> None:
    await script.makes("alice", "bob")
    await script.titles("alice", "Ideas")
    page = await conversations.history(HistoryQuery("bob", ROOM, None, None, 10, 1))
    assert page is not None
    assert len(page.messages) == 2
    assert page.complete


# What is visible ---------------------------------------------------------------------------------


async def test_both_see_all_of_a_direct_conversation_and_nobody_else_anything(
    script: Script, reader: Reader
) -> None:
    ids = [await script.says("alice", "bob"), await script.says("bob", "alice")]
    assert await reader.sees("alice", DIRECT) == await reader.sees("bob", DIRECT) == ids
    for stranger in ("carol", "nobody", "Bob", "alic", ""):
        assert await reader.nothing(stranger, DIRECT)
    assert await reader.nothing("alice", "dm:alice:carol")
    assert await reader.nothing("alice", "no conversation")


async def test_a_conversation_with_oneself_is_one(script: Script, reader: Reader) -> None:
    sent = await script.says("alice", "alice")
    assert await reader.sees("alice", "dm:alice:alice") == [sent]
    members = await reader.conversations.members("alice", "dm:alice:alice")
    assert members == [ListedMember("alice", None, -1)]
    assert await reader.unread("alice", "dm:alice:alice") == 0


async def test_who_comes_later_sees_everything_where_that_is_so(
    script: Script, reader: Reader
) -> None:
    ids = [await script.makes("alice"), await script.says("alice", ROOM)]
    ids.append(await script.adds("alice", "bob"))
    assert await reader.sees("bob") == ids
    assert await reader.unread("bob") == 1  # from their joining on


async def test_who_comes_later_sees_what_comes_later_where_that_is_so(
    script: Script, reader: Reader
) -> None:
    first = await script.makes("alice", history=History.JOINED)
    before = await script.says("alice", ROOM)
    joined = await script.adds("alice", "bob")
    after = await script.says("alice", ROOM)
    assert await reader.sees("bob") == [joined, after]
    assert await reader.sees("alice") == [first, before, joined, after]
    page = await reader.page("bob", before=script.offset, limit=1)
    assert [each.id for each in page.messages] == [joined]
    assert page.complete


async def test_several_memberships_are_seen_with_holes_between_them(
    script: Script, reader: Reader
) -> None:
    """The event that adds somebody is in, the one that removes them is not: as they are owed."""
    await script.makes("alice", history=History.JOINED)
    expected = []
    for number in range(4):
        await script.says("alice", ROOM, f"not seen {number}")
        expected.append(await script.adds("alice", "bob"))
        if number != 2:  # a membership in which nothing else happened
            expected += [await script.says("alice", ROOM, str(each)) for each in range(3)]
        if number < 3:
            await script.removes("alice", "bob")
    assert await reader.sees("bob") == expected
    # Somebody else's memberships are theirs.
    await script.adds("alice", "carol")
    await script.removes("alice", "carol")
    await script.says("alice", ROOM)
    joined = await script.adds("alice", "carol")
    assert (await reader.sees("carol"))[1:] == [joined]
    assert len(await reader.sees("alice")) == 25


async def test_pages_begin_and_end_within_memberships_and_between_them(
    script: Script, reader: Reader
) -> None:
    await script.makes("alice", history=History.JOINED)  # 0
    visible: list[int] = []
    for _ in range(3):  # 2 to 5, 9 to 12, 16 to 19
        await script.says("alice", ROOM)
        await script.adds("alice", "bob")
        first = script.offset
        for _ in range(3):
            await script.says("alice", ROOM)
        visible += range(first, first + 4)
        await script.removes("alice", "bob")
        await script.says("alice", ROOM)
    await script.adds("alice", "bob")
    visible.append(script.offset)
    for offset in range(script.offset + 2):
        below = [each for each in visible if each < offset]
        above = [each for each in visible if each > offset]
        for limit in (1, 3, 4, 5, 50):
            page = await reader.page("bob", before=offset, limit=limit)
            assert [each.position.offset for each in page.messages] == below[-limit:]
            assert page.complete == (len(below) <= limit)
            page = await reader.page("bob", after=offset, limit=limit)
            assert [each.position.offset for each in page.messages] == above[:limit]
            assert page.complete == (len(above) <= limit)


@pytest.mark.parametrize("history", list(History))
async def test_who_is_removed_sees_nothing_as_if_it_did_not_exist(
    script: Script, reader: Reader, history: History
) -> None:
    await script.makes("alice", "bob", history=history)
    sent = await script.says("bob", ROOM)
    await script.removes("alice", "bob")
    assert await reader.nothing("bob")
    assert await reader.nothing("bob", OTHER_ROOM)
    assert await reader.nothing("carol")
    assert await reader.conversations.statuses("bob", [sent]) == []
    assert [each.name for each in await reader.listed("bob")] == []


async def test_who_sends_to_a_room_without_being_a_member_sees_nothing(
    script: Script, reader: Reader
) -> None:
    await script.says("mallory", ROOM)
    await script.makes("alice", history=History.ALL)
    sent = await script.says("mallory", ROOM)
    assert await reader.nothing("mallory")
    assert await reader.conversations.statuses("mallory", [sent]) == []
    assert sent in await reader.sees("alice")


# Lists -------------------------------------------------------------------------------------------


async def test_the_newest_is_first_and_what_has_the_same_time_goes_by_name(
    reading_stores: ReadingStores, conversations: ConversationStore
) -> None:
    """Byte by byte, as everywhere."""
    names = ["dm:Zoë:alice", "dm:alice:bob", "dm:alice:zed", "dm:alice:Ökonom", "dm:alice:😀"]
    times = {"dm:alice:bob": 1, "dm:alice:carol": 9} | dict.fromkeys(names[2:], 5)
    times |= {"dm:Zoë:alice": 5}
    events = [
        replace(
            message(number, number, to=("alice",), conversation=name),
            time_ms=TIME_MS + times[name],
        )
        for number, name in enumerate(times)
    ]
    await (await reading_stores.open()).apply([Batch(0, 0, 10, tuple(events))])
    order = sorted(times, key=lambda name: (-times[name], name.encode()))
    assert order[0] == "dm:alice:carol"
    found: list[str] = []
    for limit in (1, 2, 2, 1):
        last = found[-1] if found else None
        after = None if last is None else (TIME_MS + times[last], last)
        found += [each.name for each in await conversations.list(ListQuery("alice", after, limit))]
    assert found == order
    after = (TIME_MS + 5, "dm:alice:a")  # which is not there
    page = await conversations.list(ListQuery("alice", after, 10))
    assert [each.name for each in page] == [
        each for each in order if (-times[each], each) > (-5, "dm:alice:a")
    ]
    assert await conversations.list(ListQuery("alice", (TIME_MS, "z"), 10)) == []


async def test_who_pages_through_a_list_that_changes_meets_each_once_or_at_the_top(
    script: Script, reader: Reader
) -> None:
    """What has moved up is missed below, and found when the list is asked for from the top."""
    for number in range(6):
        await script.says("alice", f"user{number}")
    first = await reader.conversations.list(ListQuery("alice", None, 2))
    assert [each.name for each in first] == ["dm:alice:user5", "dm:alice:user4"]
    await script.says("user1", "alice")
    await script.says("user5", "alice")
    after = (first[-1].last_time_ms, first[-1].name)
    second = await reader.conversations.list(ListQuery("alice", after, 10))
    assert [each.name for each in second] == [f"dm:alice:user{each}" for each in (3, 2, 0)]
    again = await reader.listed("alice")
    assert [each.name for each in again[:2]] == ["dm:alice:user5", "dm:alice:user1"]


async def test_an_item_says_what_a_member_sees_of_it(script: Script, reader: Reader) -> None:
    await script.makes("alice", "bob", title="Ideas")
    sent = await script.says("alice", ROOM)
    assert script.offset == 1
    item = await reader.item("bob")
    assert item.last is not None
    assert (item.last.id, item.last.recipients) == (sent, ("bob",))
    assert item == ListedConversation(ROOM, "Ideas", Role.MEMBER, 1, TIME_MS + 1, item.last, -1, 2)
    assert (await reader.item("alice")).role is Role.ADMIN
    await script.says("alice", "bob")
    item = await reader.item("alice", DIRECT)
    assert (item.title, item.role, item.read_offset, item.unread) == (None, None, -1, 0)


async def test_the_last_event_is_the_last_visible_one(
    reading_stores: ReadingStores, script: Script, reader: Reader
) -> None:
    """When it was purged, one's former memberships are looked through; then there is none."""
    await script.makes("alice", "bob", history=History.JOINED)
    seen = await script.says("alice", ROOM)
    await script.removes("alice", "bob")
    await script.says("alice", ROOM)
    added = await script.adds("alice", "bob")
    item = await reader.item("bob")
    assert item.last is not None
    assert item.last.id == added
    assert item.last_offset == script.offset
    await script.acknowledges("bob", added)
    await reading_stores.purge(FAR_MS)
    item = await reader.item("bob")
    assert item.last is None  # nobody else is there, so nobody was owed anything
    assert (item.last_offset, item.last_time_ms) == (script.offset - 1, TIME_MS + script.offset - 1)
    assert item.unread == 0
    assert (await reader.page("bob")).complete
    assert await reader.sees("bob") == []
    assert seen not in await reader.sees("alice")


async def test_the_last_visible_event_may_be_of_a_former_membership(
    reading_stores: ReadingStores, script: Script, reader: Reader
) -> None:
    await script.makes("alice", "bob", "carol", history=History.JOINED)
    seen = await script.says("alice", ROOM)  # carol is owed it: it stays
    for _ in range(2):
        await script.removes("alice", "bob")
        await script.acknowledges("carol", uuid(3), uuid(5))
        added = await script.adds("alice", "bob")
        await script.acknowledges("carol", added)
        await script.acknowledges("bob", added)
    await reading_stores.purge(FAR_MS)
    item = await reader.item("bob")
    assert item.last is not None
    assert item.last.id == seen
    assert item.last_offset > item.last.position.offset
    assert item.unread == 0


async def test_titles_and_kinds_of_rooms_and_of_direct_conversations(
    script: Script, reader: Reader
) -> None:
    await script.makes("alice", title="Ideas")
    await script.titles("alice", None)
    await script.makes("alice", room=OTHER_ROOM, title="Plans")
    await script.says("alice", "bob")
    found = {each.name: (each.title, each.role) for each in await reader.listed("alice")}
    assert found == {
        ROOM: (None, Role.ADMIN),
        OTHER_ROOM: ("Plans", Role.ADMIN),
        DIRECT: (None, None),
    }


# Unread ------------------------------------------------------------------------------------------


async def test_unread_is_what_others_have_sent_after_what_was_read(
    script: Script, reader: Reader
) -> None:
    await script.makes("alice", "bob")
    for sender in ("alice", "bob", "alice", "bob"):
        await script.says(sender, ROOM)
    assert (await reader.unread("alice"), await reader.unread("bob")) == (2, 3)
    await script.reads("bob", ROOM, 1)
    assert await reader.unread("bob") == 1
    assert (await reader.item("bob")).read_offset == 1
    await script.reads("bob", ROOM, 3)
    assert await reader.unread("bob") == 0
    assert await reader.unread("alice") == 2  # sending is not reading


async def test_the_first_message_of_all_is_unread(script: Script, reader: Reader) -> None:
    await script.says("alice", "bob")
    assert script.offset == 0
    assert (await reader.unread("bob", DIRECT), await reader.unread("alice", DIRECT)) == (1, 0)
    await script.reads("bob", DIRECT, 0)
    item = await reader.item("bob", DIRECT)
    assert (item.read_offset, item.unread) == (0, 0)


async def test_what_is_purged_is_not_unread(
    reading_stores: ReadingStores, script: Script, reader: Reader
) -> None:
    await script.makes("alice", "bob")
    ids = [await script.says("alice", ROOM) for _ in range(5)]
    await script.acknowledges("bob", uuid(1), *ids[:3])
    await reading_stores.purge(FAR_MS)
    assert await reader.unread("bob") == 2


async def test_what_is_not_visible_is_not_unread(script: Script, reader: Reader) -> None:
    await script.makes("alice", "bob", history=History.JOINED)
    await script.says("alice", ROOM)
    await script.removes("alice", "bob")
    for _ in range(3):
        await script.says("alice", ROOM)
    await script.adds("alice", "bob")
    await script.says("alice", ROOM)
    assert await reader.unread("bob") == 2


async def many(stores: ReadingStores, senders: Sequence[str]) -> None:
    """Have so many messages of alice and bob in one conversation, behind what both have read."""
    events = [
        replace(
            message(number, number, to=({"alice": "bob", "bob": "alice"}[sender],)), sender=sender
        )
        for number, sender in enumerate(senders, start=1)
    ]
    assert await (await stores.open()).apply([Batch(0, 0, len(events) + 1, tuple(events))])


@pytest.mark.parametrize("count", [UNREAD_LIMIT - 1, UNREAD_LIMIT, UNREAD_LIMIT + 1, 150])
async def test_no_more_than_a_hundred_are_counted(
    reading_stores: ReadingStores, reader: Reader, count: int
) -> None:
    await many(reading_stores, ["alice", "bob"] * count)
    assert await reader.unread("bob", DIRECT) == min(count, 100)


@pytest.mark.parametrize("own", [UNREAD_EVENTS - 2, UNREAD_EVENTS - 1, UNREAD_EVENTS])
async def test_the_newest_thousand_are_looked_at(
    reading_stores: ReadingStores, reader: Reader, own: int
) -> None:
    """Behind a longer run of one's own messages nothing is counted."""
    await many(reading_stores, ["bob", "bob", *["alice"] * own])
    assert await reader.unread("alice", DIRECT) == UNREAD_EVENTS - own
    await many_more(reading_stores, own + 3)
    assert await reader.unread("alice", DIRECT) == max(0, UNREAD_EVENTS - own - 1) + 1


async def many_more(stores: ReadingStores, offset: int) -> None:
    """Have one more message of bob."""
    event = replace(message(offset, offset, to=("alice",)), sender="bob")
    assert await (await stores.open()).apply([Batch(0, offset, offset + 1, (event,))])


# Members and rooms -------------------------------------------------------------------------------


async def test_members_are_listed_as_they_joined(script: Script, reader: Reader) -> None:
    await script.makes("zoe", "dave", "bob")
    await script.adds("zoe", "alice", Role.ADMIN)
    await script.removes("zoe", "dave")
    await script.adds("zoe", "dave")
    await script.reads("bob", ROOM, 2)
    expected = [
        ListedMember("zoe", Role.ADMIN, -1),
        ListedMember("bob", Role.MEMBER, 2),
        ListedMember("alice", Role.ADMIN, 0),
        ListedMember("dave", Role.MEMBER, 2),
    ]
    assert await reader.conversations.members("bob", ROOM) == expected
    room = (await reader.conversations.rooms([ROOM]))[ROOM]
    in_order = [(user, member.role) for user, member in room.members.items()]
    assert in_order == [(each.user, each.role) for each in expected]


async def test_in_a_direct_conversation_nobody_has_a_role(script: Script, reader: Reader) -> None:
    await script.says("bob", "alice")
    await script.says("bob", "alice")
    await script.reads("bob", DIRECT, 1)
    found = await reader.conversations.members("bob", DIRECT)
    assert found == [ListedMember("alice", None, -1), ListedMember("bob", None, 1)]


async def test_rooms_that_were_made_are_found(script: Script, reader: Reader) -> None:
    await script.makes("alice", "bob", title="Ideas", history=History.JOINED)
    await script.removes("alice", "bob")
    await script.says("alice", "bob")
    await script.says("alice", OTHER_ROOM)  # which nobody has made
    rooms = await reader.conversations.rooms([ROOM, OTHER_ROOM, DIRECT, "room:other"])
    assert list(rooms) == [ROOM]
    room = rooms[ROOM]
    assert (room.name, room.title, room.history) == (ROOM, "Ideas", History.JOINED)
    assert room.members == {"alice": RoomMember(Role.ADMIN, 0)}
    await script.adds("alice", "carol")
    again = (await reader.conversations.rooms([ROOM]))[ROOM].members
    assert list(again) == ["alice", "carol"]
    assert again["carol"].joined_offset == 4
    assert {each: end for each, end in room.applied.items() if end} == {0: 4}
    for user in ("alice", "carol"):
        await script.removes(user, user)
    assert (await reader.conversations.rooms([ROOM]))[ROOM].members == {}
    assert await reader.conversations.rooms([]) == {}


# Whether something was received ------------------------------------------------------------------


async def test_the_status_of_a_direct_message_is_that_of_the_other_one(
    script: Script, reader: Reader
) -> None:
    for device in ("bob/phone", "bob/laptop", "alice/laptop"):
        await script.begins(device)
    one, other = await script.says("alice", "bob"), await script.says("alice", "bob")
    await script.acknowledges("bob/phone", one)
    await script.acknowledges("alice/laptop", other)
    assert set(await reader.conversations.statuses("alice", [one, other, one])) == {
        DeliveryStatus(one, "bob", True),
        DeliveryStatus(other, "bob", False),
    }
    assert await reader.conversations.statuses("bob", [one, other]) == []
    assert await reader.conversations.statuses("mallory", [one, other, uuid(99)]) == []
    assert await reader.conversations.statuses("alice", []) == []


async def test_the_status_of_a_message_to_oneself_is_one_s_own(
    script: Script, reader: Reader
) -> None:
    sent = await script.says("alice", "alice")
    assert await reader.conversations.statuses("alice", [sent]) == [
        DeliveryStatus(sent, "alice", False)
    ]
    await script.acknowledges("alice", sent)
    assert await reader.conversations.statuses("alice", [sent]) == [
        DeliveryStatus(sent, "alice", True)
    ]


async def test_the_status_in_a_room_is_that_of_its_members_who_were_there(
    script: Script, reader: Reader
) -> None:
    made = await script.makes("alice", "bob", "carol", "dave")
    sent = await script.says("alice", ROOM)
    await script.adds("alice", "late")
    await script.removes("alice", "carol")
    await script.removes("alice", "dave")
    await script.adds("alice", "dave")
    await script.acknowledges("dave", sent)
    assert await reader.conversations.statuses("alice", [made, sent]) == [
        DeliveryStatus(sent, "bob", False)  # what changes a room has no status
    ]
    await script.acknowledges("bob", sent)
    assert await reader.conversations.statuses("alice", [sent]) == [
        DeliveryStatus(sent, "bob", True)
    ]


async def test_what_is_purged_has_no_status(
    reading_stores: ReadingStores, script: Script, reader: Reader
) -> None:
    sent = await script.says("alice", "bob")
    await script.acknowledges("bob", sent)
    await reading_stores.purge(FAR_MS)
    assert await reader.conversations.statuses("alice", [sent]) == []
