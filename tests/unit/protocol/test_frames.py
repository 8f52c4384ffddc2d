"""Frames: what is taken, what is refused and with which words, what the server says."""

import json
import re
import sys
from types import FrameType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.model import Message, Position
from landline.protocol import server_frames, strict_json
from landline.protocol.client_frames import Ack, BadFrame, Ping, Send, decode
from landline.protocol.codes import ErrorCode, Outcome

ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
SEND = {"type": "send", "to": "bob", "content": "hello", "ref": "r1"}

REJECTED = Outcome.REJECTED


def refused(text: str) -> tuple[ErrorCode, Outcome | None, str | None]:
    """Return what the answer to a bad frame says; its message is a sentence for a developer."""
    with pytest.raises(BadFrame) as caught:
        decode(text)
    assert caught.value.message
    return caught.value.code, caught.value.outcome, caught.value.ref


@pytest.mark.parametrize(
    ("frame", "decoded"),
    [
        (SEND, Send("bob", "hello", "r1", retry=False)),
        (SEND | {"retry": True}, Send("bob", "hello", "r1", retry=True)),
        (SEND | {"retry": False}, Send("bob", "hello", "r1")),
        (SEND | {"ref": None, "retry": None}, Send("bob", "hello")),
        ({"to": "bob", "content": "hello"}, Send("bob", "hello")),
        ({"to": "bob", "content": "x" * 16_384}, Send("bob", "x" * 16_384)),
        ({"to": "bob", "content": "é" * 8_192}, Send("bob", "é" * 8_192)),
        ({"to": "bob", "content": " \n\t\x01"}, Send("bob", " \n\t\x01")),
        ({"type": "ack", "ids": [ID, ID]}, Ack((ID, ID))),
        ({"type": "ack", "ids": []}, Ack(())),
        ({"type": "ack", "ids": [ID] * 256}, Ack((ID,) * 256)),
        ({"type": "ping"}, Ping()),
    ],
)
def test_a_good_frame_is_taken(frame: dict[str, Any], decoded: object) -> None:
    assert decode(json.dumps(frame)) == decoded


@pytest.mark.parametrize("frame", [SEND, {"type": "ack", "ids": [ID]}, {"type": "ping"}])
def test_unknown_fields_are_ignored(frame: dict[str, Any]) -> None:
    """So that a newer client can talk to this server."""
    news = {"later": {"deep": [1, 2.5, None, "x"]}, "": -(2**63), "big": 2**64 - 1}
    assert decode(json.dumps(frame | news)) == decode(json.dumps(frame))


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (SEND, {"x": "a" * 4_096}),
        (SEND, {str(number): number for number in range(1_000)}),
        (SEND | {"content": "x" * 16_384}, {"x": ["a" * 100] * 50}),
        (SEND, {"content": ["x"] * 5_000}),
        (SEND, {"to": {"name": "b" * 5_000}}),
    ],
)
def test_a_frame_that_is_mostly_not_ours_is_refused_under_its_ref(
    frame: dict[str, Any], field: dict[str, Any]
) -> None:
    assert refused(json.dumps(frame | field)) == (ErrorCode.BAD_FRAME, REJECTED, "r1")


def test_four_kilobytes_beside_our_fields_are_ignored_whatever_our_fields_hold() -> None:
    """Escapes, blanks and long contents are no reason to count them as unknown."""
    news = {"x": "a" * 4_000}
    large = {"to": "bob", "content": "\u00e9" * 8_192}
    assert decode(json.dumps(large | news, indent=1)) == Send("bob", "\u00e9" * 8_192)
    acks = {"type": "ack", "ids": [ID] * 256}
    assert decode(json.dumps(acks | news)) == Ack((ID,) * 256)
    assert decode(json.dumps({"type": "ping"} | news) + " " * 60_000) == Ping()


def filled(begin: str, unit: str, end: str) -> str:
    """Return a text of 64 KiB that is `begin`, `unit` many times, and `end`."""
    return begin + unit * ((65_536 - len(begin) - len(end)) // len(unit)) + end


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(filled(begin, unit, end), id=f"{begin}{unit}")
        for begin, unit, end in [
            ('{"type":"ping","x":[', "0,", "0]}"),
            ('{"type":"ping","x":[', "{},", "0]}"),
            ('{"type":"ping","x":[', '{"a":[]},', "0]}"),
            ('{"type":"ping","x":[', "[],", "0]}"),
            ('{"type":"ping","x":[', '"",', "0]}"),
            ('{"type":"ping","x":[', "NaN,", "0]}"),
            ('{"type":"ping","x":[', '"\\ud800",', "0]}"),
            ('{"type":"ping"', ',"a":0', "}"),
            ('{"type":"ping","x":{"a":0', ',"a":{}', "}}"),
            # Of a name that is given twice a glance sees the last value alone.
            ('{"type":"ping","x":[', "[],", '0],"x":1}'),
            ('{"type":"ping","x":[', "1.5,", '0],"x":1}'),
            ('{"type":"ping","x":[', " 0 ,", '0],"x":1}'),
            ('{"type":"ping","x":[', f"{'[' * 14}{']' * 14},", '0],"x":1}'),
            ('{"type":"ping","x":{"a":[', "[],", '0],"a":1}}'),
            ('{"type":"ping","x":[', "[],", '0],"\\u0078":1}'),
            ('{"type":"ack","ids":[', "[],", '0],"ids":[]}'),
            ('{"to":"b","content":[', "[],", '0],"content":"c"}'),
            ('{"to":"b"', ',"\\n":0', "}"),
            # Escapes are no room for others to hide in.
            ('{"to":"' + "\\u002c" * 5_000 + '","x":[', "0,", '0],"x":1}'),
            ('{"to":"' + "\\\\u002c" * 2_000 + '","x":[', "[],", '0],"x":1}'),
            ('{"type":"ping","x":[', "[],", '"\\\\"],"x":1}'),
            ('{"type":"ping","x":[', "[],", '"\\ud800"]}'),  # another parser takes it
            ('{"type":"ping","x":0.', "1", "}"),
            ('{"type":"ack","ids":[', "[],", "0]}"),
            ('{"type":"ack","ids":[', '"",', '""]}'),
            ('{"to":"b","content":[', "{},", "0]}"),
            ('{"type":"create","members":[', '"",', '""]}'),
            ('{"type":"create","members":[', '"            ",', '""]}'),
            ('{"type":"create","members":[', "[],", '0],"members":[]}'),
            ('{"type":"delivery","ids":[', '"            ",', '""]}'),
            ('{"to":"b","content":"c","data":{"a":[', "[],", "0]}}"),
            ('{"to":"b","content":"c","data":{"a":[', "[],", '0]},"data":{}}'),
            ('{"to":"b","content":"c","data":{"a":0', ',"a":0', "}}"),
            ('{"type":"read","conversation":"c","offset":[', "0,", "0]}"),
            ('{"type":"list","after":[', "[],", '0],"limit":{}}'),
            ('{"to":"b","content":"c","ref":[', "0,", "0]}"),
            ('{"type":[', "0,", "0]}"),
            ("[", "{},", "0]"),
            ('{"a":', '{"a":', ""),
            ("", "[", ""),
        ]
    ],
)
def test_no_frame_is_made_to_cost_much(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in calls and in the values that a parser makes, not in seconds. A good frame costs
    some ten calls and three hundred values; looking at each of the values that 64 KiB can hold, a
    hundred thousand.
    """
    calls = 0

    def count(_frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        with pytest.raises(BadFrame):
            decode(text)
    finally:
        sys.setprofile(None)
    assert calls < 20_000
    parsers = [Counting(json.JSONDecoder()), Counting(json.JSONDecoder())]
    glance = Counting(orjson)
    for name, parser in zip(["_STRICT", "_LENIENT", "orjson"], [*parsers, glance], strict=True):
        monkeypatch.setattr(strict_json, name, parser)
    with pytest.raises(BadFrame):
        decode(text)
    assert glance.values < 20_000
    assert sum(parser.values for parser in parsers) < 3_000


class Counting:
    """A parser that counts the values in what it is given: each has a sign of its own before it."""

    def __init__(self, parser: Any) -> None:
        self.values = 0
        self._parser = parser

    def decode(self, text: str) -> Any:
        self._count(text)
        return self._parser.decode(text)

    def loads(self, text: str) -> Any:
        self._count(text)
        return self._parser.loads(text)

    def dumps(self, value: Any) -> bytes:
        return orjson.dumps(value)

    def _count(self, text: str) -> None:
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        self.values += len(re.findall(r"[\[{,]", outside))


def test_whatever_a_frame_of_ours_is_written_with_it_is_taken() -> None:
    """Blanks, escapes and many ids are no reason to suspect it."""
    escaped = '{"to":"bob","ref":"\\u0072","content":"%s"}'
    assert decode(escaped % ("\\u0041" * 10_000)) == Send("bob", "A" * 10_000, "r")
    assert decode(escaped % ("\\u002c" * 10_000)) == Send("bob", "," * 10_000, "r")
    assert decode(escaped % ('\\"' * 16_384)) == Send("bob", '"' * 16_384, "r")
    assert decode(escaped % ('\\\\\\"' * 8_192)) == Send("bob", '\\"' * 8_192, "r")
    assert decode(escaped % ("[{,:" * 4_096)) == Send("bob", "[{,:" * 4_096, "r")
    blanks = " \t\r\n" * 20
    ids = f"{blanks},{blanks}".join([f'"{ID}"'] * 256)
    assert decode(f'{blanks}{{"type":"ack",{blanks}"ids"{blanks}:[{ids}]}}') == Ack((ID,) * 256)


@pytest.mark.parametrize("character", ["é", "漢", "😀"])
def test_what_is_not_ours_is_counted_in_bytes(character: str) -> None:
    size = len(character.encode())
    text = '{"type":"ping","x":"%s"}'
    fits = (4_096 - len('{"x":""}')) // size
    assert decode(text % (character * fits)) == Ping()
    assert refused(text % (character * (fits + 1)))[0] is ErrorCode.BAD_FRAME


@pytest.mark.parametrize("many", ['"x":[%s0]', '"content":[%s0]', '"x":{"a":[%s0]}'])
def test_the_ref_of_a_frame_with_far_too_much_in_it_is_known_if_it_stands_before_it(
    many: str,
) -> None:
    begin = '{"to":"b","ref":"\\u0072\\"[{,1","content":"c",'
    text = filled(begin, many % ("[]," * 18_000), "}")
    assert refused(text) == (ErrorCode.BAD_FRAME, REJECTED, 'r"[{,1')
    large = begin + many % ("[]," * 2_000) + ',"y":NaN}'
    assert refused(large) == (ErrorCode.BAD_FRAME, REJECTED, 'r"[{,1')
    flat = "".join(f',"{number}":0' for number in range(5_000))
    assert refused('{"to":"b","ref":"r1"' + flat + "}") == (ErrorCode.BAD_FRAME, REJECTED, "r1")


@pytest.mark.parametrize(
    ("change", "code", "ref"),
    [
        ({"to": None}, ErrorCode.BAD_FRAME, "r1"),
        ({"to": 7}, ErrorCode.BAD_FRAME, "r1"),
        ({"to": ["bob"]}, ErrorCode.BAD_FRAME, "r1"),
        ({"to": ""}, ErrorCode.BAD_RECIPIENT, "r1"),
        ({"to": "no name"}, ErrorCode.BAD_RECIPIENT, "r1"),
        ({"to": "x" * 65}, ErrorCode.BAD_RECIPIENT, "r1"),
        ({"content": None}, ErrorCode.BAD_FRAME, "r1"),
        ({"content": {}}, ErrorCode.BAD_FRAME, "r1"),
        ({"content": "a\x00b"}, ErrorCode.BAD_FRAME, "r1"),  # PostgreSQL cannot store it
        ({"content": ""}, ErrorCode.CONTENT_EMPTY, "r1"),
        ({"content": "x" * 16_385}, ErrorCode.CONTENT_TOO_LARGE, "r1"),
        ({"content": "é" * 8_192 + "x"}, ErrorCode.CONTENT_TOO_LARGE, "r1"),
        ({"retry": "yes"}, ErrorCode.BAD_FRAME, "r1"),
        ({"retry": 1}, ErrorCode.BAD_FRAME, "r1"),
        ({"ref": 7}, ErrorCode.BAD_FRAME, None),
        ({"ref": ""}, ErrorCode.BAD_REF, None),
        ({"ref": "x" * 65}, ErrorCode.BAD_REF, None),
        ({"ref": "a\x00"}, ErrorCode.BAD_REF, None),
    ],
)
def test_a_send_that_cannot_be_taken_is_rejected_under_its_ref(
    change: dict[str, Any], code: ErrorCode, ref: str | None
) -> None:
    """The client waits for an answer: it hears that the message is nowhere. A ref that is none
    is not repeated to it.
    """
    assert refused(json.dumps(SEND | change)) == (code, REJECTED, ref)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"type":"ack"}', ErrorCode.BAD_FRAME),
        ('{"type":"ack","ids":"' + ID + '"}', ErrorCode.BAD_FRAME),
        ('{"type":"ack","ids":["' + ID.upper() + '"]}', ErrorCode.BAD_FRAME),
        ('{"type":"ack","ids":[7]}', ErrorCode.BAD_FRAME),
        (json.dumps({"type": "ack", "ids": [ID] * 257}), ErrorCode.BAD_FRAME),
        ('{"type":"shout"}', ErrorCode.UNKNOWN_TYPE),
        ('{"type":"shout","to":"bob","content":"x","ref":"r1"}', ErrorCode.UNKNOWN_TYPE),
        ('{"type":"welcome"}', ErrorCode.UNKNOWN_TYPE),
        ('{"type":7}', ErrorCode.BAD_FRAME),
        ('{"type":null}', ErrorCode.BAD_FRAME),
        ("{}", ErrorCode.BAD_FRAME),
        ("", ErrorCode.BAD_FRAME),
        ("hello", ErrorCode.BAD_FRAME),
        ("[]", ErrorCode.BAD_FRAME),
        ('"send"', ErrorCode.BAD_FRAME),
        ("null", ErrorCode.BAD_FRAME),
        ('{"type":"ping"}{}', ErrorCode.BAD_FRAME),
        ('{"type":"ping",}', ErrorCode.BAD_FRAME),
        ("{'type':'ping'}", ErrorCode.BAD_FRAME),
    ],
)
def test_a_bad_frame_that_concerns_no_send_has_no_outcome(text: str, code: ErrorCode) -> None:
    assert refused(text) == (code, None, None)


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"send","to":"bob","content":"x","ref":"r1","to":"eve"}',
        '{"type":"send","to":"bob","content":"x","ref":"r1","more":NaN}',
        '{"type":"send","to":"bob","content":"x","ref":"r1","more":-Infinity}',
        '{"type":"send","to":"bob","content":"x","ref":"r1","more":1e999}',
        '{"type":"send","to":"bob","content":"x","ref":"r1","more":18446744073709551616}',
        '{"type":"send","to":"bob","content":"x","ref":"r1","more":-9223372036854775809}',
        '{"type":"send","to":"bob","content":"x\\ud800","ref":"r1"}',
        '{"type":"send","to":"bob","content":"x","ref":"r1","\\udc00":1}',
        '{"type":"send","to":"bob","content":"x","ref":"r1","more":' + "[" * 16 + "]" * 16 + "}",
        '{"to":"bob","ref":"r1"}',  # a send without its content
        '{"content":"x","ref":"r1"}',
    ],
)
def test_a_send_in_json_that_others_might_read_differently_is_rejected_under_its_ref(
    text: str,
) -> None:
    """The answer to `r1` comes, although the whole was no frame."""
    assert refused(text) == (ErrorCode.BAD_FRAME, REJECTED, "r1")


def test_depth_and_digits_without_end_are_refused_and_hurt_nobody() -> None:
    """Python's parser gives up on both; what was meant cannot be made out then."""
    for text in ("[" * 60_000, '{"a":' * 10_000 + "1" + "}" * 10_000, '{"a":' + "9" * 60_000 + "}"):
        assert refused(text) == (ErrorCode.BAD_FRAME, None, None)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_sixteen_levels_are_deep_enough(opening: str, closing: str) -> None:
    def ping(levels: int) -> str:
        inner = opening * (levels - 1) + "0" + closing * (levels - 1)
        return '{"type":"ping","more":' + inner + "}"

    assert decode(ping(16)) == Ping()
    assert refused(ping(17))[0] is ErrorCode.BAD_FRAME


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["send", "ack", "ping"]) | JSON,
        "to": st.sampled_from(["bob", "no name"]) | JSON,
        "content": st.text() | JSON,
        "ref": st.text(max_size=70) | JSON,
        "retry": st.booleans() | JSON,
        "ids": st.lists(st.just(ID) | st.text(), max_size=3) | JSON,
    },
)


@given(FIELDS.map(json.dumps) | st.text())
def test_whatever_arrives_is_a_frame_or_a_bad_frame_and_what_is_taken_can_be_stored(
    text: str,
) -> None:
    try:
        frame = decode(text)
    except BadFrame as bad:
        orjson.dumps([bad.code, bad.message, bad.ref])  # the answer can be written
        return
    if isinstance(frame, Send):
        for value in (frame.to, frame.content, frame.ref or ""):
            assert "\x00" not in value.encode().decode()


# What the server says ---------------------------------------------------------------------------


def test_a_message_says_that_it_is_replayed_only_when_it_is() -> None:
    message = Message(ID, "dm:alice:bob", "alice", ("bob",), "hi", Position(3, 7), 1_000)
    live = {
        "type": "message",
        "id": ID,
        "conversation": "dm:alice:bob",
        "sender": "alice",
        "to": "bob",
        "content": "hi",
        "time": "1970-01-01T00:00:01.000Z",
        "offset": 7,
    }
    assert orjson.loads(server_frames.message(message, replay=False)) == live
    assert orjson.loads(server_frames.message(message, replay=True)) == live | {"replay": True}


@pytest.mark.parametrize(
    ("conversation", "sender", "recipients", "to"),
    [
        ("dm:alice:bob", "alice", ("bob",), "bob"),
        ("dm:alice:bob", "bob", ("alice",), "alice"),
        ("dm:alice:bob", "alice", ("alice",), "bob"),  # one's own, out of the store
        ("dm:alice:bob", "bob", ("bob",), "alice"),
        ("dm:alice:alice", "alice", ("alice",), "alice"),
        ("somebody else's", "alice", ("alice",), "alice"),
    ],
)
def test_a_message_is_to_the_other_person_whoever_s_mailbox_it_was_in(
    conversation: str, sender: str, recipients: tuple[str, ...], to: str
) -> None:
    message = Message(ID, conversation, sender, recipients, "hi", Position(3, 7), 1_000)
    assert orjson.loads(server_frames.message(message, replay=True))["to"] == to


def test_what_is_attached_to_a_message_is_carried_untouched() -> None:
    data = '{"b": 1.50,  "a":[1e2, "\\u00e9"]}'
    message = Message(ID, "dm:a:b", "a", ("b",), "hi", Position(3, 7), 1_000, data=data)
    frame = server_frames.message(message, replay=False)
    assert f'"data":{data}'.encode() in frame
    assert orjson.loads(frame)["data"] == {"b": 1.5, "a": [100.0, "é"]}


@pytest.mark.parametrize("device", [None, "phone", ""])
@pytest.mark.parametrize("is_new", [None, True, False])
def test_the_welcome_names_the_device_and_says_what_is_known_of_it(
    device: str | None, is_new: bool | None
) -> None:
    welcome = orjson.loads(
        server_frames.welcome(
            user="alice", server="ws-1", session="s", durability="d", device=device, is_new=is_new
        )
    )
    assert welcome.get("device") == device
    assert welcome.get("is_new") == is_new
    assert ("device" in welcome, "is_new" in welcome) == (device is not None, is_new is not None)


@pytest.mark.parametrize("ref", [None, "r1"])
def test_accepted_names_the_send_as_far_as_it_had_a_name(ref: str | None) -> None:
    frame = orjson.loads(
        server_frames.accepted(ref=ref, id=ID, conversation="dm:a:b", offset=5, time_ms=0)
    )
    assert ("ref" in frame) == (ref is not None)
    assert frame.get("ref") == ref


@pytest.mark.parametrize("code", ErrorCode)
@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_an_error_says_what_became_of_the_send_if_one_is_concerned(
    code: ErrorCode, outcome: Outcome | None
) -> None:
    ref = None if outcome is None else "r1"
    frame = orjson.loads(server_frames.error(code, "why", outcome=outcome, ref=ref))
    expected = {"type": "error", "code": str(code), "message": "why"}
    if outcome is not None:
        expected |= {"outcome": str(outcome), "ref": "r1"}
    assert frame == expected


def test_the_welcome_tells_the_limits_that_decode_enforces() -> None:
    welcome = orjson.loads(
        server_frames.welcome(user="alice", server="ws-1", session="s", durability="sqlite:fsync")
    )
    largest = "x" * welcome["limits"]["content_bytes"]
    assert decode(json.dumps(SEND | {"content": largest})) == Send("bob", largest, "r1")
    assert refused(json.dumps(SEND | {"content": largest + "x"}))[0] is ErrorCode.CONTENT_TOO_LARGE
    window = welcome["limits"]["window"]
    assert decode(json.dumps({"type": "ack", "ids": [ID] * window})) == Ack((ID,) * window)
