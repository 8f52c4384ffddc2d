"""What a request about a conversation asks for, and whose view."""

import json
from typing import Any

import pytest
from starlette.requests import Request

from landline.api.conversations import read_conversations, read_mark, read_page
from landline.api.parts import acting, check_known, query_of, segment
from landline.auth.principal import Principal
from landline.protocol.client_frames import AskHistory, AskList, BadFrame, MarkRead
from landline.protocol.codes import ErrorCode, Outcome
from support.conversations import ROOM

SERVICE, ALICE = Principal("backend", is_service=True), Principal("alice")


def request(path: str = "/", query: str = "") -> Request:
    return Request(
        {
            "type": "http",
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [],
        }
    )


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_a_query_is_the_question_that_a_frame_would_be() -> None:
    assert read_conversations({}) == AskList(None, None, 100)
    assert read_conversations({"after": "7.x", "limit": "5"}) == AskList(None, "7.x", 5)
    assert read_page(ROOM, {}) == AskHistory(None, ROOM, None, None, 100)
    assert read_page(ROOM, {"before": "0"}) == AskHistory(None, ROOM, 0, None, 100)
    last = 2**63 - 1
    assert read_page(ROOM, {"after": str(last)}) == AskHistory(None, ROOM, None, last, 100)


@pytest.mark.parametrize(
    "query",
    [
        *({"limit": limit} for limit in ("", "0", "101", "-1", "1.0", "1e1", " 1", "\u0661", "x")),
        *({"before": before} for before in ("-1", str(2**63), "9" * 5_000, "")),
        {"before": "1", "after": "2"},
    ],
)
def test_what_is_no_number_of_ours_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadFrame) as caught:
        read_page(ROOM, query)
    assert (caught.value.code, caught.value.outcome) == (ErrorCode.BAD_FRAME, None)


def test_a_mark_names_its_reader_where_that_is_somebody_else() -> None:
    assert read_mark(ROOM, body(offset=7), ALICE) == ("alice", MarkRead(ROOM, 7))
    asked = body(offset=7, user="bob", conversation="dm:bob:carol")
    assert read_mark(ROOM, asked, SERVICE) == ("bob", MarkRead(ROOM, 7))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, ErrorCode.BAD_FRAME),
        ({"offset": -1}, ErrorCode.BAD_FRAME),
        ({"offset": 1.0}, ErrorCode.BAD_FRAME),
        ({"offset": True}, ErrorCode.BAD_FRAME),
        ({"offset": 1, "user": None}, ErrorCode.BAD_FRAME),
        ({"offset": 1, "user": "bob"}, ErrorCode.FORBIDDEN),
    ],
)
def test_a_mark_that_is_none_is_rejected(fields: dict[str, Any], code: ErrorCode) -> None:
    with pytest.raises(BadFrame) as caught:
        read_mark(ROOM, body(**fields), ALICE)
    assert (caught.value.code, caught.value.outcome) == (code, Outcome.REJECTED)


# Parts of a request ------------------------------------------------------------------------------


def test_names_in_a_path_are_read_as_they_were_written() -> None:
    asked = request("/v1/rooms/room%3A1/members/%F0%9F%A6%8A")
    assert (segment(asked, 3), segment(asked, 5)) == ("room:1", "🦊")
    assert segment(request("/v1/rooms/a+b%2B"), 3) == "a+b+"
    with pytest.raises(BadFrame, match="not UTF-8"):
        segment(request("/v1/rooms/%FF"), 3)


def test_a_query_is_read_strictly() -> None:
    assert query_of(request(query="user=%F0%9F%A6%8A&after=")) == {"user": "🦊", "after": ""}
    for query, why in (("user=%FF", "not UTF-8"), ("a=1&a=1", "a is given 2 times")):
        with pytest.raises(BadFrame, match=why):
            query_of(request(query=query))
    check_known({"ref": "1"}, ("ref", "retry"))
    for given, known, why in (
        ({"reff": "1"}, ("ref", "retry"), "has ref and retry at the most"),
        ({"ref": "1"}, (), "must be empty"),
    ):
        with pytest.raises(BadFrame, match=why):
            check_known(given, known)


def test_users_act_for_themselves_and_a_service_for_anybody() -> None:
    assert acting(ALICE, None, "user") == acting(ALICE, "alice", "user") == "alice"
    assert acting(SERVICE, None, "user") == "backend"
    assert acting(SERVICE, "bob", "user") == "bob"
    for principal, name, code in (
        (ALICE, "bob", ErrorCode.FORBIDDEN),
        (ALICE, "a:b", ErrorCode.FORBIDDEN),
        (SERVICE, "a:b", ErrorCode.BAD_FRAME),
        (SERVICE, "", ErrorCode.BAD_FRAME),
    ):
        with pytest.raises(BadFrame, match="user") as caught:
            acting(principal, name, "user")
        assert caught.value.code is code
