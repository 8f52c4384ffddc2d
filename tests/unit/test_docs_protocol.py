"""docs/protocol.md says what the code does: every code, every limit, every frame."""

import json
import re
from typing import Any

import orjson
import pytest

from landline.config import Settings
from landline.delivery.delivery import WRITE_TIMEOUT_SECONDS
from landline.delivery.intake import SESSION_FLIGHT_BYTES, SESSION_FLIGHTS
from landline.gateway.doorway import HANDSHAKE_SECONDS
from landline.gateway.fragments import FRAGMENTS
from landline.gateway.heartbeat import PING_AFTER_SECONDS, PONG_WITHIN_SECONDS
from landline.gateway.listener import WEBSOCKET_PATHS
from landline.model import Message, Position
from landline.protocol import limits, server_frames
from landline.protocol.client_frames import Ack, BadFrame, Ping, Send, decode
from landline.protocol.codes import CloseCode, ErrorCode, Outcome
from support.pages import ROOT, code_blocks, read, section, table

PAGE = read("docs/protocol.md")
EXAMPLES: list[dict[str, Any]] = [json.loads(block) for block in code_blocks(PAGE, "json")]
ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
MESSAGE = Message(ID, "dm:alice:bob", "alice", ("bob",), "hello", Position(0, 42), 0)
CLIENT_TYPES = {"send", "ack", "ping"}

# Every frame that the server can make, with every combination of fields that may be absent.
SERVER_FRAMES: list[dict[str, Any]] = [
    orjson.loads(frame)
    for frame in (
        server_frames.welcome(user="alice", server="ws-1", session="s", durability="sqlite:fsync"),
        server_frames.accepted(ref="r", id=ID, conversation="dm:a:b", offset=1, time_ms=0),
        server_frames.accepted(ref=None, id=ID, conversation="dm:a:b", offset=1, time_ms=0),
        server_frames.message(MESSAGE, replay=False),
        server_frames.message(MESSAGE, replay=True),
        server_frames.caught_up(0),
        server_frames.status(ids=[ID], user="bob", time="t"),
        server_frames.error(ErrorCode.BUSY, "why", outcome=Outcome.REJECTED, ref="r"),
        server_frames.error(ErrorCode.BAD_REF, "why", outcome=Outcome.REJECTED),
        server_frames.error(ErrorCode.UNKNOWN_TYPE, "why"),
        server_frames.PONG,
    )
]


def shape(value: Any) -> Any:
    """Return the names and types of a frame."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) else type(value)


def is_from_client(example: dict[str, Any]) -> bool:
    """Say whether an example is a client's frame; one without a type is a send."""
    return example.get("type", "send") in CLIENT_TYPES


def test_every_example_of_a_client_frame_is_taken() -> None:
    taken = [decode(json.dumps(example)) for example in EXAMPLES if is_from_client(example)]
    assert {type(frame) for frame in taken} == {Send, Ack, Ping}


def test_every_example_of_a_server_frame_is_one_that_the_server_makes() -> None:
    shapes = [shape(frame) for frame in SERVER_FRAMES]
    examples = [example for example in EXAMPLES if not is_from_client(example)]
    for example in examples:
        assert shape(example) in shapes, example
    assert {example["type"] for example in examples} == {frame["type"] for frame in SERVER_FRAMES}


def test_the_welcome_in_the_page_has_the_limits_of_the_code() -> None:
    real = SERVER_FRAMES[0]
    (example,) = (example for example in EXAMPLES if example.get("type") == "welcome")
    assert (example["protocol"], example["limits"]) == (real["protocol"], real["limits"])


@pytest.mark.parametrize("frame", SERVER_FRAMES, ids=lambda frame: frame["type"])
def test_every_field_of_a_server_frame_is_explained_below_its_name(frame: dict[str, Any]) -> None:
    start = PAGE.index(f"\n**{frame['type']}**")
    explained = PAGE[start : PAGE.index("\n\n**", start + 1)] if frame["type"] != "pong" else PAGE
    for field in frame:
        assert f"`{field}`" in explained or f'"{field}"' in explained, field


def test_the_errors_in_the_page_are_those_that_such_frames_get() -> None:
    errors = []
    for frame in ({"to": "bob", "content": "x" * 16_385, "ref": "5f0c2b9e-1"}, {"type": "shout"}):
        with pytest.raises(BadFrame) as caught:
            decode(json.dumps(frame))
        bad = caught.value
        answer = server_frames.error(bad.code, bad.message, outcome=bad.outcome, ref=bad.ref)
        errors.append(orjson.loads(answer))
    assert [example for example in EXAMPLES if example.get("type") == "error"] == errors


def test_every_error_code_is_in_the_table_and_no_other() -> None:
    rows = table(section(PAGE, "## Error codes"))
    assert {code.strip("`") for code in rows if code.startswith("`")} == set(ErrorCode)


def test_every_close_code_is_in_the_table_and_no_other() -> None:
    rows = table(section(PAGE, "## Close codes"))
    assert {int(code) for code in rows if code.isdigit()} == set(CloseCode)


# Where the server decides what to say.
SAYS_SO = [
    *(ROOT / "src" / "landline" / "delivery").glob("*.py"),
    *(ROOT / "src" / "landline" / "gateway").glob("*.py"),
    ROOT / "src" / "landline" / "protocol" / "client_frames.py",
]


@pytest.mark.parametrize(
    ("heading", "codes"), [("## Error codes", ErrorCode), ("## Close codes", CloseCode)]
)
def test_a_code_is_called_reserved_exactly_when_nothing_sends_it(
    heading: str, codes: type[ErrorCode] | type[CloseCode]
) -> None:
    """Whoever makes the server send a reserved code takes the word out of the page."""
    source = "".join(path.read_text() for path in SAYS_SO)
    rows = table(section(PAGE, heading))
    for code in codes:
        cells = " ".join(rows[f"`{code}`" if isinstance(code, ErrorCode) else str(int(code))])
        is_sent = re.search(rf"\b{codes.__name__}\.{code.name}\b", source) is not None
        assert ("(reserved" in cells) != is_sent, code


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("frame", limits.FRAME_BYTES),
        ("fragments of a frame", FRAGMENTS),
        ("`content`", limits.CONTENT_BYTES),
        ("user name", limits.NAME_BYTES),
        ("`ref`", limits.REF_BYTES),
        ("`ids` in one `ack`", limits.ACK_IDS),
        ("nesting of JSON", limits.JSON_DEPTH),
        ("unacknowledged messages of a session", limits.WINDOW),
        ("unanswered sends of a session", SESSION_FLIGHTS),
        ("bytes of a session's unanswered sends", SESSION_FLIGHT_BYTES),
        ("bytes beside the fields of this page", limits.UNKNOWN_BYTES),
        ("bad frames in a row", limits.BAD_FRAMES_IN_A_ROW),
        ("no acknowledgement while messages are outstanding", Settings().ack_timeout),
        ("no bytes read by the client while some wait", WRITE_TIMEOUT_SECONDS),
        ("upgrade", HANDSHAKE_SECONDS),
    ],
)
def test_every_limit_is_in_the_table_with_its_value(what: str, limit: float) -> None:
    number, _, _unit = table(section(PAGE, "## Limits"))[what][0].partition(" ")
    assert float(number.replace(",", "")) == limit


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    for words in (
        f"after {PING_AFTER_SECONDS:g} s of silence",
        f"within {PONG_WITHIN_SECONDS:g} s",
        f"1 to {limits.CONTENT_BYTES:,} bytes",
        f"1 to {limits.NAME_BYTES} bytes",
        f"1 to {limits.REF_BYTES} bytes",
        f"up to {limits.ACK_IDS} message ids",
        f"At most {limits.WINDOW} messages",
        f"After {SESSION_FLIGHTS} unanswered sends, or {SESSION_FLIGHT_BYTES:,} bytes",
        f"The {limits.BAD_FRAMES_IN_A_ROW}th bad frame",
        f"more than {limits.FRAME_BYTES:,} bytes, or in more than {FRAGMENTS} fragments",
        f"every {Settings().ack_timeout:g} s",
        f"`{limits.SUBPROTOCOL}`",
        *(f"`GET {path}`" if path != "/ws" else "(or `/ws`)" for path in WEBSOCKET_PATHS),
    ):
        assert words in PAGE, words
