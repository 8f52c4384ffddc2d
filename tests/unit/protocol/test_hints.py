"""Hints: what one server writes another reads, and whatever else arrives is dropped."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.model import EventKind, Message, Position, Revocation
from landline.protocol import server_frames
from landline.protocol.hints import (
    Hint,
    MessageHint,
    ReadHint,
    RoomHint,
    StatusHint,
    decode_hint,
    encode_message_hint,
    encode_read_hint,
    encode_revocation_hint,
    encode_room_hint,
    encode_status_hint,
)
from landline.protocol.times import rfc3339

ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
MESSAGE = Message(ID, "dm:a:b", "a", ("b", "c"), "text 😀", Position(31, 2**40), 1_767_323_045_678)
STATUS = StatusHint("a", (ID, ID), "b", "2026-01-02T03:04:05.678Z")

REVOKED = Revocation("a", 1_767_323_045_678, 1_767_323_099_000)
USERS = ("b", "d")
ROOM = "room:2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
TITLE = Message(
    ID, ROOM, "a", (), "", Position(31, 7), 1_767_323_045_678, EventKind.ROOM, '{"title":"t"}'
)
READ = ReadHint(ROOM, [("a", 2**40), ("b", 0)], USERS)
# What hints of the version before do not have.
ADDED = {"device", "data", "users", "event"}
HINTS = [
    encode_message_hint(MESSAGE, USERS),
    encode_read_hint(READ),
    encode_room_hint(ROOM, 7),
    encode_status_hint(STATUS),
    encode_revocation_hint(REVOKED),
]


@pytest.mark.parametrize("message", [MESSAGE, replace(MESSAGE, conversation=ROOM, recipients=())])
def test_a_message_hint_is_read_as_it_was_written(message: Message) -> None:
    assert decode_hint(encode_message_hint(message, USERS)) == MessageHint(message, USERS)


def test_a_hint_of_another_event_is_read_as_it_was_written() -> None:
    assert decode_hint(encode_message_hint(TITLE, USERS)) == MessageHint(TITLE, USERS)


@pytest.mark.parametrize("device", [None, "", "phone"])
def test_a_message_hint_has_the_device_and_what_was_attached(device: str | None) -> None:
    """The device for whose sessions it is not; what was attached is carried untouched."""
    data = '{"to": [1.0, "😀"],  "b":2}'
    read = decode_hint(encode_message_hint(replace(MESSAGE, device=device, data=data), USERS))
    assert isinstance(read, MessageHint)
    assert (read.message.device, read.message.data) == (device, data)


def test_a_message_hint_of_the_version_before_is_read_and_is_for_the_recipients() -> None:
    hint = orjson.loads(encode_message_hint(MESSAGE, USERS))
    read = decode_hint(orjson.dumps({k: v for k, v in hint.items() if k not in ADDED}))
    assert read == MessageHint(MESSAGE, MESSAGE.recipients)
    assert isinstance(read, MessageHint)
    assert (read.message.device, read.message.data) == (None, None)


def test_a_read_hint_is_read_as_it_was_written() -> None:
    assert decode_hint(encode_read_hint(READ)) == READ


def test_a_room_hint_is_read_as_it_was_written() -> None:
    assert decode_hint(encode_room_hint(ROOM, 7)) == RoomHint(ROOM, 7)


@pytest.mark.parametrize(
    "change",
    [
        {"users": []},  # for nobody
        {"recipients": ["b"]},  # those of a room are its members
        {"conversation": "dm:a:b"},  # and only rooms have none
        {"event": "story"},
        {"event": ["room"]},
        {"data": None},  # then it does not say what has changed
    ],
)
def test_a_hint_of_an_event_that_cannot_be_is_dropped(change: dict[str, Any]) -> None:
    hint = orjson.loads(encode_message_hint(TITLE, USERS)) | change
    assert decode_hint(orjson.dumps(hint)) is None


@pytest.mark.parametrize("data", ['{"title":7}', "{}", '{"user":"b"}', '{"user":["b"]}'])
@pytest.mark.parametrize("event", ["room", "member"])
def test_a_hint_of_a_change_that_says_something_else_is_dropped(event: str, data: str) -> None:
    hint = orjson.loads(encode_message_hint(TITLE, USERS)) | {"event": event, "data": data}
    assert decode_hint(orjson.dumps(hint)) is None


@pytest.mark.parametrize("entry", [["a"], ["a", -2], ["a", 1.0], [1, 1], "a1", ["a", 1, 1]])
def test_a_read_hint_with_something_that_is_no_mark_is_dropped(entry: object) -> None:
    hint = orjson.loads(encode_read_hint(READ)) | {"entries": [["a", 1], entry]}
    assert decode_hint(orjson.dumps(hint)) is None


def test_a_status_hint_is_read_as_it_was_written() -> None:
    assert decode_hint(encode_status_hint(STATUS)) == STATUS


@pytest.mark.parametrize("revocation", [REVOKED, REVOKED._replace(until_ms=None)])
def test_a_revocation_is_read_as_it_was_written(revocation: Revocation) -> None:
    assert decode_hint(encode_revocation_hint(revocation)) == revocation


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"{",
        b"null",
        b"7",
        b"[]",
        b'"message"',
        b"{}",
        b'{"v":1}',
        b'{"v":1,"kind":"x"}',
    ],
)
def test_what_is_no_hint_is_dropped(value: bytes) -> None:
    assert decode_hint(value) is None


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_of_another_version_is_dropped(hint: bytes) -> None:
    assert decode_hint(orjson.dumps(orjson.loads(hint) | {"v": 2})) is None


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_without_one_of_its_fields_is_dropped(hint: bytes) -> None:
    whole = orjson.loads(hint)
    for field in whole.keys() - ADDED:
        assert decode_hint(orjson.dumps({k: v for k, v in whole.items() if k != field})) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text("ab:"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("hint", HINTS)
@given(st.data())
def test_a_hint_with_a_field_of_another_type_is_dropped(hint: bytes, data: st.DataObject) -> None:
    """The heart takes what it gets for what it says it is."""
    whole: dict[str, Any] = orjson.loads(hint)
    field = data.draw(st.sampled_from(sorted(whole)))
    value = data.draw(JSON)
    check(decode_hint(orjson.dumps(whole | {field: value})), whole | {field: value})


def check(decoded: Hint | None, hint: dict[str, Any]) -> None:
    """Check that every part of what was read has its type."""
    if isinstance(decoded, MessageHint):
        message = decoded.message
        assert message.device is None or isinstance(message.device, str)
        texts = [message.id, message.conversation, message.sender, message.content]
        texts += [*message.recipients, *decoded.users]
        assert all(isinstance(text, str) for text in texts)
        numbers = [*message.position, message.time_ms]
        assert all(type(number) is int and number >= 0 for number in numbers)
        assert decoded.users
        assert message.recipients or message.conversation == ROOM
        frame = orjson.loads(server_frames.message(message, replay=False))  # it can be pushed
        assert isinstance(frame.get("data", {}), dict)
    elif isinstance(decoded, Revocation):
        assert isinstance(decoded.user, str)
        assert type(decoded.revoked_at) is int
        assert decoded.until_ms is None or type(decoded.until_ms) is int
        rfc3339(decoded.until_ms or 0)
    elif isinstance(decoded, ReadHint):
        assert all(isinstance(text, str) for text in [decoded.conversation, *decoded.users])
        for user, offset in decoded.entries:
            assert isinstance(user, str)
            assert type(offset) is int
    elif isinstance(decoded, RoomHint):
        assert isinstance(decoded.room, str)
        assert type(decoded.offset) is int
    elif decoded is not None:
        assert all(isinstance(text, str) for text in [decoded.sender, decoded.user, decoded.time])
        assert all(isinstance(id, str) for id in decoded.ids)
        assert isinstance(hint["ids"], list)


@pytest.mark.parametrize("data", ["", "x", "7", "[]", '"text"', '{"a":NaN}', "{", {"a": 1}])
def test_a_message_with_something_attached_that_no_frame_can_carry_is_dropped(data: object) -> None:
    hint = orjson.loads(encode_message_hint(MESSAGE, USERS)) | {"data": data}
    assert decode_hint(orjson.dumps(hint)) is None


def test_a_number_without_end_is_dropped() -> None:
    endless = encode_message_hint(MESSAGE, USERS).replace(
        b'"offset":1099511627776', b'"offset":1e999'
    )
    assert b"1e999" in endless
    assert decode_hint(endless) is None


@pytest.mark.parametrize("time_ms", [253_402_300_800_000, 2**63, -1])
def test_a_time_that_cannot_be_written_is_dropped(time_ms: int) -> None:
    hint = orjson.loads(encode_message_hint(MESSAGE, USERS)) | {"time_ms": time_ms}
    assert decode_hint(orjson.dumps(hint)) is None
