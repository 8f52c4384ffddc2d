"""docs/protocol.md says what the code does: every code, every limit, every frame."""

import json
import re
from typing import Any

import orjson
import pytest

from landline.model import (
    DeliveryStatus,
    EventKind,
    ListedConversation,
    ListedMember,
    Message,
    Position,
    Role,
)
from landline.protocol import server_frames
from landline.protocol.client_frames import (
    Ack,
    AskDelivery,
    AskHistory,
    AskList,
    AskMembers,
    Auth,
    BadFrame,
    ChangeMember,
    ChangeRoom,
    Create,
    MarkRead,
    Ping,
    Send,
    decode,
)
from landline.protocol.codes import CloseCode, ErrorCode, Outcome
from support.pages import ROOT, code_blocks, read

PAGE = read("docs/protocol.md")
EXAMPLES: list[dict[str, Any]] = [json.loads(block) for block in code_blocks(PAGE, "json")]
ID = "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
MESSAGE = Message(ID, "dm:alice:bob", "alice", ("bob",), "hello", Position(0, 42), 0)
ROOM = f"room:{ID}"
MEMBER_EVENT = '{"user":"carol","change":"add","role":"member"}'
CLIENT_TYPES = {
    "send", "ack", "ping", "auth", "create", "list", "history", "members", "delivery",
}  # fmt: skip
# What both sides say, and a field that only the server's has.
OF_BOTH = {"member": "id", "room": "id", "read": "entries"}


def in_room(kind: EventKind, content: str, data: str | None = None) -> Message:
    return Message(ID, ROOM, "alice", (), content, Position(0, 42), 0, kind, data)


IN_ROOM = in_room(EventKind.MESSAGE, "hello")
LISTED = ListedConversation(ROOM, "Lunch", Role.ADMIN, 42, 0, IN_ROOM, 41, 1)

# Every frame that the server can make, with every combination of fields that may be absent.
SERVER_FRAMES: list[dict[str, Any]] = [
    orjson.loads(frame)
    for frame in (
        server_frames.welcome(user="alice", server="ws-1", session="s", durability="sqlite:fsync"),
        server_frames.welcome(
            user="alice",
            server="ws-1",
            session="s",
            durability="sqlite:fsync",
            device="laptop",
            is_new=False,
        ),
        server_frames.accepted(ref="r", id=ID, conversation="dm:a:b", offset=1, time_ms=0),
        server_frames.accepted(ref=None, id=ID, conversation="dm:a:b", offset=1, time_ms=0),
        server_frames.message(MESSAGE, replay=False),
        server_frames.message(MESSAGE, replay=True),
        server_frames.message(
            in_room(EventKind.MESSAGE, "hello", '{"reply_to":"x"}'), replay=False
        ),
        server_frames.message(in_room(EventKind.MEMBER, "", MEMBER_EVENT), replay=False),
        server_frames.message(in_room(EventKind.MEMBER, "", MEMBER_EVENT), replay=True),
        server_frames.message(in_room(EventKind.ROOM, "", '{"title":"Lunch"}'), replay=False),
        server_frames.message(in_room(EventKind.ROOM, "", '{"title":"Lunch"}'), replay=True),
        server_frames.read(ROOM, [("bob", 42)]),
        server_frames.conversations("1", [LISTED], "x"),
        server_frames.conversations("1", [LISTED], None),
        server_frames.page("1", ROOM, [IN_ROOM], first=0, last=42, complete=True),
        server_frames.member_list("1", ROOM, [ListedMember("bob", Role.ADMIN, 42)]),
        server_frames.deliveries("1", [DeliveryStatus(ID, "bob", is_delivered=True)]),
        server_frames.error(ErrorCode.NO_SUCH_CONVERSATION, "why", request="1"),
        server_frames.caught_up(0),
        server_frames.status(ids=[ID], user="bob", time="t"),
        server_frames.error(ErrorCode.BUSY, "why", outcome=Outcome.REJECTED, ref="r"),
        server_frames.error(ErrorCode.BAD_REF, "why", outcome=Outcome.REJECTED),
        server_frames.error(ErrorCode.UNKNOWN_TYPE, "why"),
        server_frames.error(
            ErrorCode.TOO_FAST, "why", outcome=Outcome.REJECTED, ref="r", retry_after_ms=1
        ),
        server_frames.authenticated(0),
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
    kind = example.get("type", "send")
    return kind in CLIENT_TYPES or OF_BOTH.get(kind, kind) not in {*example, kind}


def test_every_example_of_a_client_frame_is_taken() -> None:
    taken = [decode(json.dumps(example)) for example in EXAMPLES if is_from_client(example)]
    assert {type(frame) for frame in taken} == {
        Send, Ack, Ping, Auth, Create, ChangeMember, ChangeRoom, MarkRead, AskList, AskHistory,
        AskMembers, AskDelivery,
    }  # fmt: skip


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
    start = PAGE.rindex(f"\n**{frame['type']}**")  # after that of a client, if there is one
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
    examples = [example for example in EXAMPLES if example.get("type") == "error"]
    others = {ErrorCode.TOO_FAST, ErrorCode.NO_SUCH_CONVERSATION}
    assert [example for example in examples if example["code"] not in others] == errors


# Where the server decides what to say.
SAYS_SO = [
    *(ROOT / "src" / "landline" / "delivery").glob("*.py"),
    *(ROOT / "src" / "landline" / "gateway").glob("*.py"),
    ROOT / "src" / "landline" / "protocol" / "client_frames.py",
]


@pytest.mark.parametrize("code", [*ErrorCode, *CloseCode], ids=repr)
def test_a_code_is_called_reserved_exactly_when_nothing_sends_it(
    code: ErrorCode | CloseCode,
) -> None:
    name = rf"\b{type(code).__name__}\.{code.name}\b"
    is_sent = any(re.search(name, path.read_text()) for path in SAYS_SO)
    assert ("(reserved" in code.means) != is_sent
