"""Records: what is written can be read; what can never be applied is refused with a reason."""

import tracemalloc
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocol.identity import check_user_name, is_ref, uuid_text
from landline.protocol.records import BadRecord, MessageRecord, ReceiptRecord, decode_record

ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
TIME = "2026-01-02T03:04:05.678Z"
MESSAGE = MessageRecord(ID, "r1", "dm:alice:bob", "alice", ("bob",), "hello", TIME)
RECEIPT = ReceiptRecord((ID,), "dm:alice:bob", "bob", TIME)

NAMES = st.text("aé名😀-", min_size=1, max_size=8).map(check_user_name)
IDS = st.binary(min_size=16, max_size=16).map(lambda octets: uuid_text(octets, version=8))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)


@given(IDS, st.none() | TEXTS.filter(is_ref), NAMES, st.lists(NAMES, min_size=1), TEXTS)
def test_a_message_is_read_back_as_it_was_written(
    id: str, ref: str | None, sender: str, recipients: list[str], content: str
) -> None:
    record = MessageRecord(id, ref, "dm:a:b", sender, tuple(recipients), content, TIME)
    assert decode_record(record.encode()) == record


@given(st.lists(IDS, min_size=1), NAMES)
def test_receipts_are_read_back_as_they_were_written(ids: list[str], recipient: str) -> None:
    record = ReceiptRecord(tuple(ids), "dm:a:b", recipient, TIME)
    assert decode_record(record.encode()) == record


def test_the_formats_are_those_of_the_topic() -> None:
    """Other programs read them, and old records stay: a change needs another version."""
    assert orjson.loads(MESSAGE.encode()) == {
        "v": 1,
        "status": "UNDELIVERED",
        "message_id": ID,
        "ref": "r1",
        "conversation": "dm:alice:bob",
        "sender": "alice",
        "recipients": ["bob"],
        "content": "hello",
        "created_at": TIME,
    }
    assert orjson.loads(RECEIPT.encode()) == {
        "v": 1,
        "status": "DELIVERED",
        "message_ids": [ID],
        "conversation": "dm:alice:bob",
        "recipient": "bob",
        "delivered_at": TIME,
    }


def test_fields_that_came_later_do_not_stop_an_older_reader() -> None:
    later = orjson.loads(MESSAGE.encode()) | {"edited": True}
    assert decode_record(orjson.dumps(later)) == MESSAGE


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"v":1', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "version None is not 1"),
        (b'{"v":2,"status":"UNDELIVERED"}', "version 2 is not 1"),
        (b'{"v":"1","status":"UNDELIVERED"}', "version '1' is not 1"),
        (b'{"v":true,"status":"UNDELIVERED"}', "version True is not 1"),
        (b'{"v":1}', "status None"),
        (b'{"v":1,"status":"READ"}', "status 'READ'"),
        (b'{"v":1,"status":["UNDELIVERED"]}', "status"),
    ],
)
def test_what_is_no_record_of_ours_is_refused(value: bytes, why: str) -> None:
    with pytest.raises(BadRecord, match=why):
        decode_record(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_id", None),
        ("message_id", ID.upper()),
        ("ref", ""),
        ("ref", 7),
        ("ref", "x" * 65),
        ("conversation", ""),
        ("conversation", "x" * 257),
        ("conversation", None),
        ("sender", None),
        ("sender", "no name"),
        ("recipients", []),
        ("recipients", "bob"),
        ("recipients", ["bob", "no name"]),
        ("recipients", [None]),
        ("content", ""),
        ("content", None),
        ("content", "a\x00b"),
        ("content", "x" * 16_385),
        ("created_at", None),
        ("created_at", "x" * 41),
    ],
)
def test_a_message_that_the_edge_would_not_have_taken_is_refused(field: str, value: Any) -> None:
    """The log may have been written by something else, or be damaged."""
    record = orjson.loads(MESSAGE.encode()) | {field: value}
    with pytest.raises(BadRecord):
        decode_record(orjson.dumps(record))


def test_a_name_that_an_earlier_version_took_is_still_applied() -> None:
    """Its conversations are in the log, and what was accepted is not quarantined afterwards."""
    old = replace(MESSAGE, sender="al\u200bice", recipients=("bob\u202e", "👩\u200d🚀"))
    assert decode_record(old.encode()) == old
    receipt = replace(RECEIPT, recipient="bob\u202e")
    assert decode_record(receipt.encode()) == receipt


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_ids", []),
        ("message_ids", ID),
        ("message_ids", [ID, "x"]),
        ("message_ids", [ID] * 1_001),
        ("conversation", None),
        ("recipient", None),
        ("recipient", "a:b"),
        ("delivered_at", ""),
    ],
)
def test_a_receipt_that_the_server_would_not_have_written_is_refused(
    field: str, value: Any
) -> None:
    record = orjson.loads(RECEIPT.encode()) | {field: value}
    with pytest.raises(BadRecord):
        decode_record(orjson.dumps(record))


def test_a_reason_is_short_whatever_the_record_holds() -> None:
    """It goes into a log line and a table."""
    with pytest.raises(BadRecord) as caught:
        decode_record(orjson.dumps({"v": "x" * 10_000}))
    assert len(str(caught.value)) < 100


def test_a_record_that_waits_takes_no_more_room_than_it_is_long() -> None:
    """What the serializer returns keeps a buffer of many times that, and queues hold thousands."""
    large = replace(MESSAGE, content="x" * 16_384)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        waiting = [large.encode() for _ in range(64)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1.1 * sum(map(len, waiting))
