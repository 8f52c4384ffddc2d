"""What is old goes: in steps, never what is owed or not applied, and trouble is waited out."""

import asyncio

import pytest
from structlog.testing import capture_logs

from landline import purge
from landline.errors import StoreUnavailable
from landline.model import Position, Positions
from landline.purge import ROWS, Purge
from support.clock import Clock
from support.waiting import running, until

DAY_SECONDS = 86_400.0
DAY_MS = 86_400_000


class World:
    """A store of so many messages and a log of so many entries, all old."""

    def __init__(self, messages: int, entries: int) -> None:
        self.clock = Clock()
        self.messages, self.entries = messages, entries
        self.asked: list[tuple[str, int]] = []
        self.trouble: Exception | None = None

    async def applied(self) -> Positions:
        return {0: self.entries}

    async def purge_messages(
        self, before_ms: int, after: Position, limit: int
    ) -> tuple[int, Position | None]:
        self.asked.append(("messages", before_ms))
        if self.trouble is not None:
            raise self.trouble
        count = min(limit, self.messages - after.offset - 1)
        following = after.offset + count
        return count, Position(0, following) if following + 1 < self.messages else None

    async def purge_log(self, before_ms: int, applied_offset: int, limit: int) -> int:
        self.asked.append(("log", before_ms))
        assert applied_offset <= self.entries
        count = min(limit, self.entries)
        self.entries -= count
        return count

    def purge(self, messages: float | None, log: float | None) -> Purge:
        return Purge(
            self.clock,
            self.applied,
            messages=self.purge_messages,
            keep_messages_seconds=messages,
            entries=self.purge_log,
            keep_log_seconds=log,
        )


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "PAUSE_SECONDS", 0.0)


async def test_all_that_is_old_goes_in_steps_and_one_line_says_how_much() -> None:
    world = World(2 * ROWS + 5, ROWS + 1)
    with capture_logs() as lines:
        await world.purge(DAY_SECONDS, 2 * DAY_SECONDS).walk()
    now_ms = world.clock.wall_ms()
    assert world.asked == [
        *[("messages", now_ms - DAY_MS)] * 3,
        *[("log", now_ms - 2 * DAY_MS)] * 2,
    ]
    assert [(line["event"], line["count"]) for line in lines] == [
        ("messages_purged", 2 * ROWS + 5),
        ("log_purged", ROWS + 1),
    ]


async def test_what_is_kept_for_ever_is_not_looked_at() -> None:
    world = World(10, 10)
    await world.purge(None, None).walk()
    assert world.asked == []


async def test_trouble_is_told_and_it_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(10, 10)
    world.trouble = StoreUnavailable("away")
    with capture_logs() as lines:
        async with running(world.purge(0.02, None).run()):
            await until(lambda: any(line["event"] == "not_purged" for line in lines), "told")
            world.trouble = None
            await until(lambda: any(line["event"] == "messages_purged" for line in lines), "purged")


async def test_one_that_gets_no_answer_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(purge, "ANSWER_SECONDS", 0.01)
    world = World(10, 10)

    async def never() -> Positions:
        await asyncio.Event().wait()
        return {}

    hanging = Purge(
        world.clock,
        never,
        messages=world.purge_messages,
        keep_messages_seconds=None,
        entries=world.purge_log,
        keep_log_seconds=1.0,
    )
    with pytest.raises(TimeoutError):
        await hanging.walk()
