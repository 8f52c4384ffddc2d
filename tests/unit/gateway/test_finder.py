"""The lines of the finder ask the store one after the other."""

import asyncio
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from landline.delivery.decisions import Find
from landline.errors import StoreUnavailable
from landline.gateway import finder
from landline.gateway.finder import Finder
from landline.model import Appended, Position, Positions

LINES = 24


class Store:
    """Answers one at a time. Refuses who comes when too many wait."""

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


def finder_of(store: Any, delivery: Any, tasks: list[asyncio.Task[None]]) -> Finder:
    return Finder(
        event_log=SimpleNamespace(),
        store=store,
        delivery=delivery,
        spawn=lambda work: tasks.append(asyncio.create_task(work)),
        happened=lambda: None,
        repeat_seconds=0.0,
    )


@pytest.mark.parametrize("is_urgent", [False, True])
async def test_many_lines_are_no_crowd_before_the_store(is_urgent: bool) -> None:
    """A store that keeps each waiting behind all others would have no answer in time for many."""
    found: list[str] = []
    failed: list[str] = []
    tasks: list[asyncio.Task[None]] = []
    delivery: Any = SimpleNamespace(
        found=lambda flight, _stored: found.append(flight.record.message_id),
        find_failed=lambda flight, _why: failed.append(flight.record.message_id),
    )
    it = finder_of(Store(), delivery, tasks)
    for number in range(LINES):
        token: Any = SimpleNamespace(record=SimpleNamespace(message_id=str(number)))
        it.put(Find(token, {number: 1}, is_urgent=is_urgent))
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)
    assert not failed
    assert sorted(found, key=int) == [str(number) for number in range(LINES)]


async def test_who_holds_others_up_is_told_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store hangs. Who is waited for gives up soon; who waits alone goes on."""
    monkeypatch.setattr(finder, "CONFIRM_SECONDS", 0.05)
    monkeypatch.setattr(finder, "FIND_SECONDS", 60.0)
    failed: list[Any] = []
    tasks: list[asyncio.Task[None]] = []
    store = SimpleNamespace(wait_applied=lambda _target: asyncio.Event().wait())
    delivery = SimpleNamespace(find_failed=lambda flight, _why: failed.append(flight))
    it = finder_of(store, delivery, tasks)
    for kind in (False, True):
        token: Any = SimpleNamespace(record=SimpleNamespace(message_id=str(kind)))
        it.put(Find(token, {0: 1}, is_urgent=kind))
    alone, waited_for = tasks
    async with asyncio.timeout(20):
        await waited_for
    assert [flight.record.message_id for flight in failed] == ["True"]
    assert not alone.done()
    alone.cancel()
