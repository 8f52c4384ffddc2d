"""Requests for the log: which record each is, under which id, and what it counts."""

import itertools
from dataclasses import replace

import pytest

from landline.delivery.requests import is_for_version_2, record_of, size_of
from landline.delivery.sender import Post
from landline.model import History, MemberStep, Role
from landline.protocol.client_frames import ChangeMember, ChangeRoom, Create, LogRequest, Send
from landline.protocol.events import EventRecord
from landline.protocol.identity import is_message_id, is_room, room_conversation
from landline.protocol.records import MemberRecord, RoomRecord

ROOM = room_conversation("alice", "the room")
OTHER_ROOM = room_conversation("alice", "another room")
TIME = "2026-01-02T03:04:05.678Z"

CREATE = Create("title", ("bob", "carol"), History.ALL, "r")
ADD = ChangeMember(ROOM, "bob", MemberStep.ADD, Role.MEMBER, "r")
TITLE = ChangeRoom(ROOM, "title", "r")
SEND = Send("", "hello", "r", conversation=ROOM)


def record(request: LogRequest, user: str = "alice") -> EventRecord:
    fresh = (f"00000000-0000-4000-8000-{n:012}" for n in itertools.count())
    return record_of(Post("p", user), request, fresh.__next__, TIME)


def id_of(request: LogRequest, user: str = "alice") -> str:
    return record(request, user).message_id


def test_a_send_without_data_has_the_id_that_it_always_had() -> None:
    """The golden value of test_identity.py."""
    golden = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
    assert id_of(Send("bob", "hello", "r1")) == golden
    assert id_of(Send("", "hello", "r1", conversation="dm:alice:bob")) == golden


@pytest.mark.parametrize("request_", [CREATE, ADD, TITLE, SEND])
def test_the_same_request_has_the_same_id(request_: LogRequest) -> None:
    """Also where it is a repeat: on any server, at any time."""
    assert id_of(request_) == id_of(replace(request_, retry=True))
    assert is_message_id(id_of(request_))


def test_another_user_ref_kind_conversation_or_detail_is_another_request() -> None:
    requests: list[LogRequest] = [
        CREATE,
        Create("title", ("bob", "carol"), History.ALL, "r2"),
        Create("other", ("bob", "carol"), History.ALL, "r"),
        Create(None, ("bob", "carol"), History.ALL, "r"),
        Create("title", ("bob",), History.ALL, "r"),
        Create("title", ("bob", "carol"), History.JOINED, "r"),
        ADD,
        ChangeMember(OTHER_ROOM, "bob", MemberStep.ADD, Role.MEMBER, "r"),
        ChangeMember(ROOM, "eve", MemberStep.ADD, Role.MEMBER, "r"),
        ChangeMember(ROOM, "bob", MemberStep.REMOVE, Role.MEMBER, "r"),
        ChangeMember(ROOM, "bob", MemberStep.ADD, Role.ADMIN, "r"),
        ChangeMember(ROOM, "bob", MemberStep.ADD, Role.MEMBER, "r2"),
        TITLE,
        ChangeRoom(OTHER_ROOM, "title", "r"),
        ChangeRoom(ROOM, "other", "r"),
        ChangeRoom(ROOM, None, "r"),
        ChangeRoom(ROOM, "title", "r2"),
        SEND,
        Send("", "title", "r", conversation=ROOM),
        Send("", "hello", "r", conversation=OTHER_ROOM),
        Send("", "hello", "r", conversation=ROOM, data="{}"),
        Send("", "hello", "r", conversation=ROOM, data='{"a":1}'),
    ]
    ids = [id_of(each, user) for each in requests for user in ("alice", "bob")]
    assert len(set(ids)) == len(ids)


def test_the_order_of_names_in_data_says_nothing() -> None:
    one, other = (
        id_of(Send("bob", "x", "r", data=data))
        for data in ('{"a":{"c":1,"d":2},"b":3}', '{"b":3,"a":{"d":2,"c":1}}')
    )
    assert one == other


@pytest.mark.parametrize("request_", [CREATE, ADD, TITLE, SEND])
def test_a_request_without_a_ref_has_a_fresh_id(request_: LogRequest) -> None:
    nameless = id_of(replace(request_, ref=None))
    assert nameless.startswith("00000000-0000-4000-8000-")
    assert nameless != id_of(request_)


def test_a_room_is_named_by_its_creator_and_their_ref() -> None:
    made = record(CREATE)
    assert isinstance(made, RoomRecord)
    assert made.conversation == room_conversation("alice", "r") != room_conversation("bob", "r")
    assert record(Create("other", (), History.JOINED, "r")).conversation == made.conversation
    nameless = record(Create(None, (), History.ALL))
    assert is_room(nameless.conversation)
    assert nameless.conversation != f"room:{nameless.message_id}"


@pytest.mark.parametrize("members", [("bob", "carol"), ("alice", "bob", "carol")])
def test_the_creator_is_the_first_member_and_is_one_once(members: tuple[str, ...]) -> None:
    """Whether the request names them or not: it is the same request."""
    made = record(Create("title", members, History.ALL, "r"))
    assert isinstance(made, RoomRecord)
    assert made.members == ("alice", "bob", "carol")
    assert made.message_id == id_of(CREATE)


def test_a_change_of_a_room_is_a_record_in_it() -> None:
    assert record(TITLE) == RoomRecord(
        id_of(TITLE), "r", ROOM, "alice", None, "title", None, None, TIME
    )
    assert record(ADD) == MemberRecord(
        id_of(ADD), "r", ROOM, "alice", None, "bob", MemberStep.ADD, Role.MEMBER, TIME
    )


@pytest.mark.parametrize(
    ("request_", "size_bytes"),
    [
        (Send("bob", "é"), 2),
        (Send("", "é", conversation=ROOM, data='{"a":1}'), 9),
        (Create("é", ("bob", "žofie"), History.ALL), 2 + 3 + 6),
        (Create(None, (), History.ALL), 0),
        (ChangeRoom(ROOM, "é"), 2),
        (ChangeRoom(ROOM, None), 0),
        (ChangeMember(ROOM, "žofie", MemberStep.ADD, Role.MEMBER), 6),
    ],
)
def test_a_request_counts_what_its_user_has_chosen(request_: LogRequest, size_bytes: int) -> None:
    assert size_of(request_) == size_bytes


def test_attached_data_counts_in_bytes() -> None:
    data = '{"a":"é"}'
    assert size_of(Send("bob", "x", data=data)) == 1 + len(data.encode())


@pytest.mark.parametrize(
    ("request_", "is_new"),
    [
        (Send("bob", "x"), False),
        (Send("bob", "x", data="{}"), True),
        (SEND, True),
        (CREATE, True),
        (ADD, True),
        (TITLE, True),
    ],
)
def test_rooms_and_data_need_version_2(request_: LogRequest, is_new: bool) -> None:
    assert is_for_version_2(request_) == is_new
