"""The lines of repeats ask the store one after the other."""

import asyncio
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from landline.delivery.decisions import ConfirmPosition
from landline.errors import StoreUnavailable
from landline.gateway import repeats
from landline.gateway.repeats import Repeats
from landline.model import Appended, Position, Positions
from support.replays import in_virtual_time

LINES = 24


class Store:
    """Answers one at a time. Refuses a request when too many wait."""

    def __init__(self) -> None:
        self._lane = asyncio.Lock()
        self._asked = 0

    async def wait_applied(self, target: Positions) -> Positions:
        return target

    async def find(self, ids: Collection[str]) -> dict[str, Appended]:
        if self._asked > 2:
            raise StoreUnavailable("too many wait")
        self._asked += 1
        try:
            async with self._lane:
                await asyncio.sleep(0)
                return {id: Appended(Position(0, 0), 0) for id in ids}
        finally:
            self._asked -= 1


class Away:
    """A store that refuses at once."""

    async def wait_applied(self, _target: Any) -> None:
        raise StoreUnavailable("not now")


def repeats_of(store: Any, delivery: Any, tasks: list[asyncio.Task[None]]) -> Repeats:
    event_log: Any = SimpleNamespace()
    return Repeats(
        event_log=event_log,
        store=store,
        delivery=delivery,
        spawn=lambda work: tasks.append(asyncio.create_task(work)),
        happened=lambda: None,
        repeat_seconds=0.0,
    )


def confirmation(name: str, partition: int, *, is_urgent: bool) -> ConfirmPosition:
    flight: Any = SimpleNamespace(record=SimpleNamespace(message_id=name))
    return ConfirmPosition(flight, Position(partition, 0), is_urgent=is_urgent)


@pytest.mark.parametrize("is_urgent", [False, True])
async def test_many_lines_are_no_crowd_before_the_store(
    is_urgent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that keeps each waiting behind all others would have no answer in time for many."""
    monkeypatch.setattr(repeats, "CONFIRM_SECONDS", 60.0)
    monkeypatch.setattr(repeats, "FIND_SECONDS", 120.0)
    confirmed: list[str] = []
    unknown: list[str] = []
    tasks: list[asyncio.Task[None]] = []
    delivery = SimpleNamespace(
        position_confirmed=lambda flight, _stored: confirmed.append(flight.record.message_id),
        position_unknown=lambda flight, _why: unknown.append(flight.record.message_id),
    )
    it = repeats_of(Store(), delivery, tasks)
    for number in range(LINES):
        it.confirm(confirmation(str(number), number, is_urgent=is_urgent))
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)
    assert not unknown
    assert sorted(confirmed, key=int) == [str(number) for number in range(LINES)]


async def test_a_repeat_that_holds_others_up_is_told_earlier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store hangs. A repeat that others wait for gives up soon; one alone goes on."""
    monkeypatch.setattr(repeats, "CONFIRM_SECONDS", 0.05)
    monkeypatch.setattr(repeats, "FIND_SECONDS", 60.0)
    unknown: list[Any] = []
    tasks: list[asyncio.Task[None]] = []
    store = SimpleNamespace(wait_applied=lambda _target: asyncio.Event().wait())
    delivery = SimpleNamespace(
        position_unknown=lambda flight, _why: unknown.append(flight),
        may_be_known_soon=lambda _flight: False,
    )
    it = repeats_of(store, delivery, tasks)
    for is_urgent in (False, True):
        it.confirm(confirmation(str(is_urgent), 0, is_urgent=is_urgent))
    alone, waited_for = tasks
    async with asyncio.timeout(20):
        await waited_for
    assert [flight.record.message_id for flight in unknown] == ["True"]
    assert not alone.done()
    alone.cancel()


@pytest.mark.parametrize(("known_after", "told_at"), [(0.0, 0.0), (0.35, 0.4), (60.0, 3.0)])
@in_virtual_time
async def test_a_store_that_is_away_is_not_taken_at_its_word_while_senders_are_unheard(
    known_after: float, told_at: float
) -> None:
    """It says at once that it is away; who has left is known a moment later, or not at all."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    told: list[float] = []
    tasks: list[asyncio.Task[None]] = []
    delivery = SimpleNamespace(
        position_unknown=lambda _flight, _why: told.append(loop.time() - began),
        may_be_known_soon=lambda _flight: loop.time() - began < known_after,
    )
    it = repeats_of(Away(), delivery, tasks)
    it.confirm(confirmation("slow", 0, is_urgent=True))
    await asyncio.gather(*tasks)
    assert told == [pytest.approx(told_at, abs=repeats.LOOK_SECONDS)]
