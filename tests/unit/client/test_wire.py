"""Frames from and to the client's own words."""

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.client.errors import MessageRejected
from landline.client.events import MemberChanged, Message, RoomChanged
from landline.client.outbox import Draft
from landline.client.timeline import NotLandline
from landline.client.wire import (
    OtherProtocol,
    check_draft,
    read_frame,
    read_welcome,
    send_frame,
)
from landline.protocol.client_frames import BadFrame, Send, decode
from landline.protocol.limits import CONTENT_BYTES, FRAME_BYTES

WELCOME = {"type": "welcome", "user": "a", "server": "ws-1", "session": "s", "protocol": 1}
MESSAGE = {
    "type": "message", "id": "i", "conversation": "dm:a:b", "sender": "b", "to": "a",
    "content": "hi", "time": "2026-01-02T03:04:05.678Z", "offset": 1,
}  # fmt: skip
ACCEPTED = {
    "type": "accepted", "ref": "r", "id": "i", "conversation": "dm:a:b", "offset": 1,
    "time": "2026-01-02T03:04:05.678Z",
}  # fmt: skip
ERROR = {"type": "error", "code": "busy", "message": "no", "outcome": "rejected", "ref": "r"}
STATUS = {"type": "status", "ids": ["i"], "user": "b"}
ROOM = "room:2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
OF_ROOM = {
    "id": "i", "conversation": ROOM, "sender": "b", "time": "2026-01-02T03:04:05.678Z", "offset": 1,
}  # fmt: skip
MEMBER = {"type": "member", **OF_ROOM, "user": "c", "change": "add", "role": "member"}
TITLE = {"type": "room", **OF_ROOM, "title": "Lunch"}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.text(), st.text(), st.text(), st.booleans())
def test_what_passes_the_check_is_what_a_server_reads(
    ref: str, to: str, content: str, retry: bool
) -> None:
    draft = Draft(ref, to, content)
    try:
        check_draft(draft)
    except MessageRejected:
        with pytest.raises((BadFrame, orjson.JSONEncodeError)):
            decode(send_frame(draft, retry=retry).decode())
    else:
        read = decode(send_frame(draft, retry=retry).decode())
        assert isinstance(read, Send)
        assert (read.ref, read.to, read.content, read.retry) == (ref, to, content, retry)


def test_what_fits_the_content_but_not_a_frame_is_refused() -> None:
    """A control character takes six bytes of JSON. A frame that is too large ends the session."""
    draft = Draft("r", "b", "\x01" * CONTENT_BYTES)
    assert len(send_frame(draft, retry=True)) > FRAME_BYTES
    with pytest.raises(MessageRejected, match="exceeds a frame"):
        check_draft(draft)


@given(st.sampled_from([MESSAGE, ACCEPTED, ERROR, STATUS, MEMBER, TITLE]), st.data())
def test_whatever_a_known_frame_holds_it_is_read_or_not_landlines(
    frame: dict[str, Any], data: st.DataObject
) -> None:
    changed = dict(frame)
    name = data.draw(st.sampled_from(sorted(frame)))
    if data.draw(st.booleans()):
        changed[name] = data.draw(_JSON)
    else:
        del changed[name]
    with suppress(NotLandline):
        read_frame(json.dumps(changed), "a")


@given(st.text() | st.binary())
def test_anything_else_is_not_landlines(text: str | bytes) -> None:
    with pytest.raises(NotLandline):
        read_welcome(text)


def test_a_frame_of_a_later_version_is_passed_over() -> None:
    assert read_frame('{"type": "typing", "user": "b"}', "a") is None


@pytest.mark.parametrize(
    ("said", "device", "is_new"),
    [
        ({}, None, None),
        ({"device": "pc"}, "pc", None),
        ({"device": "pc", "is_new": False}, "pc", False),
        ({"device": "pc", "is_new": True}, "pc", True),
        ({"device": 7, "is_new": "yes"}, None, None),  # of a later version, perhaps
    ],
)
def test_a_welcome_says_the_device_and_whether_it_is_new(
    said: dict[str, Any], device: str | None, is_new: bool | None
) -> None:
    read = read_welcome(json.dumps({**WELCOME, **said}))
    assert (read.device, read.is_new) == (device, is_new)


@pytest.mark.parametrize(
    ("said", "is_own", "data"),
    [
        ({}, False, None),
        ({"sender": "a", "to": "b"}, True, None),
        ({"sender": "a", "to": "a"}, True, None),
        ({"data": {"reply_to": "x", "n": [1]}}, False, {"reply_to": "x", "n": [1]}),
        ({"data": "none of this protocol"}, False, None),
    ],
)
def test_a_message_says_whose_it_is_and_brings_its_data(
    said: dict[str, Any], is_own: bool, data: dict[str, Any] | None
) -> None:
    read = read_frame(json.dumps({**MESSAGE, **said}), "a")
    assert isinstance(read, Message)
    assert (read.is_own, read.data) == (is_own, data)
    assert hash(read) == hash(read_frame(json.dumps({**MESSAGE, **said}), "a"))


def test_a_message_in_a_room_is_for_nobody_alone() -> None:
    said = {"type": "message", **OF_ROOM, "content": "hi"}
    read = read_frame(json.dumps(said), "a")
    assert isinstance(read, Message)
    assert (read.conversation, read.to, read.content) == (ROOM, "", "hi")
    with pytest.raises(NotLandline):
        read_frame(json.dumps({**said, "conversation": "dm:a:b"}), "a")


def test_an_event_of_a_room_says_what_has_changed() -> None:
    member = read_frame(json.dumps({**MEMBER, "replay": True}), "a")
    assert isinstance(member, MemberChanged)
    assert (member.id, member.conversation, member.sender, member.user, member.change) == (
        "i", ROOM, "b", "c", "add",
    )  # fmt: skip
    assert (member.role, member.offset, member.replay) == ("member", 1, True)
    for title in ("Lunch", None):
        room = read_frame(json.dumps({**TITLE, "title": title}), "a")
        assert isinstance(room, RoomChanged)
        assert (room.title, room.sender, room.replay) == (title, "b", False)


@pytest.mark.parametrize("name", ["user", "server", "session"])
def test_a_welcome_without_a_name_is_none(name: str) -> None:
    with pytest.raises(NotLandline):
        read_welcome(json.dumps({**WELCOME, name: None}))


@pytest.mark.parametrize(
    ("protocol", "problem"), [(2, OtherProtocol), ("1", NotLandline), (True, NotLandline)]
)
def test_a_welcome_of_another_protocol_is_refused(
    protocol: object, problem: type[Exception]
) -> None:
    assert read_welcome(json.dumps(WELCOME)).server == "ws-1"
    with pytest.raises(problem):
        read_welcome(json.dumps({**WELCOME, "protocol": protocol}))
