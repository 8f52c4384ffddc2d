"""Rooms, devices, read marks and pages: what is promised of them, broken one at a time."""

from dataclasses import replace

import pytest

from landline_verify.checker.check import check
from landline_verify.history import events as e
from support.room_tapes import DIRECT, ROOM, RoomTape, found


@pytest.mark.parametrize("history", ["all", "joined"])
def test_a_healthy_history_of_a_room_breaks_nothing(history: str) -> None:
    tape = RoomTape("joined" if history == "joined" else "all")
    verdict = check(tape.events)
    assert verdict.violations == ()
    assert verdict.findings["I17"] == verdict.findings["I18"] == "held"


# Devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hello", "direct", "add"])
def test_never_received_by_a_device_whose_user_has_it_elsewhere(name: str) -> None:
    """The phone acknowledges in vain for the tablet, which is there in the end."""
    tape = RoomTape()
    gone = tape.one(e.Disconnect, c="c-bob-tablet")
    end = tape.one(e.Phase, name="end")
    tape.drop(gone)
    tape.after(end, replace(gone, t=end.t))
    missed = {tape.ids[each] for each in tape.ids} - {
        recv.id for recv in tape.all(e.Recv, c="c-bob-tablet")
    }
    assert tape.ids[name] in missed or name == "hello"
    if name == "hello":
        tape.drop(*tape.all(e.Recv, c="c-bob-tablet", id=tape.ids[name]))
    assert tape.ids[name] in found(tape)["I2"]


def test_a_device_that_stays_away_is_owed_it_no_more() -> None:
    tape = RoomTape()
    tape.drop(tape.one(e.PendingRow, id=tape.ids["direct"], device="tablet"))
    assert found(tape) == {"I2": {tape.ids["direct"]}, "I9": {tape.ids["direct"]}}


def test_what_was_sent_from_the_phone_is_not_owed_to_the_tablet() -> None:
    tape = RoomTape()
    tape.drop(tape.one(e.PendingRow, id=tape.ids["direct from the phone"], device="tablet"))
    hurt = tape.ids["direct from the phone"]
    assert found(tape) == {"I2": {hurt}, "I9": {hurt}}


def test_given_back_to_the_device_that_it_was_sent_from() -> None:
    tape = RoomTape()
    recv = tape.one(e.Recv, id=tape.ids["direct from the phone"])
    tape.after(recv, replace(recv, user="bob", c="c-bob-phone"))
    assert found(tape) == {"I13": {recv.id}}


def test_given_back_to_a_device_that_had_not_begun_when_it_was_sent_from_there() -> None:
    """It was owed to the mailbox that the user had before."""
    tape = RoomTape()
    live = tape.one(e.Live, c="c-bob-phone")
    recv = tape.one(e.Recv, id=tape.ids["direct from the phone"])
    tape.after(recv, replace(recv, user="bob", c="c-bob-phone"))
    tape.drop(live)
    tape.after(tape.one(e.Phase, name="final"), replace(live, t=tape.one(e.Phase, name="final").t))
    assert "I13" not in found(tape)


def test_given_back_in_a_room_to_the_device_that_it_was_sent_from() -> None:
    tape = RoomTape()
    recv = tape.one(e.Recv, id=tape.ids["from the phone"], user="cid")
    tape.after(recv, replace(recv, user="bob", c="c-bob-phone"))
    assert found(tape) == {"I13": {recv.id}}


def test_pushed_twice_to_a_session_of_a_device() -> None:
    tape = RoomTape()
    recv = tape.one(e.Recv, id=tape.ids["hello"], c="c-bob-tablet")
    tape.after(recv, replace(recv, n=recv.n + 1))
    assert found(tape) == {"I5": {recv.id}}


def test_delivered_because_the_senders_own_device_has_it() -> None:
    tape = RoomTape()
    status = tape.one(e.Status, id=tape.ids["direct"])
    tape.after(status, replace(status, by="ann"))
    assert found(tape) == {"I8": {tape.ids["direct"]}}


def test_a_receipt_of_a_device_that_acknowledged_nothing() -> None:
    tape = RoomTape()
    record = next(
        each
        for each in tape.all(e.ReceiptsRecord, id=tape.ids["hello"])
        if each.entries[0][1] == "phone"
    )
    tape.change(record, entries=(("bob", "laptop", (tape.ids["hello"],)),))
    assert tape.ids["hello"] in found(tape)["I8"]


@pytest.mark.parametrize("device", ["phone", None])
def test_acknowledged_and_owed_still(device: str | None) -> None:
    tape = RoomTape()
    user, id = "cid" if device is None else "bob", tape.ids["hello"]
    tape.after(
        tape.all(e.MessageRow)[0],
        e.PendingRow(0.0, user, device, 0, tape.one(e.MessageRow, id=id).offset, id, True),
    )
    assert found(tape)["I8"] == {id}


def test_delivery_in_a_room_is_told() -> None:
    tape = RoomTape()
    ack = tape.one(e.Ack, id=tape.ids["hello"], c="c-cid-None")
    tape.after(ack, e.Status(ack.t, "ann", "c-ann-None", (tape.ids["hello"],), "cid", "t"))
    assert found(tape) == {"I8": {tape.ids["hello"]}}


# Rooms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hello", "add", "rename"])
def test_never_received_by_a_member(name: str) -> None:
    tape = RoomTape()
    tape.forget_receipt(name, "cid", None)
    tape.drop(tape.one(e.Recv, id=tape.ids[name], user="cid"))
    assert tape.ids[name] in found(tape)["I2"]


def test_pushed_to_somebody_who_never_was_in_the_room() -> None:
    tape = RoomTape()
    recv = tape.one(e.Recv, id=tape.ids["hello"], user="cid")
    connect = tape.one(e.Connect, user="dan")
    tape.after(connect, replace(connect, t=connect.t, user="eve", c="c-eve"))
    tape.after(recv, replace(recv, user="eve", c="c-eve"))
    assert found(tape) == {"I13": {tape.ids["hello"]}}


def test_pushed_before_anybody_was_added() -> None:
    tape = RoomTape()
    recv = tape.one(e.Recv, id=tape.ids["hello"], user="cid")
    tape.after(recv, replace(recv, user="dan", c="c-dan-None"))
    assert found(tape) == {"I13": {tape.ids["hello"]}}


def test_pushed_from_before_where_that_is_not_for_those_who_join() -> None:
    tape = RoomTape("joined")
    recv = tape.one(e.Recv, id=tape.ids["hello"], user="cid")
    later = tape.one(e.Recv, id=tape.ids["to dan too"], user="dan")
    tape.after(later, replace(recv, t=later.t, user="dan", c="c-dan-None", replay=True))
    assert found(tape) == {"I13": {tape.ids["hello"]}}


def test_pushed_from_before_where_those_who_join_may_read_all() -> None:
    tape = RoomTape("all")
    recv = tape.one(e.Recv, id=tape.ids["hello"], user="cid")
    later = tape.one(e.Recv, id=tape.ids["to dan too"], user="dan")
    tape.after(later, replace(recv, t=later.t, user="dan", c="c-dan-None", replay=True))
    assert found(tape) == {}


@pytest.mark.parametrize(("name", "seconds"), [("without dan", 0.0), ("to dan too", 3.5)])
def test_pushed_long_after_the_removal(name: str, seconds: float) -> None:
    """What is new, and what was said while they were in the room."""
    tape = RoomTape()
    recv = tape.one(e.Recv, id=tape.ids[name], c="c-bob-phone")
    removed = tape.one(e.Ok, id=tape.ids["remove"])
    old = tape.all(e.Recv, id=tape.ids[name], user="dan")
    tape.drop(*old, *tape.all(e.Ack, id=tape.ids[name], user="dan"))
    late = tape.one(e.Recv, id=tape.ids["without dan"], user="cid")
    t = max(late.t, removed.t + seconds)
    tape.after(late, replace(recv, t=t, user="dan", c="c-dan-None"))
    assert tape.ids[name] in found(tape)["I13"]


def test_pushed_within_2_seconds_of_the_removal() -> None:
    tape = RoomTape()
    recv = tape.one(e.Recv, id=tape.ids["without dan"], user="cid")
    removed = tape.one(e.Ok, id=tape.ids["remove"])
    tape.after(recv, replace(recv, t=removed.t + 1.9, user="dan", c="c-dan-None"))
    assert found(tape) == {}


def test_long_after_the_removal_while_a_server_cannot_ask_the_store() -> None:
    tape = RoomTape()
    recv = tape.one(e.Recv, id=tape.ids["without dan"], user="cid")
    tape.after(recv, replace(recv, user="dan", c="c-dan-None"))
    for phase, t in (("start", recv.t - 4), ("stop", recv.t)):
        tape.after(
            tape.all(e.Phase)[0],
            e.FaultEvent(t, "postgres-away", "start" if phase == "start" else "stop", ""),
        )
    assert "I13" not in found(tape)


def test_pushed_after_an_earlier_membership_and_before_the_next_one() -> None:
    """Nobody has been told that the removal was accepted: it was never answered."""
    tape = RoomTape()
    recv = tape.one(e.Recv, id=tape.ids["without dan"], user="cid")
    tape.drop(tape.one(e.Ok, id=tape.ids["remove"]))
    tape.after(recv, replace(recv, user="dan", c="c-dan-None"))
    assert found(tape) == {}


def test_somebody_writes_into_a_room_without_ever_being_in_it() -> None:
    tape = RoomTape()
    hurt = tape.ids["hello"]
    record = tape.one(e.MessageRecord, id=hurt)
    tape.change(record, sender="eve")
    assert hurt in found(tape)["I13"]


def test_a_room_begins_with_somebody_who_was_not_named() -> None:
    tape = RoomTape()
    record = tape.one(e.RoomRecord, id=tape.ids["make"])
    tape.change(record, members=(*record.members, "eve"))
    assert found(tape)["I13"] == {tape.ids["make"]}


@pytest.mark.parametrize("kind", [e.Listed, e.Paged])
def test_a_room_is_shown_to_a_stranger(kind: type[e.Listed | e.Paged]) -> None:
    tape = RoomTape()
    shown = tape.all(kind, user="cid")[0]
    asked = tape.one(e.Ask, request=shown.request)
    tape.change(shown, user="eve", c="c-eve")
    tape.change(asked, user="eve", c="c-eve")
    assert None in found(tape)["I13"]


def test_a_room_is_shown_after_the_removal() -> None:
    tape = RoomTape()
    shown = tape.all(e.Paged, user="cid")[1]
    asked = tape.one(e.Ask, request=shown.request)
    tape.change(shown, user="dan", c="c-dan-None")
    tape.change(asked, user="dan", c="c-dan-None")
    assert found(tape) == {"I13": {None}}


def test_events_of_a_room_in_the_wrong_order() -> None:
    tape = RoomTape()
    one, other = (tape.one(e.Recv, id=tape.ids[each], user="cid") for each in ("hello", "add"))
    tape.change(one, n=other.n, t=other.t)
    tape.events.sort(key=lambda each: each.t)
    assert "I6" in found(tape)


def test_another_title_than_was_asked_for() -> None:
    tape = RoomTape()
    tape.change(tape.one(e.Recv, id=tape.ids["rename"], user="cid"), digest="another")
    assert found(tape) == {"I4": {tape.ids["rename"]}}


def test_a_room_that_nobody_made() -> None:
    tape = RoomTape()
    for event in (*tape.all(e.Invoke, what="create"), *tape.all(e.Ok, id=tape.ids["make"])):
        tape.drop(event)
    assert "I3" in found(tape)


@pytest.mark.parametrize(
    ("field", "value"), [("role", "admin"), ("joined", 3), ("read", 7)]
)  # fmt: skip
def test_the_store_has_other_members_than_the_log(field: str, value: object) -> None:
    tape = RoomTape()
    tape.change(tape.one(e.MemberRow, conversation=ROOM, user="cid"), **{field: value})
    assert found(tape) == {"I9": {None}}


def test_the_store_has_a_member_too_many_or_too_few() -> None:
    tape = RoomTape()
    row = tape.one(e.MemberRow, conversation=ROOM, user="cid")
    tape.change(row, user="dan")
    assert found(tape) == {"I9": {None}}


def test_the_store_owes_something_to_somebody_who_was_removed() -> None:
    tape = RoomTape()
    row = tape.one(e.MessageRow, id=tape.ids["to dan too"])
    place = (row.partition, row.offset)
    tape.after(row, e.PendingRow(row.t, "dan", None, *place, row.id, is_received=False))
    assert found(tape) == {"I8": {row.id}, "I9": {row.id}}


# Read and unread -----------------------------------------------------------------------------


def test_a_mark_that_nobody_has_set() -> None:
    tape = RoomTape()
    tape.drop(tape.one(e.Mark, user="cid"))
    assert found(tape) == {"I17": {None}}


def test_a_mark_that_was_told_and_is_not_in_the_log() -> None:
    tape = RoomTape()
    record = tape.one(e.ReadRecord, conversation=DIRECT)
    tape.exchange(record, e.ForeignRecord(record.t, 0, record.offset))
    assert "I17" in found(tape)


def test_a_mark_that_is_listed_no_more() -> None:
    tape = RoomTape()
    listed = tape.one(e.Listed, user="bob")
    items = tuple(
        (name, last, read - (name == DIRECT), unread + (name == DIRECT))
        for name, last, read, unread in listed.items
    )
    tape.change(listed, items=items)
    assert found(tape) == {"I17": {None}}


def test_a_mark_that_was_listed_before() -> None:
    tape = RoomTape()
    listed = tape.one(e.Listed, user="cid")
    asked = tape.one(e.Ask, request=listed.request)
    [(name, last, read, unread)] = listed.items
    again = ((name, last, read - 1, unread + 1),)
    tape.after(
        listed,
        replace(asked, t=listed.t, request="again"),
        replace(listed, request="again", items=again),
    )
    assert found(tape) == {"I17": {None}}


def test_a_room_at_the_very_beginning_of_the_log_has_a_mark_before_it() -> None:
    """Nothing of it is read: its first event stands at 0."""
    tape = RoomTape()
    listed = tape.one(e.Listed, user="cid")
    asked = tape.one(e.Ask, request=listed.request)
    tape.drop(*tape.all(e.Marked, user="cid"), *tape.all(e.Mark, user="cid"))
    tape.drop(*tape.all(e.ReadRecord, conversation=ROOM))
    room = [each for each in tape.all(e.Record) if getattr(each, "conversation", "") == ROOM]
    unread = sum(getattr(each, "sender", "cid") != "cid" for each in room)
    listed = tape.change(listed, items=((ROOM, listed.items[0][1], -1, unread),))
    tape.after(
        listed,
        replace(asked, t=listed.t, request="again"),
        replace(listed, request="again"),
    )
    assert "I17" not in found(tape)


@pytest.mark.parametrize("more", [-1, 1])
def test_unread_is_counted_wrongly(more: int) -> None:
    tape = RoomTape()
    listed = tape.one(e.Listed, user="cid")
    [(name, last, read, unread)] = listed.items
    assert unread > 1
    tape.change(listed, items=((name, last, read, unread + more),))
    assert found(tape) == {"I17": {None}}


# Pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("place", [0, -1])
def test_a_page_lacks_an_event(number: int, place: int) -> None:
    tape = RoomTape()
    page = tape.all(e.Paged)[number]
    hurt = page.messages[place]
    tape.change(page, messages=tuple(each for each in page.messages if each is not hurt))
    assert found(tape) == {"I18": {hurt[0]}}


def test_a_page_is_out_of_order() -> None:
    tape = RoomTape()
    page = tape.all(e.Paged)[0]
    tape.change(page, messages=tuple(reversed(page.messages)))
    assert found(tape) == {"I18": {None}}


def test_a_page_has_something_of_another_conversation() -> None:
    tape = RoomTape()
    page = tape.all(e.Paged)[0]
    record = tape.one(e.MessageRecord, id=tape.ids["direct"])
    more = (record.id, page.messages[-1][1] + 1, record.digest)
    tape.change(page, messages=(*page.messages, more))
    assert record.id in found(tape)["I18"]


def test_a_page_has_another_content_or_place() -> None:
    tape = RoomTape()
    page = tape.all(e.Paged)[1]
    (id, offset, _), *rest = page.messages
    tape.change(page, messages=((id, offset, "another"), *rest))
    assert found(tape) == {"I4": {id}}


def test_pages_with_a_gap_between_them() -> None:
    """The older one ends before the newer one begins."""
    tape = RoomTape()
    page = tape.all(e.Paged)[1]
    *rest, hurt = page.messages
    tape.change(page, messages=tuple(rest), last=rest[-1][1])
    assert found(tape) == {"I18": {hurt[0]}}


def test_a_page_that_is_complete_too_soon() -> None:
    tape = RoomTape()
    newer, older = tape.all(e.Paged)
    tape.drop(tape.one(e.Ask, request=older.request), older)
    tape.change(newer, complete=True)
    assert found(tape) == {"I18": {id for id, _, _ in older.messages}}


def test_the_newest_page_does_not_reach_what_was_accepted_long_before() -> None:
    tape = RoomTape()
    page = tape.all(e.Paged)[0]
    *rest, hurt = page.messages
    tape.change(page, messages=tuple(rest), last=rest[-1][1])
    assert found(tape) == {"I18": {hurt[0]}}


def test_nobody_wrote_into_a_room_or_read_in_the_end() -> None:
    tape = RoomTape()
    gone = e.Listed | e.Paged | e.Marked | e.Mark
    tape.events = [each for each in tape.events if not isinstance(each, gone)]
    reasons = check(tape.events).reasons
    assert "nobody read a conversation to its beginning" in reasons
    assert "nobody was told how far a conversation was seen" in reasons
