"""Which sessions a user has."""

from typing import Any

import pytest

from landline.adapters.memory import MemoryDirectory, Registry
from landline.errors import DirectoryUnavailable
from landline.gateway.sessions import Sessions
from landline.model import OpenSession
from support.bench import make_heart
from support.clock import Clock


class Line:
    """A connection, as far as it is shown."""

    def __init__(self, **facts: str) -> None:
        self.facts = facts
        self.opened_at = 990.0


def make_sessions(directory: MemoryDirectory, **lines: Line) -> Sessions:
    """Return them for alice, who has these connections."""
    clock = Clock()
    heart = make_heart(clock)
    for id in lines:
        heart.connect(id, "alice", auto_ack=False)
    connections: Any = lines
    return Sessions(heart, directory, connections, clock)


async def test_sessions_here_have_their_facts_and_those_elsewhere_their_server() -> None:
    registry: Registry = {}
    here, there = MemoryDirectory(registry, "ws-1/a"), MemoryDirectory(registry, "ws-2/b")
    await here.register([("alice", "phone"), ("alice", "web")])
    await there.register([("alice", "tablet"), ("bob", "phone")])
    sessions = make_sessions(
        here,
        phone=Line(peer="192.0.2.1"),
        web=Line(peer="192.0.2.2", origin="https://chat.example"),
    )
    assert await sessions.of("alice") == [
        OpenSession("ws-1", "phone", 990_000, "192.0.2.1", None),
        OpenSession("ws-1", "web", 990_000, "192.0.2.2", "https://chat.example"),
        OpenSession("ws-2", "tablet"),
    ]
    assert await sessions.of("carol") == []


async def test_a_list_that_may_lack_somebody_is_no_answer() -> None:
    alone = MemoryDirectory({}, "ws-1/a", has_all=False)
    with pytest.raises(DirectoryUnavailable, match="--redis"):
        await make_sessions(alone, phone=Line(peer="192.0.2.1")).of("alice")
