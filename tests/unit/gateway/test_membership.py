"""Which sessions the directory knows, and where the log ends for those that it knows."""

import asyncio
from collections.abc import Collection
from typing import cast

import pytest

from landline.adapters.memory import MemoryDirectory
from landline.delivery import Delivery
from landline.delivery.decisions import ReadEnds, Register, Unregister
from landline.errors import DirectoryUnavailable, LogUnavailable
from landline.gateway.membership import LOG_SECONDS, REGISTER_SECONDS, Membership
from landline.model import Positions
from landline.ports import EventLog
from support.replays import in_virtual_time
from support.waiting import running

ENDS = {0: 7, 1: 3}


class Directory(MemoryDirectory):
    """Notes what it is told. It fails, or hangs, for as long as it is told to."""

    def __init__(self) -> None:
        super().__init__({}, "ws-1/run")
        self.told: list[tuple[str, list[tuple[str, str]]]] = []
        self.hangs = self.is_away = False

    async def register(self, registrations: Collection[tuple[str, str]]) -> None:
        await self._tell("in", registrations)

    async def unregister(self, registrations: Collection[tuple[str, str]]) -> None:
        await self._tell("out", registrations)

    async def _tell(self, what: str, registrations: Collection[tuple[str, str]]) -> None:
        self.told.append((what, list(registrations)))
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise DirectoryUnavailable("not now")


class Log:
    """An event log that tells its ends, once it can."""

    def __init__(self) -> None:
        self.asked = 0
        self.hangs = self.is_away = False

    async def ends(self) -> Positions:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise LogUnavailable("no leader")
        return ENDS


class Edge:
    """The part that carries out, between its directory, its log and what the heart is told."""

    def __init__(self) -> None:
        self.directory, self.log = Directory(), Log()
        self.told: list[tuple[str, Positions | None]] = []
        self.gone: set[str] = set()
        self.membership = Membership(
            event_log=cast("EventLog", self.log),
            directory=self.directory,
            delivery=cast("Delivery", self),
            is_connected=lambda session: session not in self.gone,
            happened=lambda: None,
        )

    def entered(self, session: str) -> None:
        """See `Delivery`."""
        self.told.append((session, None))

    def registered(self, session: str, ends: Positions) -> None:
        """See `Delivery`."""
        self.told.append((session, ends))

    async def run_for(self, seconds: float) -> None:
        async with running(self.membership.run()) as task:
            await asyncio.sleep(seconds)
            assert not task.done()


@in_virtual_time
async def test_the_directory_has_taken_a_session_in_before_the_heart_is_told() -> None:
    edge = Edge()
    edge.membership.put(Register("s1", "alice"))
    edge.membership.put(Unregister("s0", "bob"))
    edge.membership.put(Register("s2", "alice"))
    await edge.run_for(0.1)
    assert edge.directory.told == [
        ("in", [("alice", "s1"), ("alice", "s2")]),
        ("out", [("bob", "s0")]),
    ]
    assert edge.told == [("s1", None), ("s2", None)]
    assert edge.log.asked == 0, "the ends are read when the heart says so"


@pytest.mark.parametrize("hangs", [True, False])
@in_virtual_time
async def test_a_directory_in_trouble_keeps_no_session_waiting(hangs: bool) -> None:
    edge = Edge()
    edge.directory.hangs, edge.directory.is_away = hangs, True
    edge.membership.put(Register("s1", "alice"))
    await edge.run_for(REGISTER_SECONDS + 0.1)
    assert edge.told == [("s1", None)]
    assert edge.membership.failures == 1


@in_virtual_time
async def test_the_ends_are_read_for_all_that_ask_together() -> None:
    edge = Edge()
    edge.gone.add("s2")
    for session in ("s1", "s2", "s3"):
        edge.membership.put(ReadEnds(session))
    await edge.run_for(0.1)
    assert edge.told == [("s1", ENDS), ("s3", ENDS)]
    assert edge.log.asked == 1


@pytest.mark.parametrize("hangs", [True, False])
@in_virtual_time
async def test_a_log_that_is_away_is_asked_until_it_answers(hangs: bool) -> None:
    edge = Edge()
    edge.log.hangs, edge.log.is_away = hangs, True
    edge.membership.put(ReadEnds("s1"))
    await edge.run_for(2 * LOG_SECONDS + 5.0)
    assert edge.log.asked >= 2
    assert edge.told == []
    edge.log.hangs = edge.log.is_away = False
    edge.membership.put(ReadEnds("s2"))
    await edge.run_for(1.0)
    assert ("s2", ENDS) in edge.told


@in_virtual_time
async def test_sessions_enter_while_others_wait_for_the_log() -> None:
    edge = Edge()
    edge.log.hangs = True
    edge.membership.put(ReadEnds("s1"))
    edge.membership.put(Register("s2", "bob"))
    await edge.run_for(1.0)
    assert edge.told == [("s2", None)]
