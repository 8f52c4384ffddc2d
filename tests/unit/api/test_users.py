"""A user is no more, as the product's backend says."""

from typing import Any

import msgspec
import pytest

from landline.api.users import end_user
from landline.auth.principal import Principal
from landline.protocol.client_frames import BadFrame
from landline.protocol.codes import ErrorCode

SERVICE, ALICE = Principal("backend", is_service=True), Principal("alice")


class Server:
    """Ends whom it is told to, and remembers them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None]] = []

    async def end_user(
        self, _principal: Principal, user: str, until_ms: int | None
    ) -> tuple[int | None, int, int]:
        self.asked.append((user, until_ms))
        return until_ms, 2, 1


def behind(server: Server) -> Any:
    """Return it as the server behind requests: what it lacks is not asked for."""
    return server


async def test_what_has_ended_is_told() -> None:
    server = Server()
    ended = await end_user(behind(server), SERVICE, "%F0%9F%A6%8A", None)
    assert msgspec.to_builtins(ended) == {"user": "🦊", "rooms": 2, "devices": 1}
    ended = await end_user(behind(server), SERVICE, "bob", "2026-01-02T03:04:05Z")
    assert ended.until == "2026-01-02T03:04:05.000Z"
    assert server.asked == [("🦊", None), ("bob", 1_767_323_045_000)]


@pytest.mark.parametrize(
    ("principal", "segment", "until", "others", "code"),
    [
        (ALICE, "alice", None, (), ErrorCode.FORBIDDEN),
        (SERVICE, "a:b", None, (), ErrorCode.BAD_FRAME),
        (SERVICE, "%ff", None, (), ErrorCode.BAD_FRAME),
        (SERVICE, "bob", "soon", (), ErrorCode.BAD_FRAME),
        (SERVICE, "bob", None, ("name",), ErrorCode.BAD_FRAME),
        (SERVICE, "bob", None, ("a body",), ErrorCode.BAD_FRAME),
    ],
)
async def test_what_is_not_sound_ends_nobody(
    principal: Principal, segment: str, until: str | None, others: tuple[str, ...], code: ErrorCode
) -> None:
    server = Server()
    with pytest.raises(BadFrame) as caught:
        await end_user(behind(server), principal, segment, until, others=others)
    assert caught.value.code is code
    assert ("messages stay" in caught.value.message) == ("name" in others)
    assert server.asked == []
