"""The frames of rooms and of reading: what is taken, and what is refused under which name."""

import json
from typing import Any

import orjson
import pytest

from landline.model import (
    DeliveryStatus,
    EventKind,
    History,
    ListedConversation,
    ListedMember,
    MemberStep,
    Message,
    Position,
    Role,
)
from landline.protocol import server_frames
from landline.protocol.client_frames import (
    AskDelivery,
    AskHistory,
    AskList,
    AskMembers,
    BadFrame,
    ChangeMember,
    ChangeRoom,
    Create,
    MarkRead,
    Send,
    decode,
)
from landline.protocol.codes import ErrorCode, Outcome

ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
ROOM = f"room:{ID}"
DIRECT = "dm:alice:bob"
LAST_OFFSET = 2**53 - 1

SEND = {"type": "send", "conversation": ROOM, "content": "hello", "ref": "r1"}
CREATE = {"type": "create", "ref": "r1", "title": "t", "members": ["bob"], "history": "joined"}
MEMBER = {
    "type": "member",
    "ref": "r1",
    "conversation": ROOM,
    "user": "bob",
    "change": "add",
    "role": "admin",
}
TITLE = {"type": "room", "ref": "r1", "conversation": ROOM, "title": "t"}
READ = {"type": "read", "conversation": ROOM, "offset": 7}
FOR_THE_LOG = [SEND, CREATE, MEMBER, TITLE]

LIST = {"type": "list", "request": "q1", "after": "7.dm:a:b", "limit": 3}
HISTORY = {"type": "history", "request": "q1", "conversation": ROOM, "before": 9, "limit": 3}
MEMBERS = {"type": "members", "request": "q1", "conversation": ROOM}
DELIVERY = {"type": "delivery", "request": "q1", "ids": [ID]}
QUESTIONS = [LIST, HISTORY, MEMBERS, DELIVERY]


def without(frame: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in frame.items() if name not in fields}


def refusal(frame: dict[str, Any]) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        decode(json.dumps(frame))
    assert caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("frame", "decoded"),
    [
        (SEND, Send("", "hello", "r1", conversation=ROOM)),
        (SEND | {"conversation": DIRECT}, Send("", "hello", "r1", conversation=DIRECT)),
        (SEND | {"data": {"a": [1]}}, Send("", "hello", "r1", False, ROOM, '{"a":[1]}')),
        (SEND | {"data": {}}, Send("", "hello", "r1", False, ROOM, "{}")),
        (SEND | {"data": None, "to": None}, Send("", "hello", "r1", conversation=ROOM)),
        (CREATE, Create("t", ("bob",), History.JOINED, "r1")),
        ({"type": "create"}, Create(None, (), History.ALL)),
        (CREATE | {"retry": True}, Create("t", ("bob",), History.JOINED, "r1", retry=True)),
        (
            CREATE | {"title": None, "members": None, "history": None},
            Create(None, (), History.ALL, "r1"),
        ),
        (
            CREATE | {"members": ["bob", "eve", "bob"]},
            Create("t", ("bob", "eve"), History.JOINED, "r1"),
        ),
        (MEMBER, ChangeMember(ROOM, "bob", MemberStep.ADD, Role.ADMIN, "r1")),
        (without(MEMBER, "role"), ChangeMember(ROOM, "bob", MemberStep.ADD, Role.MEMBER, "r1")),
        (
            without(MEMBER, "role") | {"change": "remove", "retry": True},
            ChangeMember(ROOM, "bob", MemberStep.REMOVE, Role.MEMBER, "r1", retry=True),
        ),
        (
            MEMBER | {"change": "role", "role": "member"},
            ChangeMember(ROOM, "bob", MemberStep.ROLE, Role.MEMBER, "r1"),
        ),
        (TITLE, ChangeRoom(ROOM, "t", "r1")),
        (TITLE | {"title": None, "ref": None}, ChangeRoom(ROOM, None)),
        (READ, MarkRead(ROOM, 7)),
        (READ | {"conversation": DIRECT, "offset": 0}, MarkRead(DIRECT, 0)),
        (READ | {"offset": LAST_OFFSET}, MarkRead(ROOM, LAST_OFFSET)),
        (LIST, AskList("q1", "7.dm:a:b", 3)),
        ({"type": "list"}, AskList(None, None, 100)),
        (LIST | {"request": ""}, AskList("", "7.dm:a:b", 3)),
        (HISTORY, AskHistory("q1", ROOM, 9, None, 3)),
        (without(HISTORY, "before", "limit"), AskHistory("q1", ROOM, None, None, 100)),
        (without(HISTORY, "before") | {"after": 0}, AskHistory("q1", ROOM, None, 0, 3)),
        (HISTORY | {"conversation": DIRECT}, AskHistory("q1", DIRECT, 9, None, 3)),
        (MEMBERS, AskMembers("q1", ROOM)),
        (DELIVERY, AskDelivery("q1", (ID,))),
        (DELIVERY | {"ids": []}, AskDelivery("q1", ())),
        (DELIVERY | {"ids": [ID] * 50}, AskDelivery("q1", (ID,))),
    ],
)  # fmt: skip
def test_a_good_frame_is_taken(frame: dict[str, Any], decoded: object) -> None:
    assert decode(json.dumps(frame)) == decoded


@pytest.mark.parametrize("frame", [*FOR_THE_LOG, READ, *QUESTIONS])
def test_unknown_fields_are_ignored(frame: dict[str, Any]) -> None:
    assert decode(json.dumps(frame | {"later": [{}]})) == decode(json.dumps(frame))


def test_the_largest_of_everything_is_taken() -> None:
    names = [f"{number:064}" for number in range(256)]
    created = decode(json.dumps(CREATE | {"title": "é" * 128, "members": names}))
    assert isinstance(created, Create)
    assert (len(created.members), created.title) == (256, "é" * 128)
    data = {"a": "x" * (4_096 - len('{"a":""}'))}
    sent = decode(json.dumps(SEND | {"content": "x" * 16_384, "data": data}))
    assert isinstance(sent, Send)
    assert sent.data is not None
    assert len(sent.data) == 4_096
    request = "é" * 32
    assert decode(json.dumps(MEMBERS | {"request": request})) == AskMembers(request, ROOM)


NO_CONVERSATIONS = [
    None, 7, "", "room:", "room:x", ROOM.upper(), f"{ROOM} ", "dm:", "dm:a", "dm:b:a", "dm:a:b:c",
    "dm:a:b c", "alice", [ROOM],
]  # fmt: skip


@pytest.mark.parametrize("conversation", NO_CONVERSATIONS)
@pytest.mark.parametrize("frame", [MEMBER, TITLE, READ, HISTORY, MEMBERS])
def test_what_names_no_conversation_is_refused(frame: dict[str, Any], conversation: object) -> None:
    bad = refusal(frame | {"conversation": conversation})
    assert bad.code is ErrorCode.BAD_FRAME


@pytest.mark.parametrize("conversation", [each for each in NO_CONVERSATIONS if each is not None])
def test_a_send_into_what_is_no_conversation_is_rejected(conversation: object) -> None:
    bad = refusal(SEND | {"conversation": conversation})
    assert (bad.code, bad.outcome, bad.ref) == (ErrorCode.BAD_FRAME, Outcome.REJECTED, "r1")


@pytest.mark.parametrize("frame", [MEMBER, TITLE])
def test_only_rooms_have_members_to_change_and_titles(frame: dict[str, Any]) -> None:
    assert "room" in refusal(frame | {"conversation": DIRECT}).message


BAD_DATA: list[object] = ["{}", [], 7, True]
BAD_MEMBERS: list[object] = ["bob", {}, [7], [None]]
BAD_ROLES: list[object] = ["", "owner", 7, {}]
BAD_PLACES: list[object] = [7, [], {}]
BAD_TITLES = ["", "é" * 129, "x" * 257, "a\x00", 7, ["t"]]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (SEND | {"to": "bob"}, ErrorCode.BAD_FRAME),
        (without(SEND, "conversation"), ErrorCode.BAD_FRAME),
        (SEND | {"content": ""}, ErrorCode.CONTENT_EMPTY),
        (SEND | {"content": "x" * 16_385}, ErrorCode.CONTENT_TOO_LARGE),
        (SEND | {"data": {"a": "x" * 4_089}}, ErrorCode.CONTENT_TOO_LARGE),
        *((SEND | {"data": data}, ErrorCode.BAD_FRAME) for data in BAD_DATA),
        *((CREATE | {"title": title}, ErrorCode.BAD_FRAME) for title in BAD_TITLES),
        *((TITLE | {"title": title}, ErrorCode.BAD_FRAME) for title in BAD_TITLES),
        (without(TITLE, "title"), ErrorCode.BAD_FRAME),
        *((CREATE | {"members": one}, ErrorCode.BAD_FRAME) for one in BAD_MEMBERS),
        (CREATE | {"members": ["bob"] * 257}, ErrorCode.BAD_FRAME),
        (CREATE | {"members": ["bob", "no name"]}, ErrorCode.BAD_RECIPIENT),
        *((CREATE | {"history": one}, ErrorCode.BAD_FRAME) for one in ("", "ALL", 7, ["all"])),
        (without(MEMBER, "user"), ErrorCode.BAD_FRAME),
        (MEMBER | {"user": ["bob"]}, ErrorCode.BAD_FRAME),
        (MEMBER | {"user": "no name"}, ErrorCode.BAD_RECIPIENT),
        (MEMBER | {"user": "x" * 65}, ErrorCode.BAD_RECIPIENT),
        (without(MEMBER, "change"), ErrorCode.BAD_FRAME),
        *((MEMBER | {"change": one}, ErrorCode.BAD_FRAME) for one in ("", "Add", 7, ["add"])),
        *((MEMBER | {"role": one}, ErrorCode.BAD_FRAME) for one in BAD_ROLES),
        (without(MEMBER, "role") | {"change": "role"}, ErrorCode.BAD_FRAME),
    ],
)
def test_a_request_for_the_log_with_a_field_that_is_wrong_is_rejected_under_its_ref(
    frame: dict[str, Any], code: ErrorCode
) -> None:
    bad = refusal(frame)
    assert (bad.code, bad.outcome, bad.ref) == (code, Outcome.REJECTED, "r1")


@pytest.mark.parametrize("frame", FOR_THE_LOG)
@pytest.mark.parametrize(
    ("change", "code", "ref"),
    [
        ({"ref": ""}, ErrorCode.BAD_REF, None),
        ({"ref": "é" * 33}, ErrorCode.BAD_REF, None),
        ({"ref": "a\x00"}, ErrorCode.BAD_REF, None),
        ({"ref": 7}, ErrorCode.BAD_FRAME, None),
        ({"retry": 1}, ErrorCode.BAD_FRAME, "r1"),
        ({"retry": "true"}, ErrorCode.BAD_FRAME, "r1"),
    ],
)
def test_ref_and_retry_are_the_same_for_all_requests_for_the_log(
    frame: dict[str, Any], change: dict[str, Any], code: ErrorCode, ref: str | None
) -> None:
    bad = refusal(frame | change)
    assert (bad.code, bad.outcome, bad.ref) == (code, Outcome.REJECTED, ref)


@pytest.mark.parametrize("offset", [None, -2, LAST_OFFSET + 1, 1.0, "1", True, [1]])
def test_a_mark_without_a_good_offset_is_rejected(offset: object) -> None:
    bad = refusal(READ | {"offset": offset})
    assert (bad.code, bad.outcome) == (ErrorCode.BAD_FRAME, Outcome.REJECTED)


@pytest.mark.parametrize("frame", [CREATE, MEMBER, TITLE, SEND])
def test_json_that_is_not_strict_is_rejected_under_its_ref(frame: dict[str, Any]) -> None:
    with pytest.raises(BadFrame) as caught:
        decode(json.dumps(frame)[:-1] + ',"ref":"r1"}')
    assert (caught.value.outcome, caught.value.ref) == (Outcome.REJECTED, "r1")


@pytest.mark.parametrize(
    "frame",
    [
        *(LIST | {"after": after} for after in BAD_PLACES),
        *(LIST | {"limit": limit} for limit in (0, 101, -1, 1.0, "3", True, None)),
        *(HISTORY | {"limit": limit} for limit in (0, 101, 1.5)),
        HISTORY | {"after": 1},
        *(HISTORY | {"before": offset} for offset in (-2, 1.0, "9", True, LAST_OFFSET + 1)),
        without(MEMBERS, "conversation"),
        without(DELIVERY, "ids"),
        *(DELIVERY | {"ids": ids} for ids in (ID, [7], ["x"], [ID.upper()], [ID] * 51)),
    ],
)
def test_a_question_with_a_field_that_is_wrong_is_answered_under_its_request(
    frame: dict[str, Any],
) -> None:
    """Nothing for the log is concerned."""
    bad = refusal(frame)
    assert (bad.code, bad.outcome, bad.ref) == (ErrorCode.BAD_FRAME, None, None)
    assert bad.request == "q1"


@pytest.mark.parametrize("frame", QUESTIONS)
@pytest.mark.parametrize("request_", [7, ["q1"], "x" * 65, "é" * 33])
def test_a_request_that_is_none_is_not_echoed(frame: dict[str, Any], request_: object) -> None:
    bad = refusal(frame | {"request": request_})
    assert (bad.code, bad.outcome, bad.request) == (ErrorCode.BAD_FRAME, None, None)


def test_who_uses_an_unknown_type_is_told_all_that_are_known() -> None:
    sentence = refusal({"type": "shout"}).message
    kinds = ["send", "create", "member", "room", "read", "list", "history", "members", "delivery"]
    for kind in [*kinds, "ack", "ping", "auth"]:
        assert str(kind) in sentence


# What the server says ---------------------------------------------------------------------------


def event(kind: EventKind, data: str | None, content: str = "") -> Message:
    return Message(ID, ROOM, "alice", (), content, Position(3, 7), 1_000, kind, data)


HEAD = {"id": ID, "conversation": ROOM, "sender": "alice"}
TAIL = {"time": "1970-01-01T00:00:01.000Z", "offset": 7}


def test_a_message_in_a_room_is_to_nobody_by_name() -> None:
    frame = orjson.loads(server_frames.message(event(EventKind.MESSAGE, None, "hi"), replay=False))
    assert frame == {"type": "message", **HEAD, "content": "hi", **TAIL}


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        (EventKind.ROOM, {"title": "t"}),
        (EventKind.ROOM, {"title": None}),
        (EventKind.MEMBER, {"user": "bob", "change": "add", "role": "member"}),
    ],
)
@pytest.mark.parametrize("replay", [True, False])
def test_an_event_of_a_room_says_what_has_changed(
    kind: EventKind, details: dict[str, Any], replay: bool
) -> None:
    changed = event(kind, json.dumps(details))
    frame = orjson.loads(server_frames.message(changed, replay=replay))
    mark = {"replay": True} if replay else {}
    assert frame == {"type": str(kind), **HEAD, **details, **TAIL, **mark}


@pytest.mark.parametrize("request_", ["q1", "", None])
def test_an_answer_echoes_the_request_as_far_as_there_was_one(request_: str | None) -> None:
    answers = [
        server_frames.conversations(request_, [], None),
        server_frames.page(request_, ROOM, [], first=0, last=0, complete=True),
        server_frames.member_list(request_, ROOM, []),
        server_frames.deliveries(request_, []),
        server_frames.error(ErrorCode.BUSY, "why", request=request_),
    ]
    for answer in map(orjson.loads, answers):
        assert ("request" in answer) == (request_ is not None)
        assert answer.get("request") == request_


def test_a_list_shows_rooms_and_direct_conversations() -> None:
    last = event(EventKind.MESSAGE, None, "é" * 101)
    items = [
        ListedConversation(ROOM, None, Role.ADMIN, 7, 1_000, last, 3, 100),
        ListedConversation(DIRECT, None, None, 5, 0, None, 0, 0),
    ]
    shown = orjson.loads(server_frames.conversations("q1", items, "0.dm:alice:bob"))
    assert shown["next"] == "0.dm:alice:bob"
    assert shown["items"] == [
        {
            "conversation": ROOM,
            "kind": "room",
            "title": None,
            "role": "admin",
            "offset": 7,
            "time": "1970-01-01T00:00:01.000Z",
            "preview": "é" * 100,
            "read_offset": 3,
            "unread": 100,
        },
        {
            "conversation": DIRECT,
            "kind": "direct",
            "offset": 5,
            "time": "1970-01-01T00:00:00.000Z",
            "preview": "",
            "read_offset": 0,
            "unread": 0,
        },
    ]
    assert "next" not in orjson.loads(server_frames.conversations("q1", items, None))


def test_a_page_holds_the_frames_of_the_timeline_with_their_types() -> None:
    messages = [
        event(EventKind.ROOM, '{"title":"t"}'),
        event(EventKind.MESSAGE, '{"a": 1.0}', "hi"),
    ]
    frame = server_frames.page("q1", ROOM, messages, first=0, last=9, complete=False)
    assert b'{"a": 1.0}' in frame, "carried untouched"
    page = orjson.loads(frame)
    assert [each["type"] for each in page["messages"]] == ["room", "message"]
    assert (page["from"], page["to"], page["complete"]) == (0, 9, False)


def test_members_and_deliveries_are_listed() -> None:
    members = [ListedMember("alice", Role.ADMIN, 7), ListedMember("bob", None, 0)]
    assert orjson.loads(server_frames.member_list("q1", ROOM, members))["items"] == [
        {"user": "alice", "role": "admin", "read_offset": 7},
        {"user": "bob", "role": "member", "read_offset": 0},
    ]
    statuses = [DeliveryStatus(ID, "bob", True), DeliveryStatus(ID, "carol", False)]
    assert orjson.loads(server_frames.deliveries("q1", statuses))["items"] == [
        {"id": ID, "user": "bob", "status": "DELIVERED"},
        {"id": ID, "user": "carol", "status": "UNDELIVERED"},
    ]


def test_marks_are_told_as_pairs() -> None:
    assert orjson.loads(server_frames.read(ROOM, [("alice", 7)])) == {
        "type": "read",
        "conversation": ROOM,
        "entries": [["alice", 7]],
    }
