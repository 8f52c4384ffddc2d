"""What a product's backend may ask about a user's sessions, and what everybody else is told."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from landline.api.sessions import close_sessions, list_sessions
from landline.auth.principal import Principal
from landline.model import OpenSession, Revocation
from landline.protocol.client_frames import BadFrame
from landline.protocol.codes import ErrorCode
from landline.protocol.times import read_rfc3339

SERVICE, ALICE = Principal("backend", is_service=True), Principal("alice")


class Server:
    """Has two sessions of everybody, and remembers whom it was to close."""

    def __init__(self, now: str = "2026-01-01T00:00:00Z") -> None:
        self.asked: list[tuple[object, ...]] = []
        self._now_ms = read_rfc3339(now)

    async def sessions_of(self, user: str) -> Sequence[OpenSession]:
        self.asked.append((user,))
        return [
            OpenSession("ws-1", "s1", 1_767_323_045_678, "192.0.2.1", "https://chat.example"),
            OpenSession("ws-2", "s2"),
        ]

    async def revoke(self, user: str, until_ms: int | None, by: str) -> Revocation:
        self.asked.append((user, until_ms, by))
        is_later = until_ms is not None and until_ms > self._now_ms
        return Revocation(user, 7, until_ms if is_later else None)


def behind(server: Server) -> Any:
    """Return it as the server behind requests: what it lacks is not asked for."""
    return server


async def test_a_list_leaves_out_what_is_not_known() -> None:
    listed = await list_sessions(behind(Server()), SERVICE, "alice")
    assert msgspec.json.decode(msgspec.json.encode(listed)) == {
        "user": "alice",
        "sessions": [
            {
                "session": "s1",
                "server": "ws-1",
                "opened": "2026-01-02T03:04:05.678Z",
                "address": "192.0.2.1",
                "origin": "https://chat.example",
            },
            {"session": "s2", "server": "ws-2"},
        ],
    }


@pytest.mark.parametrize(
    ("until", "until_ms", "answer"),
    [
        (None, None, {"user": "alice"}),
        ("2025-12-31T23:59:59Z", 1_767_225_599_000, {"user": "alice"}),
        ("1950-01-01T00:00:00Z", 0, {"user": "alice"}),
        (
            "2026-01-02T04:04:05+01:00",
            1_767_323_045_000,
            {"user": "alice", "until": "2026-01-02T03:04:05.000Z"},
        ),
        (
            "9999-12-31T23:59:59-12:00",
            253_402_300_799_999,
            {"user": "alice", "until": "9999-12-31T23:59:59.999Z"},
        ),
    ],
)
async def test_until_is_told_where_it_is_in_force(
    until: str | None, until_ms: int | None, answer: dict[str, str]
) -> None:
    server = Server()
    closed = await close_sessions(behind(server), SERVICE, "alice", until)
    assert msgspec.json.decode(msgspec.json.encode(closed)) == answer
    assert server.asked == [("alice", until_ms, "backend")]


async def test_users_see_and_close_nobody_s_sessions_not_even_their_own() -> None:
    server = Server()
    for segment in ("alice", "bob", "%ff"):
        for asked in (
            list_sessions(behind(server), ALICE, segment),
            close_sessions(behind(server), ALICE, segment, None),
        ):
            with pytest.raises(BadFrame) as caught:
                await asked
            assert caught.value.code is ErrorCode.FORBIDDEN
    assert server.asked == []


@pytest.mark.parametrize(
    ("segment", "user"), [("%F0%9F%A6%8A", "🦊"), ("a%2Bb", "a+b"), ("a+b", "a+b"), ("%2e", ".")]
)
async def test_a_name_in_a_path_is_percent_encoded(segment: str, user: str) -> None:
    server = Server()
    assert (await close_sessions(behind(server), SERVICE, segment, None)).user == user
    assert (await list_sessions(behind(server), SERVICE, segment)).user == user
    assert {asked[0] for asked in server.asked} == {user}


@pytest.mark.parametrize(
    "segment", ["", "%ff", "%00", "a%2Fb", "a%20b", "a:b", "e%CC%81", "x" * 65]
)
async def test_what_is_no_name_is_refused(segment: str) -> None:
    server = Server()
    for asked in (
        list_sessions(behind(server), SERVICE, segment),
        close_sessions(behind(server), SERVICE, segment, None),
    ):
        with pytest.raises(BadFrame) as caught:
            await asked
        assert caught.value.code is ErrorCode.BAD_FRAME
    assert server.asked == []


@pytest.mark.parametrize("until", ["", "tomorrow", "2026-01-02", "2026-01-02T03:04:05 01:00"])
async def test_what_is_no_time_is_refused_and_closes_nobody(until: str) -> None:
    server = Server()
    with pytest.raises(BadFrame, match="RFC 3339") as caught:
        await close_sessions(behind(server), SERVICE, "alice", until)
    assert ("%2B" in caught.value.message) == (" " in until)
    assert server.asked == []
