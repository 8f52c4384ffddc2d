"""What a request about a room asks for, and in whose name."""

import json
from typing import Any
from uuid import UUID

import pytest

from landline.api.rooms import read_membership, read_new_room, read_removal, read_title
from landline.auth.principal import Principal
from landline.model import History, MemberStep, Role
from landline.protocol.client_frames import BadFrame, ChangeMember, ChangeRoom, Create
from landline.protocol.codes import ErrorCode, Outcome
from support.conversations import ROOM

SERVICE, ALICE = Principal("backend", is_service=True), Principal("alice")


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_a_room_is_asked_for_as_by_a_frame() -> None:
    asked = body(ref="1", title="Lunch", members=["bob", "bob"], history="joined", retry=True)
    create = Create("Lunch", ("bob",), History.JOINED, "1", retry=True)
    assert read_new_room(asked, ALICE) == ("alice", create)
    assert read_new_room(body(ref="1"), SERVICE) == (
        "backend", Create(None, (), History.ALL, "1"),
    )  # fmt: skip
    assert read_new_room(body(ref="1", sender="bob"), SERVICE)[0] == "bob"
    assert read_new_room(body(ref="1", sender="alice"), ALICE)[0] == "alice"


def test_what_stands_in_the_path_is_not_taken_from_elsewhere() -> None:
    other = {"conversation": "room:other", "user": "eve", "change": "remove"}
    sender, change, _ = read_membership(ROOM, "bob", body(ref="1", **other), ALICE)
    assert sender == "alice"
    assert change == ChangeMember(ROOM, "bob", MemberStep.ADD, Role.MEMBER, "1")
    _, title = read_title(ROOM, body(ref="1", title="x", conversation="room:other"), ALICE)
    assert title == ChangeRoom(ROOM, "x", "1")


@pytest.mark.parametrize("role", ["admin", "member"])
def test_a_membership_may_say_its_role(role: str) -> None:
    _, change, has_role = read_membership(ROOM, "bob", body(ref="1", role=role), ALICE)
    assert change == ChangeMember(ROOM, "bob", MemberStep.ADD, Role(role), "1")
    assert has_role


def test_what_has_no_ref_is_given_a_fresh_one() -> None:
    """So that a repeat after a removal adds again, and an unknown answer can be repeated."""
    refs = set()
    for empty in (b"", b"{}"):
        _, change, has_role = read_membership(ROOM, "bob", empty, ALICE)
        assert not has_role
        refs.add(change.ref)
    refs.add(read_title(ROOM, body(title=None), ALICE)[1].ref)
    refs.add(read_removal(ROOM, "bob", {}, ALICE)[1].ref)
    assert len({UUID(each) for each in refs if each}) == 4


@pytest.mark.parametrize(("text", "retry"), [("true", True), ("false", False)])
def test_a_removal_is_said_in_the_query(text: str, retry: bool) -> None:
    query = {"ref": "1", "retry": text, "sender": "carol"}
    sender, change = read_removal(ROOM, "bob", query, SERVICE)
    assert sender == "carol"
    assert change == ChangeMember(ROOM, "bob", MemberStep.REMOVE, Role.MEMBER, "1", retry)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (lambda: read_new_room(body(title="x"), ALICE), ErrorCode.BAD_REF),
        (lambda: read_new_room(body(ref="1", title=""), ALICE), ErrorCode.BAD_FRAME),
        (lambda: read_new_room(body(ref="1", members=["a:b"]), ALICE), ErrorCode.BAD_RECIPIENT),
        (lambda: read_new_room(body(ref="1", members=None), ALICE), ErrorCode.BAD_FRAME),
        (lambda: read_new_room(body(ref="1", sender="bob"), ALICE), ErrorCode.FORBIDDEN),
        (lambda: read_new_room(body(ref="1", sender="a:b"), SERVICE), ErrorCode.BAD_FRAME),
        (lambda: read_new_room(body(ref="1", sender=None), SERVICE), ErrorCode.BAD_FRAME),
        (lambda: read_title(ROOM, body(ref="1"), ALICE), ErrorCode.BAD_FRAME),
        (
            lambda: read_title(ROOM, body(ref="1", title="x", sender="b"), ALICE),
            ErrorCode.FORBIDDEN,
        ),
        (lambda: read_title("dm:a:b", body(ref="1", title="x"), ALICE), ErrorCode.BAD_FRAME),
        (lambda: read_membership(ROOM, "a:b", body(ref="1"), ALICE), ErrorCode.BAD_RECIPIENT),
        (lambda: read_membership(ROOM, "b", body(ref="1", role=None), ALICE), ErrorCode.BAD_FRAME),
        (lambda: read_membership(ROOM, "b", body(ref="1", role="x"), ALICE), ErrorCode.BAD_FRAME),
        (lambda: read_removal(ROOM, "b", {"ref": "1", "x": ""}, ALICE), ErrorCode.BAD_FRAME),
        (lambda: read_removal(ROOM, "b", {"ref": "1", "retry": "1"}, ALICE), ErrorCode.BAD_FRAME),
        (lambda: read_removal(ROOM, "b", {"ref": "1", "sender": "b"}, ALICE), ErrorCode.FORBIDDEN),
    ],
)
def test_what_is_not_sound_is_rejected_by_its_ref(asked: Any, code: ErrorCode) -> None:
    with pytest.raises(BadFrame) as caught:
        asked()
    refused = caught.value
    ref = None if code is ErrorCode.BAD_REF else "1"
    assert (refused.code, refused.outcome, refused.ref) == (code, Outcome.REJECTED, ref)
