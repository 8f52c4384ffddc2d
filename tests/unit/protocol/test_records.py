"""Records: what is written can be read; what can never be applied is refused with a reason."""

import tracemalloc
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.model import History, MemberStep, Role
from landline.protocol.identity import check_user_name, is_ref, uuid_text
from landline.protocol.records import (
    BadRecord,
    DeviceRecord,
    MemberRecord,
    MessageRecord,
    ReadRecord,
    ReceiptEntry,
    ReceiptRecord,
    RoomRecord,
    decode_record,
)

ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
OTHER_ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d44"
TIME = "2026-01-02T03:04:05.678Z"
ROOM = f"room:{ID}"
MESSAGE = MessageRecord(ID, "r1", "dm:alice:bob", "alice", ("bob",), "hello", TIME)
RECEIPT = ReceiptRecord("dm:alice:bob", (ReceiptEntry("bob", None, (ID,)),), TIME)

MESSAGE_2 = replace(MESSAGE, device="phone", data='{"reply_to":"é"}')
TO_ROOM = replace(MESSAGE_2, conversation=ROOM, recipients=())
RECEIPTS_2 = ReceiptRecord(
    ROOM,
    (ReceiptEntry("bob", "phone", (ID, OTHER_ID)), ReceiptEntry("carol", None, (ID,))),
    TIME,
)
MADE = RoomRecord(ID, "r1", ROOM, "alice", "phone", "Ideas", History.JOINED, ("alice", "bob"), TIME)
TITLED = RoomRecord(ID, None, ROOM, "alice", None, None, None, None, TIME)
MEMBER = MemberRecord(ID, "r1", ROOM, "alice", "phone", "bob", MemberStep.ROLE, Role.ADMIN, TIME)
READ = ReadRecord(ROOM, (("alice", 7), ("bob", 0), ("carol", -1)))
DEVICE = DeviceRecord("alice", "phone", True)

NAMES = st.text("aé名😀-", min_size=1, max_size=8).map(check_user_name)
IDS = st.binary(min_size=16, max_size=16).map(lambda octets: uuid_text(octets, version=8))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
REFS = st.none() | TEXTS.filter(is_ref)
DEVICES = st.none() | st.text("aZ09._-", max_size=64)
ROOMS = IDS.map(lambda id: f"room:{id}")
DATA = st.none() | st.dictionaries(TEXTS, TEXTS | st.none() | st.lists(st.integers(0, 9))).map(
    lambda data: orjson.dumps(data).decode()
)


@given(IDS, REFS, NAMES, st.lists(NAMES, min_size=1), TEXTS)
def test_a_message_is_read_back_as_it_was_written(
    id: str, ref: str | None, sender: str, recipients: list[str], content: str
) -> None:
    record = MessageRecord(id, ref, "dm:a:b", sender, tuple(recipients), content, TIME)
    assert decode_record(record.encode()) == record


@given(st.lists(IDS, min_size=1), NAMES)
def test_receipts_are_read_back_as_they_were_written(ids: list[str], recipient: str) -> None:
    record = ReceiptRecord("dm:a:b", (ReceiptEntry(recipient, None, tuple(ids)),), TIME)
    assert decode_record(record.encode()) == record


ENTRIES = st.builds(ReceiptEntry, NAMES, DEVICES, st.lists(IDS, min_size=1, max_size=9).map(tuple))
MEMBERS = st.lists(NAMES, min_size=1, unique=True).map(tuple)
OFFSETS = st.integers(0, 2**63 - 1)


def with_the_sender_first(record: RoomRecord) -> RoomRecord:
    """Return the record of a room as its first member has made it."""
    others = record.members or ()
    return replace(record, members=tuple(dict.fromkeys((record.sender, *others))))


@given(
    st.one_of(
        st.builds(
            MessageRecord,
            *(IDS, REFS, st.just("dm:a:b"), NAMES, MEMBERS, TEXTS, st.just(TIME), DEVICES, DATA),
        ),
        st.builds(
            MessageRecord,
            *(IDS, REFS, ROOMS, NAMES, st.just(()), TEXTS, st.just(TIME), DEVICES, DATA),
        ),
        st.builds(
            ReceiptRecord,
            st.just("dm:a:b") | ROOMS,
            st.lists(ENTRIES, min_size=1).map(tuple),
            st.just(TIME),
        ),
        st.builds(
            RoomRecord,
            *(IDS, REFS, ROOMS, NAMES, DEVICES, st.none() | TEXTS),
            *(st.sampled_from(History), MEMBERS, st.just(TIME)),
        ).map(with_the_sender_first),
        st.builds(
            RoomRecord,
            *(IDS, REFS, ROOMS, NAMES, DEVICES, st.none() | TEXTS),
            *(st.none(), st.none(), st.just(TIME)),
        ),
        st.builds(
            MemberRecord,
            *(IDS, REFS, ROOMS, NAMES, DEVICES, NAMES),
            *(st.sampled_from(MemberStep), st.sampled_from(Role), st.just(TIME)),
        ),
        st.builds(
            ReadRecord,
            st.just("dm:a:b") | ROOMS,
            st.lists(st.tuples(NAMES, OFFSETS), min_size=1).map(tuple),
        ),
        st.builds(DeviceRecord, NAMES, DEVICES.map(lambda name: name or ""), st.booleans()),
    )
)
def test_every_kind_of_version_2_is_read_back_as_it_was_written(record: Any) -> None:
    assert decode_record(record.encode_2()) == record


def test_the_formats_of_version_1_are_those_of_the_topic() -> None:
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


def test_version_1_has_no_device_and_no_data() -> None:
    assert MESSAGE_2.encode() == MESSAGE.encode()


FORMATS: dict[str, tuple[Any, object]] = {
    "message": (
        MESSAGE_2,
        {
            "v": 2,
            "kind": "message",
            "status": "UNDELIVERED",
            "message_id": ID,
            "ref": "r1",
            "conversation": "dm:alice:bob",
            "sender": "alice",
            "device": "phone",
            "recipients": ["bob"],
            "content": "hello",
            "data": {"reply_to": "é"},
            "created_at": TIME,
        },
    ),
    "message to a room": (
        replace(TO_ROOM, ref=None, device=None, data=None),
        {
            "v": 2,
            "kind": "message",
            "status": "UNDELIVERED",
            "message_id": ID,
            "ref": None,
            "conversation": ROOM,
            "sender": "alice",
            "device": None,
            "recipients": [],
            "content": "hello",
            "data": None,
            "created_at": TIME,
        },
    ),
    "receipt": (
        RECEIPTS_2,
        {
            "v": 2,
            "kind": "receipt",
            "status": "DELIVERED",
            "conversation": ROOM,
            "entries": [["bob", "phone", [ID, OTHER_ID]], ["carol", None, [ID]]],
            "delivered_at": TIME,
        },
    ),
    "room that is made": (
        MADE,
        {
            "v": 2,
            "kind": "room",
            "message_id": ID,
            "ref": "r1",
            "conversation": ROOM,
            "sender": "alice",
            "device": "phone",
            "title": "Ideas",
            "history": "joined",
            "members": ["alice", "bob"],
            "created_at": TIME,
        },
    ),
    "room without a title from now on": (
        TITLED,
        {
            "v": 2,
            "kind": "room",
            "message_id": ID,
            "ref": None,
            "conversation": ROOM,
            "sender": "alice",
            "device": None,
            "title": None,
            "history": None,
            "members": None,
            "created_at": TIME,
        },
    ),
    "member": (
        MEMBER,
        {
            "v": 2,
            "kind": "member",
            "message_id": ID,
            "ref": "r1",
            "conversation": ROOM,
            "sender": "alice",
            "device": "phone",
            "user": "bob",
            "change": "role",
            "role": "admin",
            "created_at": TIME,
        },
    ),
    "read": (
        READ,
        {
            "v": 2,
            "kind": "read",
            "conversation": ROOM,
            "entries": [["alice", 7], ["bob", 0], ["carol", -1]],
        },
    ),
    "device": (
        DEVICE,
        {"v": 2, "kind": "device", "user": "alice", "device": "phone", "change": "add"},
    ),
    "device that ends": (
        DeviceRecord("alice", "", False),
        {"v": 2, "kind": "device", "user": "alice", "device": "", "change": "remove"},
    ),
}


@pytest.mark.parametrize(("record", "expected"), FORMATS.values(), ids=FORMATS.keys())
def test_the_formats_of_version_2_are_those_of_the_topic(record: Any, expected: object) -> None:
    """As for version 1."""
    assert orjson.loads(record.encode_2()) == expected
    assert decode_record(orjson.dumps(expected)) == record


@pytest.mark.parametrize(
    "value",
    [MESSAGE.encode(), *(record.encode_2() for record, _ in FORMATS.values())],
    ids=["version 1", *FORMATS],
)
def test_fields_that_came_later_do_not_stop_an_older_reader(value: bytes) -> None:
    later = orjson.loads(value) | {"edited": True}
    assert decode_record(orjson.dumps(later)) == decode_record(value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"v":1', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "version None is neither 1 nor 2"),
        (b'{"v":3,"status":"UNDELIVERED"}', "version 3 is neither 1 nor 2"),
        (b'{"v":"1","status":"UNDELIVERED"}', "version '1' is neither 1 nor 2"),
        (b'{"v":true,"status":"UNDELIVERED"}', "version True is neither 1 nor 2"),
        (b'{"v":[2]}', "is neither 1 nor 2"),
        (b'{"v":1}', "status None"),
        (b'{"v":1,"status":"READ"}', "status 'READ'"),
        (b'{"v":1,"status":["UNDELIVERED"]}', "status"),
        (b'{"v":2}', "kind None is none of message, receipt, room, member, read, device"),
        (b'{"v":2,"status":"UNDELIVERED"}', "kind None"),
        (b'{"v":2,"kind":"typing"}', "kind 'typing'"),
        (b'{"v":2,"kind":["message"]}', "kind"),
    ],
)
def test_what_is_no_record_of_ours_is_refused(value: bytes, why: str) -> None:
    with pytest.raises(BadRecord, match=why):
        decode_record(value)


BAD_TEXTS: list[Any] = [None, 7, "", "a\x00b", ["x"]]
BAD_IDS: list[Any] = [None, 7, "", ID.upper(), ID[:-1]]
BAD_REFS: list[Any] = ["", 7, "x" * 65, "a\x00b"]
BAD_NAMES: list[Any] = [None, 7, "", "no name", "a:b", "a/b", "x" * 65]
BAD_DEVICES: list[Any] = [7, "my phone", "x" * 65, "é", ["phone"]]
BAD_CONVERSATIONS = [*BAD_TEXTS, "x" * 257]
NO_ROOMS: list[Any] = [*BAD_TEXTS, "dm:alice:bob", "room:", f"room:{ID.upper()}"]
BAD_TIMES = [*BAD_TEXTS, "x" * 41]

WRONG: dict[str, tuple[Any, dict[str, list[Any]]]] = {
    "message": (
        MESSAGE_2,
        {
            "status": [None, "DELIVERED", ["UNDELIVERED"]],
            "message_id": BAD_IDS,
            "ref": BAD_REFS,
            "conversation": [*BAD_CONVERSATIONS, ROOM],  # a room has no recipients
            "sender": BAD_NAMES,
            "device": BAD_DEVICES,
            "recipients": [None, "bob", [], [None], ["bob", "no name"], {"bob": 1}],
            "content": [*BAD_TEXTS, "x" * 16_385],
            "data": ["{}", 7, [], ["x"], {"x" * 4_091: 1}, {"é" * 2_046: 1}],
            "created_at": BAD_TIMES,
        },
    ),
    "message to a room": (TO_ROOM, {"recipients": [None, ["bob"]], "conversation": ["dm:a:b"]}),
    "receipt": (
        RECEIPTS_2,
        {
            "status": [None, "UNDELIVERED"],
            "conversation": BAD_CONVERSATIONS,
            "entries": [
                None,
                [],
                {},
                [None],
                [["bob", None]],
                [["bob", None, [ID], 1]],
                [["bob", None, []]],
                [["bob", None, ID]],
                *([["bob", None, [ID, bad]]] for bad in BAD_IDS),
                *([["bob", bad, [ID]]] for bad in BAD_DEVICES),
                *([["bob", None, [ID]], [bad, None, [ID]]] for bad in BAD_NAMES),
                [["bob", None, [ID] * 1_001]],
                [["bob", None, [ID] * 500], ["carol", None, [ID] * 501]],
            ],
            "delivered_at": BAD_TIMES,
        },
    ),
    "room": (
        MADE,
        {
            "message_id": BAD_IDS,
            "ref": BAD_REFS,
            "conversation": NO_ROOMS,
            "sender": [*BAD_NAMES, "bob"],  # who made it is the first of the members
            "device": BAD_DEVICES,
            "title": ["", 7, "a\x00b", "é" * 129],
            "history": [None, 7, "some", ["all"]],
            "members": [
                None,
                [],
                "alice",
                ["bob", "alice"],
                ["alice", "bob", "bob"],
                ["alice", None],
                ["alice", "no name"],
                ["alice", *(f"user{number}" for number in range(256))],
            ],
            "created_at": BAD_TIMES,
        },
    ),
    "title": (TITLED, {"history": ["all"], "members": [["alice"]]}),
    "member": (
        MEMBER,
        {
            "message_id": BAD_IDS,
            "ref": BAD_REFS,
            "conversation": NO_ROOMS,
            "sender": BAD_NAMES,
            "device": BAD_DEVICES,
            "user": BAD_NAMES,
            "change": [None, 7, "", "leave", ["add"]],
            "role": [None, 7, "", "owner", ["admin"]],
            "created_at": BAD_TIMES,
        },
    ),
    "read": (
        READ,
        {
            "conversation": BAD_CONVERSATIONS,
            "entries": [
                None,
                [],
                {},
                [None],
                [["alice"]],
                [["alice", 1, 2]],
                *([["bob", 1], [bad, 1]] for bad in BAD_NAMES),
                *([["alice", bad]] for bad in (None, "1", 1.0, True, -2, 2**63)),
                [["alice", 1]] * 1_001,
            ],
        },
    ),
    "device": (
        DEVICE,
        {
            "user": BAD_NAMES,
            "device": [*BAD_DEVICES, None],
            "change": [None, 7, "role", ["add"], True],
        },
    ),
}


@pytest.mark.parametrize(
    ("record", "field", "values"),
    [
        pytest.param(record, field, values, id=f"{kind}: {field}")
        for kind, (record, fields) in WRONG.items()
        for field, values in fields.items()
    ],
)
def test_every_field_of_version_2_is_refused_when_it_is_wrong(
    record: Any, field: str, values: list[Any]
) -> None:
    right = orjson.loads(record.encode_2())
    assert field in right
    for value in values:
        with pytest.raises(BadRecord):
            decode_record(orjson.dumps(right | {field: value}))


@pytest.mark.parametrize("kind", ["message", "receipt", "room", "member", "read", "device"])
def test_no_field_is_forgotten_above(kind: str) -> None:
    record, fields = WRONG[kind]
    assert fields.keys() == orjson.loads(record.encode_2()).keys() - {"v", "kind"}


@pytest.mark.parametrize("kind", ["message", "receipt", "room", "member", "read", "device"])
def test_a_field_that_is_missing_is_as_one_that_is_null(kind: str) -> None:
    record, fields = WRONG[kind]
    right = orjson.loads(record.encode_2())
    for field in fields:
        missing = {name: value for name, value in right.items() if name != field}
        for shown in (missing, right | {field: None}):
            if None in fields[field]:
                with pytest.raises(BadRecord):
                    decode_record(orjson.dumps(shown))
            else:
                decode_record(orjson.dumps(shown))


@pytest.mark.parametrize(
    "value",
    [
        b'{"v":2,"kind":"read","conversation":"c","entries":[["alice",99999999999999999999]]}',
        b'{"v":2,"kind":"read","conversation":"c","entries":[["alice",1e2]]}',
        b'{"v":2,"kind":"read","conversation":"c","entries":[["alice",1]],"conversation":7}',
    ],
)
def test_a_number_that_no_store_keeps_and_a_field_given_twice_are_refused(value: bytes) -> None:
    with pytest.raises(BadRecord):
        decode_record(value)


def test_a_full_record_of_each_list_is_taken() -> None:
    members = tuple(f"user{number}" for number in range(256))
    made = replace(MADE, sender="user0", members=members, title="é" * 128)
    assert decode_record(made.encode_2()) == made
    entry = ReceiptEntry("bob", "x" * 64, (ID,) * 1_000)
    receipts = replace(RECEIPTS_2, entries=(entry,))
    assert decode_record(receipts.encode_2()) == receipts
    read = ReadRecord(ROOM, (("alice", 2**63 - 1),) * 1_000)
    assert decode_record(read.encode_2()) == read
    data = replace(MESSAGE_2, data=orjson.dumps({"x" * 4_090: 1}).decode())
    assert decode_record(data.encode_2()) == data


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
    assert decode_record(old.encode_2()) == old
    receipt = replace(RECEIPT, entries=(ReceiptEntry("bob\u202e", None, (ID,)),))
    assert decode_record(receipt.encode()) == receipt
    assert decode_record(receipt.encode_2()) == receipt


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
    for record in (
        {"v": "x" * 10_000},
        {"v": 2, "kind": "x" * 10_000},
        {"v": 2, "kind": "device", "user": "a", "device": "b", "change": "x" * 10_000},
        {"v": 2, "kind": "message", "status": "x" * 10_000},
        orjson.loads(MEMBER.encode_2()) | {"role": "x" * 10_000},
    ):
        with pytest.raises(BadRecord) as caught:
            decode_record(orjson.dumps(record))
        assert len(str(caught.value)) < 110


def test_a_record_that_waits_takes_no_more_room_than_it_is_long() -> None:
    """What the serializer returns keeps a buffer of many times that, and queues hold thousands."""
    large = replace(MESSAGE_2, content="x" * 16_384)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        waiting = [write() for _ in range(32) for write in (large.encode, large.encode_2)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1.1 * sum(map(len, waiting))
