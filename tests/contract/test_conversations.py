"""Who is owed what, and what it leaves in the tables: each rule as an example, for every store."""

from collections.abc import Mapping
from typing import Any

import pytest

from contract.messages import ask, mailbox, uuid
from contract.script import OTHER_ROOM, ROOM, Script
from landline.model import FIRST_TURN, History, PendingQuery, Position, Role, Turn
from landline.ports import MessageStore
from landline.protocol.limits import ROOM_MEMBERS
from landline.protocol.records import MessageRecord
from support.stores import Stores


@pytest.fixture
def script(store: MessageStore) -> Script:
    return Script(store)


async def statuses(stores: Stores) -> Mapping[tuple[str, str], str]:
    """Return the status of each message and recipient."""
    return {(id, user): status for id, user, status in await stores.statuses()}


async def members(stores: Stores, conversation: str = ROOM) -> Mapping[str, tuple[Any, ...]]:
    """Return role, joined_offset and read_offset of each member."""
    rows = (await stores.tables())["members"]
    return {row[1]: row[2:] for row in rows if row[0] == conversation}


async def roles(stores: Stores) -> Mapping[str, str]:
    return {user: role for user, (role, *_) in (await members(stores)).items()}


async def pending(stores: Stores) -> Mapping[str, bool]:
    """Return of each mailbox that is owed something whether all of it was received elsewhere."""
    found: dict[str, bool] = {}
    for user, device, *_, is_received in (await stores.tables())["pending"]:
        name = user if device == "*" else f"{user}/{device}"
        found[name] = found.get(name, True) and bool(is_received)
    return found


# Mailboxes ---------------------------------------------------------------------------------------


async def test_who_has_no_device_has_a_default_mailbox(script: Script) -> None:
    sent = await script.says("alice", "bob")
    assert await script.owed("bob") == [sent]
    assert await script.owed("alice") == []  # she has sent it from there


async def test_a_device_is_owed_what_comes_after_it_began(script: Script) -> None:
    before = await script.says("alice", "bob")
    await script.begins("bob/phone")
    after = await script.says("alice", "bob")
    # It asks for what waits in the default mailbox too. That gets nothing new from now on.
    assert await script.owed("bob/phone") == [before, after]
    assert await script.owed("bob") == [before]


async def test_each_device_is_owed_for_itself(script: Script) -> None:
    await script.begins("bob/phone")
    await script.begins("bob/laptop")
    sent = await script.says("alice", "bob")
    await script.acknowledges("bob/phone", sent)
    assert await script.owed("bob/phone") == []
    assert await script.owed("bob/laptop") == [sent]


@pytest.mark.parametrize("turn", [None, FIRST_TURN], ids=["in order", "in turns"])
async def test_a_page_says_what_another_mailbox_of_the_user_has_received(
    script: Script, turn: Turn | None
) -> None:
    """So the sender is told of one delivery."""
    for name in ("bob/phone", "bob/laptop", "alice/phone"):
        await script.begins(name)
    sent = [await script.says("alice", "bob", str(number)) for number in range(6)]
    await script.acknowledges("bob/phone", sent[0], sent[1], sent[4])
    for name, received in (("bob/laptop", {0, 1, 4}), ("alice/phone", set(range(6)))):
        # The second page of a mailbox in turns begins where the first one has stopped.
        query = PendingQuery(mailbox(name), {}, 3 if turn else 10, turn)
        [page] = await script.store.pending([query])
        found = [*page.messages, *page.ahead]
        assert {sent.index(each.id) for each in found if each.is_received} == received & {
            sent.index(each.id) for each in found
        }
        assert len(found) >= 3


async def test_the_device_with_the_empty_name_is_a_device(stores: Stores, script: Script) -> None:
    await script.begins("bob/")
    sent = await script.says("alice", "bob")
    assert await script.owed("bob/") == [sent]
    assert await script.owed("bob") == []
    assert (await stores.tables())["devices"] == [("bob", "", 0, 0)]


async def test_names_of_devices_are_compared_byte_by_byte(script: Script) -> None:
    await script.begins("bob/phone")
    await script.begins("bob/Phone")
    await script.begins("Bob/phone")
    sent = await script.says("alice", "bob")
    assert await script.owed("bob/phone") == await script.owed("bob/Phone") == [sent]
    assert await script.owed("Bob/phone") == []


async def test_a_device_begins_in_each_partition_by_itself(stores: Stores, script: Script) -> None:
    """Its record is in all of them, in different places. No order between them is needed."""
    if stores.partitions == 1:
        return  # the embedded log has one
    await script.begins("bob/phone", partition=1)
    here = await script.says("alice", "bob", partition=0)
    there = await script.says("carol", "bob", partition=1)
    assert await script.owed("bob") == [here]
    assert await script.owed("bob/phone") == [here, there]
    await script.begins("bob/phone", partition=0)
    last = await script.says("alice", "bob", partition=0)
    assert await script.owed("bob") == [here]
    assert await script.owed("bob/phone") == [here, last, there]
    assert (await stores.tables())["devices"] == [("bob", "phone", 0, 1), ("bob", "phone", 1, 0)]


async def test_beginning_again_or_ending_what_is_not_open_changes_nothing(
    stores: Stores, script: Script
) -> None:
    await script.begins("bob/phone")
    sent = await script.says("alice", "bob")
    before = await stores.tables()
    await script.begins("bob/phone")
    await script.ends("bob/laptop")
    await script.ends("carol/phone")
    assert await stores.tables() == before
    assert await script.owed("bob/phone") == [sent]


async def test_when_the_last_device_ends_the_default_mailbox_is_open_again(
    stores: Stores, script: Script
) -> None:
    await script.begins("bob/phone")
    await script.begins("bob/laptop")
    await script.ends("bob/phone")
    first = await script.says("alice", "bob")
    await script.ends("bob/laptop")
    second = await script.says("alice", "bob")
    assert await script.owed("bob") == [first, second]
    assert (await stores.tables())["devices"] == []


async def test_what_nobody_has_of_a_device_that_ends_goes_to_the_default_mailbox(
    stores: Stores, script: Script
) -> None:
    await script.begins("bob/phone")
    alone = await script.says("alice", "bob")
    await script.begins("bob/laptop")
    seen = await script.says("alice", "bob", "seen on the laptop")
    shared = await script.says("alice", "bob", "still owed to the laptop")
    own = await script.says("bob/tablet", "alice")
    await script.acknowledges("bob/laptop", seen, own)
    assert await script.owed("bob/phone") == [alone, seen, shared, own]
    await script.ends("bob/phone")
    assert await script.owed("bob") == [alone]
    assert await script.owed("bob/laptop") == [alone, shared]
    assert (await statuses(stores))[alone, "bob"] == "UNDELIVERED"


async def test_a_device_ends_in_each_partition_by_itself(stores: Stores, script: Script) -> None:
    if stores.partitions == 1:
        return  # the embedded log has one
    for partition in (0, 1):
        await script.begins("bob/phone", partition=partition)
    here = await script.says("alice", "bob", partition=0)
    there = await script.says("carol", "bob", partition=1)
    await script.ends("bob/phone", partition=0)
    assert await script.owed("bob") == [here]
    assert await script.owed("bob/phone") == [here, there]
    assert (await stores.tables())["devices"] == [("bob", "phone", 1, 0)]
    await script.ends("bob/phone", partition=1)
    assert await script.owed("bob") == [here, there]
    assert (await stores.tables())["devices"] == []


async def test_a_device_that_ends_and_begins_again_is_a_new_one(script: Script) -> None:
    await script.begins("bob/laptop")
    await script.begins("bob/phone")
    await script.says("alice", "bob")
    await script.ends("bob/phone")
    await script.begins("bob/phone")
    later = await script.says("alice", "bob")
    assert await script.owed("bob/phone") == [later]


# What one has sent -------------------------------------------------------------------------------


async def test_the_sender_s_other_devices_are_owed_it_too(stores: Stores, script: Script) -> None:
    for device in ("alice/phone", "alice/laptop", "alice/"):
        await script.begins(device)
    sent = await script.says("alice/phone", "bob")
    assert await pending(stores) == {"alice/laptop": True, "alice/": True, "bob": False}
    assert await script.owed("alice/laptop") == [sent]
    assert await script.owed("alice/phone") == []


async def test_what_a_service_sends_in_somebody_s_name_goes_to_all_of_their_devices(
    script: Script,
) -> None:
    await script.begins("alice/phone")
    await script.begins("alice/laptop")
    sent = await script.says("alice", "bob")  # it has no device
    assert await script.owed("alice/phone") == await script.owed("alice/laptop") == [sent]


async def test_what_a_device_sends_that_is_not_open_here_goes_to_the_default_mailbox(
    script: Script,
) -> None:
    """It may be open in another partition only, or have ended."""
    sent = await script.says("alice/phone", "bob")
    assert await script.owed("alice") == [sent]


@pytest.mark.parametrize("sender", ["alice", "alice/phone"])
async def test_a_message_to_oneself_is_owed_to_where_it_came_from_too(
    stores: Stores, script: Script, sender: str
) -> None:
    if sender == "alice/phone":
        await script.begins("alice/phone")
        await script.begins("alice/laptop")
    sent = await script.says(sender, "alice")
    assert await script.owed(sender) == [sent]
    assert not any((await pending(stores)).values())
    assert await statuses(stores) == {(sent, "alice"): "UNDELIVERED"}
    await script.acknowledges(sender, sent)
    assert await script.owed(sender) == []
    assert await statuses(stores) == {(sent, "alice"): "DELIVERED"}
    if sender == "alice/phone":
        assert await script.owed("alice/laptop") == [sent]


# Everything once ---------------------------------------------------------------------------------


async def test_a_message_that_comes_again_changes_nothing(stores: Stores, script: Script) -> None:
    sent = await script.says("alice", "bob")
    await script.begins("bob/phone")
    before = await stores.tables()
    await script.says("alice", "bob", "with another text", again=sent)
    assert await stores.tables() == before


async def test_a_change_that_comes_again_changes_nothing(stores: Stores, script: Script) -> None:
    await script.makes("alice")
    added = await script.adds("alice", "bob")
    await script.removes("alice", "bob")
    before = await stores.tables()
    await script.adds("alice", "bob", again=added)
    assert await stores.tables() == before
    assert list(await members(stores)) == ["alice"]


async def test_a_message_with_the_id_of_a_change_is_no_message(
    stores: Stores, script: Script
) -> None:
    made = await script.makes("alice", "bob")
    before = await stores.tables()
    await script.says("alice", "bob", again=made)
    assert await stores.tables() == before


# Receipts ----------------------------------------------------------------------------------------


async def test_a_receipt_counts_for_what_lies_before_it_in_the_log(
    stores: Stores, script: Script
) -> None:
    await script.acknowledges("bob", uuid(1))
    sent = await script.says("alice", "bob")
    assert sent == uuid(1)
    assert await script.owed("bob") == [sent]
    await script.acknowledges("bob", sent)
    assert await script.owed("bob") == []
    assert (await stores.tables())["pending"] == []


async def test_in_one_piece_of_the_log_too(script: Script) -> None:
    async with script.together():
        await script.acknowledges("bob", uuid(1), uuid(2))
        early = await script.says("alice", "bob")
        sent = await script.says("alice", "bob")
        await script.acknowledges("bob", sent)
    assert await script.owed("bob") == [early]


async def test_a_receipt_in_another_partition_counts_for_nothing(
    stores: Stores, script: Script
) -> None:
    if stores.partitions == 1:
        return  # the embedded log has one
    sent = await script.says("alice", "bob", partition=0)
    await script.says("alice", "carol", partition=1)
    await script.acknowledges("bob", sent, partition=1)
    assert await script.owed("bob") == [sent]


async def test_a_receipt_of_somebody_else_counts_for_nothing(
    stores: Stores, script: Script
) -> None:
    sent = await script.says("alice", "bob")
    before = await stores.tables()
    await script.acknowledges("mallory", sent)
    await script.acknowledges("alice", sent)
    await script.acknowledges("bob", uuid(99))
    assert await stores.tables() == before


async def test_the_first_receipt_of_any_device_is_the_delivery(
    stores: Stores, script: Script
) -> None:
    await script.begins("bob/phone")
    await script.begins("bob/laptop")
    sent = await script.says("alice", "bob")
    assert await statuses(stores) == {(sent, "bob"): "UNDELIVERED"}
    await script.acknowledges("bob/phone", sent)
    assert await statuses(stores) == {(sent, "bob"): "DELIVERED"}
    assert await pending(stores) == {"bob/laptop": True}
    await script.acknowledges("bob/laptop", sent)
    assert await statuses(stores) == {(sent, "bob"): "DELIVERED"}
    assert await pending(stores) == {}


async def test_what_waits_in_the_default_mailbox_goes_with_the_first_device_that_has_it(
    script: Script,
) -> None:
    sent = await script.says("alice", "bob")
    await script.begins("bob/phone")
    await script.begins("bob/laptop")
    await script.acknowledges("bob/laptop", sent)
    assert await script.owed("bob") == await script.owed("bob/phone") == []


async def test_a_receipt_without_a_device_is_a_delivery_and_settles_no_device(
    stores: Stores, script: Script
) -> None:
    await script.begins("bob/phone")
    sent = await script.says("alice", "bob")
    await script.acknowledges("bob", sent)
    assert await script.owed("bob/phone") == [sent]
    assert await statuses(stores) == {(sent, "bob"): "DELIVERED"}


async def test_a_receipt_of_the_sender_s_own_device_is_no_delivery(
    stores: Stores, script: Script
) -> None:
    await script.begins("alice/phone")
    await script.begins("alice/laptop")
    sent = await script.says("alice/phone", "bob")
    await script.acknowledges("alice/laptop", sent)
    assert await pending(stores) == {"bob": False}
    assert await statuses(stores) == {(sent, "bob"): "UNDELIVERED"}


async def test_receipts_in_the_piece_of_the_log_of_their_message(
    stores: Stores, script: Script
) -> None:
    await script.begins("bob/phone")
    await script.begins("bob/laptop")
    async with script.together():
        sent = await script.says("alice", "bob")
        other = await script.says("alice", "carol")
        await script.acknowledges("bob/phone", sent)
        await script.acknowledges("carol", other)
    assert await pending(stores) == {"bob/laptop": True}
    assert set((await statuses(stores)).values()) == {"DELIVERED"}


# Rooms -------------------------------------------------------------------------------------------


async def test_who_makes_a_room_is_its_admin_and_all_members_are_owed_that(
    stores: Stores, script: Script
) -> None:
    await script.begins("alice/phone")
    await script.begins("alice/laptop")
    made = await script.makes("alice/phone", "bob", title="Ideas", history=History.JOINED)
    at = script.offset
    assert await members(stores) == {
        "alice": ("admin", at, at - 1),
        "bob": ("member", at, at - 1),
    }
    [(name, kind, history, title, last_offset, _time)] = (await stores.tables())["conversations"]
    assert (name, kind, history, title, last_offset) == (ROOM, "room", "joined", "Ideas", at)
    assert await script.owed("bob") == await script.owed("alice/laptop") == [made]
    assert await script.owed("alice/phone") == []
    [event] = (await ask(script.store, "bob")).messages
    assert (event.kind, event.content, event.data) == ("room", "", '{"title":"Ideas"}')


async def test_a_room_is_made_once(stores: Stores, script: Script) -> None:
    await script.makes("alice", "bob", title="Ideas")
    before = await members(stores)
    again = await script.makes("mallory", "eve", title="Mine")
    assert await members(stores) == before
    assert (await stores.tables())["conversations"][0][3] == "Ideas"
    # Whatever the log has is an event of the room, and its members are owed it.
    assert (await script.owed("bob"))[-1] == again
    assert await script.owed("eve") == []


async def test_a_room_that_all_have_left_is_not_made_again(stores: Stores, script: Script) -> None:
    await script.makes("alice")
    await script.removes("alice", "alice")
    await script.makes("mallory")
    assert await members(stores) == {}
    assert len((await stores.tables())["former_members"]) == 1


async def test_a_title_can_change_and_go(stores: Stores, script: Script) -> None:
    await script.makes("alice", "bob", title="Ideas")
    changed = await script.titles("alice", "Plans")
    assert (await stores.tables())["conversations"][0][3] == "Plans"
    assert (await script.owed("bob"))[-1] == changed
    await script.titles("alice", None)
    assert (await stores.tables())["conversations"][0][3] is None


async def test_a_message_to_a_room_is_owed_to_its_members_and_to_nobody_else(
    stores: Stores, script: Script
) -> None:
    await script.begins("alice/phone")
    await script.makes("alice/phone", "bob", "carol")
    sent = await script.says("alice/phone", ROOM)
    assert (await script.owed("bob"))[-1] == (await script.owed("carol"))[-1] == sent
    assert await script.owed("alice/phone") == []
    strange = await script.says("mallory", ROOM)
    assert (await script.owed("alice/phone"))[-1] == strange
    assert await script.owed("mallory") == []
    assert await statuses(stores) == {
        (sent, "bob"): "UNDELIVERED",
        (sent, "carol"): "UNDELIVERED",
        (strange, "alice"): "UNDELIVERED",
        (strange, "bob"): "UNDELIVERED",
        (strange, "carol"): "UNDELIVERED",
    }


async def test_a_message_to_a_room_that_nobody_has_made_is_owed_to_nobody(
    stores: Stores, script: Script
) -> None:
    await script.says("alice", ROOM)
    tables = await stores.tables()
    assert [row[:4] for row in tables["conversations"]] == [(ROOM, "room", None, None)]
    assert tables["members"] == tables["pending"] == []
    await script.makes("bob", title="Ideas")
    assert list(await members(stores)) == ["bob"]


async def test_who_is_added_is_owed_that_and_what_follows(stores: Stores, script: Script) -> None:
    await script.makes("alice")
    await script.says("alice", ROOM)
    added = await script.adds("alice", "bob")
    at = script.offset
    sent = await script.says("alice", ROOM)
    assert await script.owed("bob") == [added, sent]
    assert (await members(stores))["bob"] == ("member", at, at - 1)
    [event, _sent] = (await ask(script.store, "bob")).messages
    assert event.kind == "member"
    assert event.data == '{"user":"bob","change":"add","role":"member"}'
    # What was said before they came is no affair of theirs.
    assert await statuses(stores) == {(sent, "bob"): "UNDELIVERED"}


async def test_who_is_removed_is_owed_nothing_of_that_room_any_more(
    stores: Stores, script: Script
) -> None:
    await script.begins("bob/phone")
    await script.makes("alice", "bob", "carol")
    await script.makes("alice", "bob", room=OTHER_ROOM)
    other = await script.says("alice", OTHER_ROOM)
    direct = await script.says("alice", "bob")
    await script.says("alice", ROOM)
    removed = await script.removes("alice", "bob")
    at = script.offset
    later = await script.says("alice", ROOM)
    assert [each for each in await script.owed("bob/phone") if each != uuid(2)] == [other, direct]
    assert (await script.owed("carol"))[-2:] == [removed, later]
    assert (await stores.tables())["former_members"] == [(ROOM, "bob", 1, at)]
    # Only who is a member is asked about.
    assert {user for id, user in await statuses(stores) if id == later} == {"carol"}


async def test_who_has_left_and_writes_all_the_same_is_owed_nothing(script: Script) -> None:
    await script.begins("bob/phone")
    await script.begins("bob/laptop")
    await script.makes("alice", "bob")
    await script.removes("bob/phone", "bob")
    sent = await script.says("bob/phone", ROOM)
    assert await script.owed("bob/laptop") == []
    assert (await script.owed("alice"))[-1] == sent


async def test_who_comes_again_begins_anew(stores: Stores, script: Script) -> None:
    await script.makes("alice", "bob")
    missed = await script.says("alice", ROOM)
    await script.reads("bob", ROOM, script.offset)
    for _ in range(2):
        await script.removes("alice", "bob")
        await script.adds("alice", "bob")
    at = script.offset
    assert (await members(stores))["bob"] == ("member", at, at - 1)
    assert [row[1:] for row in (await stores.tables())["former_members"]] == [
        ("bob", 0, 3),
        ("bob", 4, 5),
    ]
    assert (missed, "bob") not in await statuses(stores)


async def test_adding_a_member_or_naming_or_removing_who_is_none_changes_nothing_but_is_an_event(
    stores: Stores, script: Script
) -> None:
    await script.makes("alice", "bob")
    before = await members(stores)
    events = [
        await script.adds("alice", "bob", Role.ADMIN),
        await script.names("alice", "eve", Role.ADMIN),
        await script.removes("alice", "eve"),
    ]
    assert await members(stores) == before
    assert (await stores.tables())["former_members"] == []
    assert (await script.owed("bob"))[-3:] == events
    assert await script.owed("eve") == []


async def test_whom_the_log_adds_to_a_full_room_is_in_it(stores: Stores, script: Script) -> None:
    """Servers refuse it before the log. Two of them may not know of each other's additions, and
    what was accepted counts.
    """
    await script.makes("alice", *(f"user{number:03}" for number in range(ROOM_MEMBERS - 1)))
    added = await script.adds("alice", "bob")
    assert "bob" in await members(stores)
    assert await script.owed("bob") == [added]


# Admins ------------------------------------------------------------------------------------------


async def test_roles_are_given_and_taken(stores: Stores, script: Script) -> None:
    await script.makes("alice", "bob")
    await script.adds("alice", "carol", Role.ADMIN)
    await script.names("alice", "bob", Role.ADMIN)
    await script.names("bob", "alice", Role.MEMBER)
    assert await roles(stores) == {"alice": "member", "bob": "admin", "carol": "admin"}


async def test_when_the_last_admin_leaves_the_oldest_member_becomes_one(
    stores: Stores, script: Script
) -> None:
    await script.makes("alice")
    await script.adds("alice", "zoe")
    await script.adds("alice", "bob")
    await script.removes("alice", "alice")
    assert await roles(stores) == {"bob": "member", "zoe": "admin"}


async def test_of_those_who_came_together_the_first_in_the_list_is_the_oldest(
    stores: Stores, script: Script
) -> None:
    await script.makes("alice", "zoe", "bob")
    await script.removes("alice", "alice")
    assert await roles(stores) == {"bob": "member", "zoe": "admin"}


async def test_a_room_is_not_left_without_an_admin(stores: Stores, script: Script) -> None:
    await script.makes("alice", "bob")
    await script.names("alice", "alice", Role.MEMBER)
    assert await roles(stores) == {"alice": "admin", "bob": "member"}  # she is the oldest
    await script.removes("alice", "bob")
    await script.removes("alice", "alice")
    await script.adds("alice", "carol")
    assert await roles(stores) == {"carol": "admin"}


# Reading -----------------------------------------------------------------------------------------


async def test_reading_goes_forward_only_and_not_beyond_its_own_record(
    stores: Stores, script: Script
) -> None:
    await script.makes("alice", "bob")
    for _ in range(5):
        await script.says("alice", ROOM)
    for offset, expected in ((3, 3), (2, 3), (5, 5), (1_000, script.offset + 4)):
        await script.reads("bob", ROOM, offset)
        assert (await members(stores))["bob"][2] == expected
    assert (await members(stores))["alice"][2] == -1


async def test_reading_in_one_piece_of_the_log(stores: Stores, script: Script) -> None:
    async with script.together():
        await script.says("alice", "bob")
        await script.says("alice", "bob")
        await script.reads("bob", "dm:alice:bob", 1)
        await script.reads("bob", "dm:alice:bob", 0)
        await script.reads("alice", "dm:alice:bob", 0)
    assert await members(stores, "dm:alice:bob") == {
        "alice": ("member", 0, 0),
        "bob": ("member", 0, 1),
    }


async def test_who_is_no_member_reads_nothing(stores: Stores, script: Script) -> None:
    await script.makes("alice", "bob")
    await script.removes("alice", "bob")
    before = await stores.tables()
    await script.reads("bob", ROOM, 1)
    await script.reads("eve", ROOM, 1)
    await script.reads("alice", OTHER_ROOM, 1)
    assert await stores.tables() == before


# Conversations -----------------------------------------------------------------------------------


async def test_a_direct_conversation_has_its_two_members(stores: Stores, script: Script) -> None:
    await script.says("bob", "alice")
    await script.says("alice", "alice")
    tables = await stores.tables()
    assert tables["members"] == [
        ("dm:alice:alice", "alice", "member", 0, -1),
        ("dm:alice:bob", "alice", "member", 0, -1),
        ("dm:alice:bob", "bob", "member", 0, -1),
    ]
    assert [row[:5] for row in tables["conversations"]] == [
        ("dm:alice:alice", "direct", None, None, 1),
        ("dm:alice:bob", "direct", None, None, 0),
    ]


async def test_a_conversation_that_no_server_names_so_has_its_first_sender_and_recipients(
    stores: Stores, script: Script
) -> None:
    for sender, recipients in (("alice", ("bob", "carol")), ("dave", ("erin",))):
        await script.write(
            MessageRecord(
                uuid(len(sender)), None, "notes", sender, recipients, "hello", "2026", None, None
            )
        )
    assert list(await members(stores, "notes")) == ["alice", "bob", "carol"]
    assert await script.owed("erin") == [uuid(4)]
    assert await script.owed("bob") == [uuid(5)]


async def test_a_conversation_knows_its_last_event(stores: Stores, script: Script) -> None:
    sent = await script.says("alice", "bob")
    await script.says("alice", "bob")
    await script.says("alice", "bob", again=sent)
    await script.acknowledges("bob", sent)
    times = {row[0]: row[-1] for row in (await stores.tables())["messages"]}
    [(*_, last_offset, last_time_ms)] = (await stores.tables())["conversations"]
    assert (last_offset, last_time_ms) == (1, times[uuid(2)])


# What an answer says -----------------------------------------------------------------------------


async def test_an_answer_has_everything_that_was_sent_but_the_device(
    stores: Stores, script: Script
) -> None:
    record = MessageRecord(
        uuid(1), "r", "dm:alice:bob", "alice", ("bob",), "hi", "2026", "phone", '{"a":["é"]}'
    )
    await script.write(record)
    [found] = (await ask(script.store, "bob")).messages
    assert (found.id, found.sender, found.recipients) == (uuid(1), "alice", ("bob",))
    assert (found.content, found.kind, found.data) == ("hi", "message", '{"a":["é"]}')
    assert (found.position, found.device) == (Position(0, 0), None)
    assert {found.conversation: found.conversation_id} == await stores.conversation_ids()


async def test_closed_is_where_a_mailbox_gets_nothing_new(stores: Stores, script: Script) -> None:
    everywhere = frozenset(range(stores.partitions))

    async def closed(of: str) -> frozenset[int]:
        return (await ask(script.store, of)).closed

    assert await closed("bob") == frozenset()
    assert await closed("bob/phone") == everywhere  # nobody has heard of it
    await script.says("alice", "bob")
    assert await closed("bob") == frozenset()
    await script.begins("bob/phone")
    assert await closed("bob") == {0}
    assert await closed("bob/phone") == everywhere - {0}
    assert await closed("bob/laptop") == everywhere
    assert await closed("carol") == frozenset()
    await script.begins("bob/laptop")
    await script.ends("bob/phone")
    assert await closed("bob") == {0}
    assert await closed("bob/phone") == everywhere
    await script.ends("bob/laptop")
    assert await closed("bob") == frozenset()


async def test_the_default_mailbox_is_closed_though_it_never_was_owed_anything(
    script: Script,
) -> None:
    await script.begins("bob/phone")
    assert (await ask(script.store, "bob")).closed == {0}
