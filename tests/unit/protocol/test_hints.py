"""Hints: what one server writes another reads, and whatever else arrives is dropped."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.model import Message, Position, Revocation
from landline.protocol import server_frames
from landline.protocol.hints import (
    StatusHint,
    decode_hint,
    encode_message_hint,
    encode_revocation_hint,
    encode_status_hint,
)
from landline.protocol.times import rfc3339

ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
MESSAGE = Message(ID, "dm:a:b", "a", ("b", "c"), "text 😀", Position(31, 2**40), 1_767_323_045_678)
STATUS = StatusHint("a", (ID, ID), "b", "2026-01-02T03:04:05.678Z")

REVOKED = Revocation("a", 1_767_323_045_678, 1_767_323_099_000)
# What hints of the version before do not have.
ADDED = {"device", "data"}
HINTS = [encode_message_hint(MESSAGE), encode_status_hint(STATUS), encode_revocation_hint(REVOKED)]


def test_a_message_hint_is_read_as_it_was_written() -> None:
    assert decode_hint(encode_message_hint(MESSAGE)) == MESSAGE


@pytest.mark.parametrize("device", [None, "", "phone"])
def test_a_message_hint_has_the_device_and_what_was_attached(device: str | None) -> None:
    """The device for whose sessions it is not; what was attached is carried untouched."""
    data = '{"to": [1.0, "😀"],  "b":2}'
    read = decode_hint(encode_message_hint(replace(MESSAGE, device=device, data=data)))
    assert isinstance(read, Message)
    assert (read.device, read.data) == (device, data)


def test_a_message_hint_of_the_version_before_is_read() -> None:
    hint = orjson.loads(encode_message_hint(MESSAGE))
    read = decode_hint(orjson.dumps({k: v for k, v in hint.items() if k not in ADDED}))
    assert read == MESSAGE
    assert isinstance(read, Message)
    assert (read.device, read.data) == (None, None)


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


def check(decoded: Message | StatusHint | Revocation | None, hint: dict[str, Any]) -> None:
    """Check that every part of what was read has its type."""
    if isinstance(decoded, Message):
        assert decoded.device is None or isinstance(decoded.device, str)
        texts = [decoded.id, decoded.conversation, decoded.sender, decoded.content]
        assert all(isinstance(text, str) for text in [*texts, *decoded.recipients])
        numbers = [*decoded.position, decoded.time_ms]
        assert all(type(number) is int and number >= 0 for number in numbers)
        assert decoded.recipients
        frame = orjson.loads(server_frames.message(decoded, replay=False))  # it can be pushed
        assert isinstance(frame.get("data", {}), dict)
    elif isinstance(decoded, Revocation):
        assert isinstance(decoded.user, str)
        assert type(decoded.revoked_at) is int
        assert decoded.until_ms is None or type(decoded.until_ms) is int
        rfc3339(decoded.until_ms or 0)
    elif decoded is not None:
        assert all(isinstance(text, str) for text in [decoded.sender, decoded.user, decoded.time])
        assert all(isinstance(id, str) for id in decoded.ids)
        assert isinstance(hint["ids"], list)


@pytest.mark.parametrize("data", ["", "x", "7", "[]", '"text"', '{"a":NaN}', "{", {"a": 1}])
def test_a_message_with_something_attached_that_no_frame_can_carry_is_dropped(data: object) -> None:
    hint = orjson.loads(encode_message_hint(MESSAGE)) | {"data": data}
    assert decode_hint(orjson.dumps(hint)) is None


def test_a_number_without_end_is_dropped() -> None:
    endless = encode_message_hint(MESSAGE).replace(b'"offset":1099511627776', b'"offset":1e999')
    assert b"1e999" in endless
    assert decode_hint(endless) is None


@pytest.mark.parametrize("time_ms", [253_402_300_800_000, 2**63, -1])
def test_a_time_that_cannot_be_written_is_dropped(time_ms: int) -> None:
    hint = orjson.loads(encode_message_hint(MESSAGE)) | {"time_ms": time_ms}
    assert decode_hint(orjson.dumps(hint)) is None
