"""Where the dumps of a run are read from, and what records of the log are in a history."""

from typing import Any

import orjson
import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args  # type: ignore[attr-defined]

from landline_verify.dumps.records import described
from landline_verify.dumps.store import _connect
from landline_verify.history import events as e
from landline_verify.history.recorder import digest


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
AT = (0.5, 3, 7)


@pytest.mark.parametrize(
    ("record", "event"),
    [
        (MESSAGE_1, e.MessageRecord(*AT, "m", "r-a", ("r-b",), "dm:r-a:r-b", digest("x"))),
        (MESSAGE_2, e.MessageRecord(*AT, "m", "r-a", ("r-b",), "dm:r-a:r-b", digest("x"), "phone")),
        (MESSAGE_2 | {"sender": "other"}, e.ForeignRecord(*AT)),
        (MESSAGE_2 | {"conversation": "room:1", "recipients": []}, e.ForeignRecord(*AT)),
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
        ({"v": 2, "kind": "room"}, e.ForeignRecord(*AT)),
        ({"v": 2, "kind": "member"}, e.ForeignRecord(*AT)),
        ({"v": 2, "kind": "read"}, e.ForeignRecord(*AT)),
        ({"v": 2, "kind": "typing"}, e.ForeignRecord(*AT, garbage=True)),
        ({"v": 3, "kind": "message"}, e.ForeignRecord(*AT, garbage=True)),
        ({"v": 1, "status": "SEEN"}, e.ForeignRecord(*AT, garbage=True)),
        ([], e.ForeignRecord(*AT, garbage=True)),
    ],
)  # fmt: skip
def test_records_of_both_versions_are_read(record: object, event: e.Event) -> None:
    assert described(orjson.dumps(record), *AT, prefix="r-") == event
