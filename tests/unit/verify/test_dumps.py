"""Where the dumps of a run are read from, and what records of the log are in a history."""

from typing import Any

import orjson
import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args  # type: ignore[attr-defined]

from landline_verify.dumps.records import described, digest_of_row
from landline_verify.dumps.store import _connect
from landline_verify.history import events as e
from landline_verify.history.recorder import digest, digest_of_member, digest_of_title


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("postgresql://h/db", [("h", 5432)]),
        ("postgresql://h:7/db", [("h", 7)]),
        ("postgresql://h/db?port=7", [("h", 7)]),
        ("postgresql://h1,h2/db?port=7,8", [("h1", 7), ("h2", 8)]),
        ("postgresql://h1,h2/db?port=7", [("h1", 7), ("h2", 7)]),
        ("postgresql:///db?host=h&port=7", [("h", 7)]),
    ],
)
async def test_the_store_is_read_where_the_servers_write_it(
    url: str, places: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver leaves out a `?port=` behind a host unless it is told."""
    given: dict[str, Any] = {}

    async def connect(dsn: str, *, port: Any = None, **_: Any) -> None:
        given.update(dsn=dsn, port=port)

    monkeypatch.delenv("PGPORT", raising=False)
    monkeypatch.setattr("asyncpg.connect", connect)
    await _connect(url)
    names = ("host", "user", "password", "passfile", "database", "ssl", "service", "servicefile")
    others = ("direct_tls", "server_settings", "target_session_attrs", "krbsrvname", "gsslib")
    found, _ = _parse_connect_dsn_and_args(**dict.fromkeys(names + others), **given)
    assert [each[:2] for each in found] == places


MESSAGE_1 = {
    "v": 1, "status": "UNDELIVERED", "message_id": "m", "ref": None, "conversation": "dm:r-a:r-b",
    "sender": "r-a", "recipients": ["r-b"], "content": "x", "created_at": "t",
}  # fmt: skip
MESSAGE_2 = MESSAGE_1 | {"v": 2, "kind": "message", "device": "phone", "data": {"a": 1}}
RECEIPT_2 = {
    "v": 2, "kind": "receipt", "status": "DELIVERED", "conversation": "dm:r-a:r-b",
    "entries": [["r-b", "phone", ["m", "n"]], ["other", None, ["m"]], ["r-a", None, ["m"]]],
    "delivered_at": "t",
}  # fmt: skip
DEVICE = {"v": 2, "kind": "device", "user": "r-a", "device": "phone", "change": "add"}
ROOM = {
    "v": 2, "kind": "room", "message_id": "m", "ref": None, "conversation": "room:1",
    "sender": "r-a", "device": "phone", "title": "Ideas", "history": "all",
    "members": ["r-a", "r-b"], "created_at": "t",
}  # fmt: skip
MEMBER = {
    "v": 2, "kind": "member", "message_id": "m", "ref": None, "conversation": "room:1",
    "sender": "r-a", "device": None, "user": "r-b", "change": "role", "role": "admin",
    "created_at": "t",
}  # fmt: skip
READ = {"v": 2, "kind": "read", "conversation": "room:1", "entries": [["r-b", 5], ["other", 3]]}
AT = (0.5, 3, 7)


@pytest.mark.parametrize(
    ("record", "event"),
    [
        (MESSAGE_1, e.MessageRecord(*AT, "m", "r-a", ("r-b",), "dm:r-a:r-b", digest("x"))),
        (MESSAGE_2, e.MessageRecord(*AT, "m", "r-a", ("r-b",), "dm:r-a:r-b", digest("x"), "phone")),
        (MESSAGE_2 | {"sender": "other"}, e.ForeignRecord(*AT)),
        (
            MESSAGE_2 | {"conversation": "room:1", "recipients": []},
            e.MessageRecord(*AT, "m", "r-a", (), "room:1", digest("x"), "phone"),
        ),
        (
            {
                "v": 1, "status": "DELIVERED", "message_ids": ["m"], "conversation": "dm:r-a:r-b",
                "recipient": "r-b", "delivered_at": "t",
            },
            e.ReceiptsRecord(*AT, (("r-b", None, ("m",)),), "dm:r-a:r-b"),
        ),
        (
            RECEIPT_2,
            e.ReceiptsRecord(
                *AT, (("r-b", "phone", ("m", "n")), ("r-a", None, ("m",))), "dm:r-a:r-b"
            ),
        ),
        (RECEIPT_2 | {"entries": [["other", None, ["m"]]]}, e.ForeignRecord(*AT)),
        (DEVICE, e.DeviceRecord(*AT, "r-a", "phone", "add")),
        (DEVICE | {"user": "other"}, e.ForeignRecord(*AT)),
        (
            ROOM,
            e.RoomRecord(
                *AT, "m", "r-a", "room:1", digest("title Ideas"), "phone", ("r-a", "r-b"), "all"
            ),
        ),
        (
            ROOM | {"title": None, "members": None, "history": None},
            e.RoomRecord(*AT, "m", "r-a", "room:1", digest("no title"), "phone"),
        ),
        (ROOM | {"sender": "other"}, e.ForeignRecord(*AT)),
        (
            MEMBER,
            e.MemberRecord(
                *AT, "m", "r-a", "room:1", digest("role r-b admin"), None, "r-b", "role", "admin"
            ),
        ),
        (MEMBER | {"sender": "other"}, e.ForeignRecord(*AT)),
        (READ, e.ReadRecord(*AT, "room:1", (("r-b", 5),))),
        (READ | {"entries": [["other", 3]]}, e.ForeignRecord(*AT)),
        ({"v": 2, "kind": "room"}, e.ForeignRecord(*AT, garbage=True)),
        ({"v": 2, "kind": "typing"}, e.ForeignRecord(*AT, garbage=True)),
        ({"v": 3, "kind": "message"}, e.ForeignRecord(*AT, garbage=True)),
        ({"v": 1, "status": "SEEN"}, e.ForeignRecord(*AT, garbage=True)),
        ([], e.ForeignRecord(*AT, garbage=True)),
    ],
)  # fmt: skip
def test_records_of_both_versions_are_read(record: object, event: e.Event) -> None:
    assert described(orjson.dumps(record), *AT, prefix="r-") == event


def test_an_event_has_one_digest_in_log_and_store() -> None:
    assert digest_of_row("message", "x", '{"a":1}') == digest("x")
    assert digest_of_row("room", "", '{"title":null}') == digest_of_title(None)
    said = '{"user":"bob","change":"add","role":"member"}'
    assert digest_of_row("member", "", said) == digest_of_member("bob", "add", "member")
