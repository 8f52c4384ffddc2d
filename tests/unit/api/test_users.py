"""A user is no more, as the product's backend says."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from landline.api.users import end_user, name_of_nobody
from landline.auth.principal import Principal
from landline.protocol.client_frames import BadFrame
from landline.protocol.codes import ErrorCode
from landline.protocol.identity import check_user_name

SERVICE, ALICE = Principal("backend", is_service=True), Principal("alice")


class Server:
    """Ends whom it is told to, and remembers them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int | None]] = []

    async def end_user(
        self, _principal: Principal, user: str, name: str, until_ms: int | None
    ) -> tuple[int | None, int, int]:
        self.asked.append((user, name, until_ms))
        return until_ms, 2, 1


def behind(server: Server) -> Any:
    """Return it as the server behind requests: what it lacks is not asked for."""
    return server


async def test_what_has_ended_is_told() -> None:
    server = Server()
    ended = await end_user(behind(server), SERVICE, "%F0%9F%A6%8A", {"name": "fox"})
    assert msgspec.to_builtins(ended) == {"user": "🦊", "name": "fox", "rooms": 2, "devices": 1}
    ended = await end_user(behind(server), SERVICE, "bob", {"until": "2026-01-02T03:04:05Z"})
    assert ended.until == "2026-01-02T03:04:05.000Z"
    assert server.asked == [("🦊", "fox", None), ("bob", ended.name, 1_767_323_045_000)]


async def test_who_is_no_more_has_a_name_that_is_always_the_same_and_nobody_elses() -> None:
    names = [name_of_nobody(user) for user in ("alice", "bob", "alice", "x" * 64)]
    assert len(set(names)) == 3
    assert all(check_user_name(name).startswith("deleted-") for name in names)
    assert not [name for name in names if "alice" in name]


@pytest.mark.parametrize(
    ("principal", "segment", "query", "code"),
    [
        (ALICE, "alice", {}, ErrorCode.FORBIDDEN),
        (SERVICE, "a:b", {}, ErrorCode.BAD_FRAME),
        (SERVICE, "%ff", {}, ErrorCode.BAD_FRAME),
        (SERVICE, "bob", {"until": "soon"}, ErrorCode.BAD_FRAME),
        (SERVICE, "bob", {"name": ""}, ErrorCode.BAD_FRAME),
        (SERVICE, "bob", {"name": "no body"}, ErrorCode.BAD_FRAME),
        (SERVICE, "bob", {"name": "a:b"}, ErrorCode.BAD_FRAME),
        (SERVICE, "bob", {"name": "x" * 65}, ErrorCode.BAD_FRAME),
        (SERVICE, "bob", {"named": "nobody"}, ErrorCode.BAD_FRAME),
    ],
)
async def test_what_is_not_sound_ends_nobody(
    principal: Principal, segment: str, query: Mapping[str, str], code: ErrorCode
) -> None:
    server = Server()
    with pytest.raises(BadFrame) as caught:
        await end_user(behind(server), principal, segment, query)
    assert caught.value.code is code
    assert server.asked == []
