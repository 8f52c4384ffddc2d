"""The retention watch over a log and a store that say what they are told to say."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from landline import retention
from landline.errors import LogLost, LogUnavailable, StoreUnavailable
from landline.model import Positions
from landline.observability.metrics import series
from landline.retention import REFUSAL, RetentionWatch
from support.waiting import running, until


class World:
    """One partition: `end` of the log, `applied` of it, and how much of it has which age."""

    def __init__(self) -> None:
        self.end = 100
        self.stored = 100
        self.half_aged = 0
        self.nearly_gone = 0
        self.trouble: Exception | None = None
        self.looks = 0
        self.told: list[str | None] = []
        self.breach: str | None = None
        self.watch = RetentionWatch(
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.told.append,
            lambda: self.breach,
        )

    async def applied(self) -> Positions:
        self.looks += 1
        if isinstance(self.trouble, StoreUnavailable):
            raise self.trouble
        return {0: self.stored}

    async def ends(self) -> Positions:
        if self.trouble is not None and not isinstance(self.trouble, StoreUnavailable):
            raise self.trouble
        return {0: self.end}

    async def aged(self, share: float) -> Positions:
        return {0: {0.5: self.half_aged, 0.8: self.nearly_gone}[share]}

    async def look(self) -> None:
        """Wait until it has looked at what is now."""
        looks = self.looks + 2
        await until(lambda: self.looks >= looks, "it looks")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(retention, "RETENTION_WATCH_SECONDS", 0.001)
    made = World()
    async with running(made.watch.run()):
        yield made


async def test_a_writer_that_keeps_up_is_not_mentioned(world: World) -> None:
    """Old records are fine where they are applied."""
    world.half_aged = world.nearly_gone = 100
    with capture_logs() as lines:
        await world.look()
    assert (lines, world.told, world.watch.health()) == ([], [], None)
    assert world.watch.measure() == {series("landline_writer_lag_entries"): 0}


async def test_half_of_the_time_is_a_warning_once(world: World) -> None:
    with capture_logs() as lines:
        world.stored, world.half_aged = 40, 41
        await world.look()
        await world.look()
    assert [(line["event"], line["lag_entries"]) for line in lines] == [("writer_is_late", 60)]
    assert "50%" in lines[0]["advice"]
    assert (world.told, world.watch.health()) == ([], None)
    assert world.watch.measure() == {series("landline_writer_lag_entries"): 60}


async def test_four_fifths_refuse_sends_until_it_has_caught_up(world: World) -> None:
    """F25: before anything that is not stored can be deleted."""
    world.stored, world.half_aged, world.nearly_gone = 40, 60, 41
    await world.look()
    await world.look()
    assert world.told == [REFUSAL]
    assert world.watch.health() == REFUSAL
    world.stored = 41  # what is nearly gone is stored
    await world.look()
    assert world.told == [REFUSAL, None]
    assert world.watch.health() is None


@pytest.mark.parametrize(
    "trouble", [StoreUnavailable("away"), LogUnavailable("away"), TimeoutError()]
)
async def test_what_was_found_last_holds_while_nobody_answers(
    world: World, trouble: Exception
) -> None:
    world.stored, world.nearly_gone = 40, 41
    await world.look()
    world.trouble, world.stored = trouble, 100
    await world.look()
    assert world.told == [REFUSAL]
    world.trouble = None
    await world.look()
    assert world.told == [REFUSAL, None]


async def test_the_log_gets_older_while_the_store_is_away(world: World) -> None:
    """F25, as it happens: what no store has applied must not be deleted."""
    world.stored = 40
    await world.look()
    world.trouble = StoreUnavailable("away")
    world.nearly_gone = 41
    await until(lambda: world.told == [REFUSAL], "sends are refused")
    world.trouble, world.stored = None, 100
    await until(lambda: world.told == [REFUSAL, None], "sends are taken again")


@pytest.mark.parametrize("trouble", [None, StoreUnavailable("away"), LogUnavailable("away")])
async def test_a_breach_refuses_sends_whatever_answers(
    world: World, trouble: Exception | None
) -> None:
    """Settings that were changed for the worse, and put right again."""
    await world.look()
    world.trouble, world.breach = trouble, "unclean elections"
    await until(lambda: world.told == ["unclean elections"], "sends are refused")
    world.breach = None
    await until(lambda: world.told == ["unclean elections", None], "sends are taken again")
    assert world.watch.health() is None


async def test_behind_a_breach_the_age_still_counts(world: World) -> None:
    world.breach = "unclean elections"
    world.stored, world.nearly_gone = 40, 41
    await until(lambda: world.watch.health() == REFUSAL, "it is late too")
    assert world.told == ["unclean elections"]
    world.breach = None
    await until(lambda: world.told == ["unclean elections", REFUSAL], "the other reason is told")


async def test_a_log_that_ends_below_what_was_applied_three_times_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F26. A leader that was elected a moment ago may say so once or twice."""
    monkeypatch.setattr(retention, "RETENTION_WATCH_SECONDS", 0)
    world = World()
    world.end = 99
    for _ in range(2):
        await world.watch._look()
    world.end = 100
    await world.watch._look()
    world.end = 99
    with pytest.raises(LogLost, match="partition 0 ends at 99, but 100 was applied"):
        await world.watch.run()
    assert world.looks == 6
