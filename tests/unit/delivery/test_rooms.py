"""Rooms in the heart: who is pushed what, which servers are told, and what senders hear."""

from dataclasses import replace

import orjson
import pytest

from landline.delivery import decisions as d
from landline.delivery.devices import Recognition
from landline.delivery.session import DEAF_SECONDS
from landline.model import EventKind, History, Mailbox, MemberStep, Message, Position, Role
from landline.protocol.client_frames import (
    BadFrame,
    ChangeMember,
    ChangeRoom,
    Create,
    LogRequest,
    Send,
    decode,
)
from landline.protocol.codes import ErrorCode
from landline.protocol.records import MemberRecord, RoomRecord, decode_record
from support.bench import Bench, hint
from support.conversations import ROOM

MEMBERS = {"alice": Role.ADMIN, "bob": Role.MEMBER}


@pytest.fixture
def bench() -> Bench:
    """Alice has a phone, twice, and a tablet; bob and carol have none."""
    bench = Bench()
    for session, device in (("phone", "phone"), ("phone2", "phone"), ("tablet", "tablet")):
        bench.join(session, "alice", device=device)
    bench.join("b", "bob")
    bench.join("c", "carol")
    return bench


def ask(bench: Bench, request: LogRequest, session: str = "phone") -> Message:
    """Have a session ask for something, and the log take it. Returns what is to be pushed."""
    bench.heart.receive(session, request)
    bench.append()
    asked: d.PushToRoom = bench.pop(d.PushToRoom)
    return asked.message


def got(bench: Bench, kind: str = "message") -> list[int]:
    return [len(bench.of(each, kind)) for each in ("phone", "phone2", "tablet", "b", "c")]


def test_a_message_to_a_room_is_accepted_and_its_members_are_found_out(bench: Bench) -> None:
    message = ask(bench, Send("", "hello", "r", conversation=ROOM))
    assert (message.conversation, message.recipients) == (ROOM, ())
    (accepted,) = bench.of("phone", "accepted")
    assert (accepted["conversation"], accepted["ref"]) == (ROOM, "r")
    assert got(bench) == [0, 0, 0, 0, 0]
    assert not bench.has(d.RouteMessage)


def test_it_goes_to_the_members_except_the_device_it_came_from(bench: Bench) -> None:
    message = ask(bench, Send("", "hello", "r", conversation=ROOM))
    bench.heart.push_to_room(message, MEMBERS)
    assert got(bench) == [0, 0, 1, 1, 0]
    (pushed,) = bench.of("b", "message")
    assert "to" not in pushed
    assert bench.pop(d.RouteMessage).users == ("alice", "bob")


def test_what_was_sent_over_http_goes_to_all_devices(bench: Bench) -> None:
    bench.heart.begin_post("request", "alice")
    bench.heart.send("request", Send("", "hello", "r", conversation=ROOM))
    bench.append()
    bench.heart.push_to_room(bench.pop(d.PushToRoom).message, MEMBERS)
    assert got(bench) == [1, 1, 1, 1, 0]


def test_a_server_of_its_own_tells_no_others() -> None:
    bench = Bench(has_others=False)
    bench.join("a", "alice")
    bench.heart.push_to_room(ask(bench, Send("", "x", conversation=ROOM), "a"), MEMBERS)
    assert not bench.has(d.RouteMessage)


def test_nothing_is_pushed_where_there_is_nobody(bench: Bench) -> None:
    bench.heart.push_to_room(ask(bench, Send("", "x", conversation=ROOM)), ())
    assert got(bench) == [0, 0, 0, 0, 0]


def test_a_hint_of_another_server_goes_to_those_of_its_users_who_are_members(
    bench: Bench,
) -> None:
    """They may have been removed since."""
    id = "11111111-0000-4000-8000-000000000005"
    sent = Message(id, ROOM, "alice", (), "text", Position(0, 5), 0, device="phone")
    bench.heart.routed(hint(sent, "alice", "carol"))
    push = bench.pop(d.PushToRoom)
    assert (push.message, push.users) == (sent, {"alice", "carol"})
    bench.heart.push_to_room(sent, ["alice", "carol"], is_ours=False)
    assert got(bench) == [0, 0, 1, 0, 1]
    assert not bench.has(d.RouteMessage)


def test_a_receipt_of_a_room_is_told_to_nobody(bench: Bench) -> None:
    """Its sender asks."""
    bench.heart.push_to_room(ask(bench, Send("", "hello", conversation=ROOM)), MEMBERS)
    bench.pop(d.RouteMessage)
    for session in ("b", "tablet"):
        bench.ack(session, *bench.got(session, "id"))
    receipts = bench.pop(d.AppendReceipts)
    assert receipts.batch.conversation == ROOM
    bench.asked.append(receipts)
    bench.append()
    assert got(bench, "status") == [0, 0, 0, 0, 0]
    assert not bench.has(d.RouteStatus)


def test_what_comes_out_of_the_store_is_no_news_either(bench: Bench) -> None:
    id = "11111111-0000-4000-8000-000000000005"
    row = Message(id, ROOM, "alice", ("bob",), "text", Position(0, 5), 0)
    bench.heart.connect("b2", "bob", auto_ack=False, device="new")
    bench.heart.recognised("b2", None)
    bench.heart.registered("b2", {0: 0})
    bench.end = 9
    bench.page("b2", row)
    assert bench.got("b2", "id") == [id]
    bench.ack("b2", id)
    bench.append()
    assert got(bench, "status") == [0, 0, 0, 0, 0]


# Making and changing -----------------------------------------------------------------------------


def test_a_room_that_is_made_is_accepted_under_its_name(bench: Bench) -> None:
    event = ask(bench, Create("title", ("bob",), History.JOINED, "r"))
    assert event.kind is EventKind.ROOM
    (accepted,) = bench.of("phone", "accepted")
    assert (accepted["id"], accepted["conversation"]) == (event.id, event.conversation)
    bench.heart.push_to_room(event, MEMBERS)
    assert got(bench, "room") == [0, 0, 1, 1, 0]
    (pushed,) = bench.of("b", "room")
    assert (pushed["title"], pushed["sender"]) == ("title", "alice")


def test_what_makes_and_changes_rooms_is_in_the_log_in_version_2(bench: Bench) -> None:
    requests: list[LogRequest] = [
        Create("title", ("bob",), History.JOINED, "r"),
        ChangeRoom(ROOM, None, "r"),
        ChangeMember(ROOM, "bob", MemberStep.REMOVE, Role.MEMBER, "r"),
    ]
    for request in requests:
        bench.heart.receive("phone", request)
        asked = bench.pop(d.AppendMessage)
        read = decode_record(asked.value)
        assert isinstance(read, RoomRecord | MemberRecord)
        assert read == asked.flight.record
        assert read.device == "phone"


def test_the_same_change_twice_is_one_append(bench: Bench) -> None:
    change = ChangeMember(ROOM, "bob", MemberStep.ADD, Role.MEMBER, "r")
    bench.heart.receive("phone", change)
    bench.heart.receive("tablet", replace(change, retry=True))
    bench.append()
    bench.confirm(0)
    assert not bench.has(d.AppendMessage)
    assert bench.got("phone", "id", "accepted") == bench.got("tablet", "id", "accepted")


def test_who_is_removed_hears_of_it(bench: Bench) -> None:
    event = ask(bench, ChangeMember(ROOM, "carol", MemberStep.REMOVE, Role.MEMBER, "r"))
    bench.heart.push_to_room(event, MEMBERS, left="carol")
    assert got(bench, "member") == [0, 0, 1, 1, 1]
    (pushed,) = bench.of("c", "member")
    assert (pushed["user"], pushed["change"]) == ("carol", "remove")
    assert bench.pop(d.RouteMessage).users == ("alice", "bob", "carol")


def test_who_is_added_is_named_once(bench: Bench) -> None:
    event = ask(bench, ChangeMember(ROOM, "bob", MemberStep.ADD, Role.MEMBER, "r"))
    bench.heart.push_to_room(event, MEMBERS)
    assert got(bench, "member") == [0, 0, 1, 1, 0]
    assert bench.pop(d.RouteMessage).users == ("alice", "bob")


# Answers to questions ----------------------------------------------------------------------------


def test_the_error_of_a_bad_question_names_it(bench: Bench) -> None:
    with pytest.raises(BadFrame) as caught:
        decode('{"type":"list","request":"q1","limit":0}')
    bench.heart.receive_bad("b", caught.value)
    (error,) = bench.of("b", "error")
    assert error["request"] == "q1"
    assert error.keys() == {"type", "code", "message", "request"}


def test_an_answer_goes_to_the_session_that_asked_as_long_as_it_is_there(bench: Bench) -> None:
    answer = orjson.dumps({"type": "page"})
    bench.heart.answer("b", answer)
    bench.heart.answer("nobody", answer)
    assert len(bench.of("b", "page")) == 1
    assert "nobody" not in bench.frames


def test_a_question_is_a_good_frame(bench: Bench) -> None:
    """So bad ones are not in a row."""
    bad = BadFrame(ErrorCode.BAD_FRAME, "why")
    for _ in range(19):
        bench.heart.receive_bad("b", bad)
    bench.heart.heard("b")
    for _ in range(19):
        bench.heart.receive_bad("b", bad)
    assert not bench.has(d.Close)


def test_a_second_room_with_the_ref_of_one_that_is_being_made_is_refused(bench: Bench) -> None:
    """It would be the same room, with another beginning. The same request again joins the first."""
    makes = Create("one", ("bob",), History.ALL, "ref")
    bench.heart.receive("phone", makes)
    append = bench.pop(d.AppendMessage)
    bench.heart.receive("phone", replace(makes, title="two"))
    bench.heart.receive("phone", makes)
    find = bench.pop(d.FindOriginal)
    bench.heart.original_found(find.flight, None)
    (error,) = bench.of("phone", "error")
    assert (error["code"], error["outcome"]) == ("bad_ref", "rejected")
    bench.asked.append(append)
    bench.append()
    assert [each["ref"] for each in bench.of("phone", "accepted")] == ["ref", "ref"]
    assert not bench.has(d.AppendMessage)


@pytest.mark.parametrize(
    ("request_", "is_change"),
    [
        (Send("", "hello", conversation=ROOM), False),
        (ChangeRoom(ROOM, "title"), False),
        (ChangeMember(ROOM, "bob", MemberStep.REMOVE, Role.MEMBER), True),
        (Create("one", (), History.ALL, "ref"), True),
    ],
)
def test_a_change_of_the_members_is_noted_with_the_answer_of_the_log(
    bench: Bench, request_: LogRequest, is_change: bool
) -> None:
    """Not when it is pushed, which may be later, and not by a hint that may be lost."""
    bench.heart.receive("phone", request_)
    bench.append()
    assert bench.has(d.NoteChange) == is_change


def test_who_is_removed_is_not_pushed_what_was_held_for_them(bench: Bench) -> None:
    bench.heart.connect("late", "bob", auto_ack=False)
    bench.enter()
    bench.recognise(Recognition(Mailbox("bob"), frozenset(), frozenset({0})))
    bench.read_ends()  # and no page comes
    bench.heart.push_to_room(ask(bench, Send("", "hello", conversation=ROOM)), MEMBERS)
    remove = ChangeMember(ROOM, "bob", MemberStep.REMOVE, Role.MEMBER)
    bench.heart.push_to_room(ask(bench, remove), ["alice"], left="bob")
    bench.clock.now += DEAF_SECONDS + 1
    bench.heart.tick()
    assert len(bench.of("late", "message")) == 0
    assert len(bench.of("b", "message")) == 1
