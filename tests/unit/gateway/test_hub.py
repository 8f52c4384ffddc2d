"""The hub, where what it asks for fails."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

from landline.adapters.clock import SystemClock
from landline.adapters.memory import MemoryDirectory, MemoryRoutingBus
from landline.adapters.sqlite import Database, SqliteEventLog, SqliteMessageStore
from landline.delivery import Delivery
from landline.delivery.decisions import AwaitApplied, Register, Unregister
from landline.errors import DirectoryUnavailable
from landline.gateway.hub import Hub
from landline.model import Positions


class Away(MemoryDirectory):
    """Takes nobody in, and remembers who left."""

    def __init__(self) -> None:
        super().__init__({}, "ws-1/run")
        self.left: list[tuple[str, str]] = []

    async def register(self, entries: Collection[tuple[str, str]]) -> None:
        raise DirectoryUnavailable("not now")

    async def unregister(self, entries: Collection[tuple[str, str]]) -> None:
        self.left += entries


class Stuck(SqliteMessageStore):
    """One partition is not applied, for whatever reason."""

    async def wait_applied(self, target: Positions) -> Positions:
        await asyncio.Event().wait()
        return target


def make_hub(database: Database, directory: MemoryDirectory, **options: Any) -> Hub:
    """Return a hub with a sweep every 10 ms."""
    event_log, clock = SqliteEventLog(database), SystemClock()
    parts: dict[str, Any] = {
        "delivery": Delivery(
            clock=clock,
            new_id=lambda: "",
            server_id="ws-1",
            durability=event_log.durability,
            ack_timeout=60.0,
        ),
        "store": SqliteMessageStore(database),
    }
    return Hub(
        clock=clock,
        event_log=event_log,
        directory=directory,
        bus=MemoryRoutingBus({}, "ws-1/run"),
        sweep_interval=0.01,
        repeat_seconds=0.0,
        **{**parts, **options},
    )


async def test_who_leaves_is_told_though_who_comes_was_not(tmp_path: Path) -> None:
    """A directory asserts what it was told: a session it never heard the end of would stay."""
    database, directory = Database(tmp_path, lambda _why: None), Away()
    hub = make_hub(database, directory)
    await hub._keep_directory([Register("s2", "alice"), Unregister("s1", "bob")])
    assert directory.left == [("bob", "s1")]
    await database.close()


async def test_a_session_does_not_wait_for_ever_for_a_partition_that_is_stuck(
    tmp_path: Path,
) -> None:
    """F64: it reads what there is of the others, and waits again."""
    database = Database(tmp_path, lambda _why: None)
    hub = make_hub(database, Away(), store=Stuck(database))
    async with asyncio.timeout(20):
        await hub._wait_applied(AwaitApplied("s1", {0: 5}))
    await database.close()
