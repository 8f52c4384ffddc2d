"""What users may ask of conversations, by who is in them."""

import pytest

from landline.delivery.rooms import (
    FULL,
    NO_SUCH,
    bar_direct,
    bar_in_room,
    bar_product,
    needs_room,
)
from landline.model import History, MemberStep, Role
from landline.protocol.client_frames import (
    ChangeMember,
    ChangeRoom,
    Create,
    LogRequest,
    MarkRead,
    Send,
)
from landline.protocol.codes import ErrorCode
from landline.protocol.limits import ROOM_MEMBERS
from support.conversations import ROOM, room

ADD, REMOVE, ROLE = MemberStep.ADD, MemberStep.REMOVE, MemberStep.ROLE
SEND = Send("", "hello", conversation=ROOM)
READ = MarkRead(ROOM, 7)
TITLE = ChangeRoom(ROOM, "title")
EVERYTHING = [
    SEND,
    READ,
    TITLE,
    *(ChangeMember(ROOM, user, step, Role.MEMBER) for user in ("bob", "x") for step in MemberStep),
]


def change(user: str, step: MemberStep, role: Role = Role.MEMBER) -> ChangeMember:
    return ChangeMember(ROOM, user, step, role)


def code(user: str, request: LogRequest | MarkRead) -> ErrorCode | None:
    """Return why not, in a room of alice, an admin, and bob and carol."""
    bar = bar_in_room(user, request, room("alice", "bob", "carol"))
    return None if bar is None else bar.code


@pytest.mark.parametrize("request_", EVERYTHING)
def test_a_stranger_is_told_the_same_as_where_there_is_no_room(
    request_: LogRequest | MarkRead,
) -> None:
    assert bar_in_room("x", request_, room("alice", "bob")) is NO_SUCH
    assert bar_in_room("x", request_, None) is NO_SUCH
    assert bar_in_room("x", request_, room()) is NO_SUCH


@pytest.mark.parametrize("user", ["alice", "bob"])
@pytest.mark.parametrize("request_", [SEND, READ])
def test_every_member_writes_and_reads(user: str, request_: LogRequest | MarkRead) -> None:
    assert code(user, request_) is None


@pytest.mark.parametrize(
    "request_",
    [
        TITLE,
        change("dave", ADD),
        change("carol", REMOVE),
        change("carol", ROLE),
        change("bob", ROLE),
    ],
)
def test_only_admins_change_a_room(request_: LogRequest) -> None:
    assert code("alice", request_) is None
    assert code("bob", request_) is ErrorCode.FORBIDDEN


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_everybody_may_leave(user: str) -> None:
    """The last admin too: then the oldest member is one."""
    assert code(user, change(user, REMOVE)) is None


@pytest.mark.parametrize("step", [REMOVE, ROLE])
def test_who_is_not_in_it_cannot_be_removed_or_given_a_role(step: MemberStep) -> None:
    assert code("alice", change("dave", step)) is ErrorCode.BAD_RECIPIENT
    assert code("bob", change("dave", step)) is ErrorCode.FORBIDDEN


def test_a_full_room_takes_nobody_more() -> None:
    members = ["alice", *(f"user{number}" for number in range(ROOM_MEMBERS - 2))]
    one_place = room(*members)
    full = room(*members, "bob")
    assert len(full.members) == ROOM_MEMBERS
    assert bar_in_room("alice", change("dave", ADD), one_place) is None
    assert bar_in_room("alice", change("dave", ADD), full) is FULL
    assert bar_in_room("alice", change("bob", ADD), full) is None, "they have a place already"
    assert bar_in_room("alice", change("bob", ROLE), full) is None
    assert bar_in_room("bob", change("dave", ADD), full) not in {None, FULL}


@pytest.mark.parametrize(
    ("user", "conversation", "may"),
    [
        ("alice", "dm:alice:bob", True),
        ("bob", "dm:alice:bob", True),
        ("carol", "dm:alice:bob", False),
        ("alice", "dm:alice:alice", True),
        ("bob", "dm:alice:alice", False),
        ("ali", "dm:alice:bob", False),
    ],
)
def test_a_direct_conversation_is_for_its_two(user: str, conversation: str, may: bool) -> None:
    assert bar_direct(user, conversation) is (None if may else NO_SUCH)


@pytest.mark.parametrize("request_", EVERYTHING)
def test_what_is_about_a_room_needs_to_know_it(request_: LogRequest | MarkRead) -> None:
    assert needs_room(request_) == ROOM


@pytest.mark.parametrize(
    "request_",
    [
        Send("bob", "x"),
        Send("", "x", conversation="dm:a:b"),
        MarkRead("dm:a:b", 1),
        Create(None, (), History.ALL),
    ],
)
def test_what_is_about_no_room_needs_to_know_none(request_: LogRequest | MarkRead) -> None:
    assert needs_room(request_) == ""


def test_the_product_does_what_admins_do_and_is_no_member() -> None:
    here = room("alice", "bob")
    full = room("alice", *(f"user{number}" for number in range(1, ROOM_MEMBERS)))
    for request in (TITLE, change("dave", ADD), change("alice", REMOVE), change("bob", ROLE)):
        assert bar_product("backend", request, here) is None
        assert bar_product("backend", request, None) is NO_SUCH
    for as_member in (SEND, READ):
        assert bar_product("backend", as_member, here) is NO_SUCH
    assert bar_product("backend", change("dave", ADD), full) is FULL
    for step in (REMOVE, ROLE):
        bar = bar_product("backend", change("dave", step), here)
        assert bar is not None
        assert bar.code is ErrorCode.BAD_RECIPIENT
