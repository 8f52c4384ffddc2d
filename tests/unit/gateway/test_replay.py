"""Pages and the sweep, where a mailbox cannot be read, or very much is owed."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from landline.delivery.decisions import AwaitApplied
from landline.gateway import replay
from landline.gateway.replay import ANSWER_BYTES, Replay
from landline.model import Pending, PendingQuery, Positions
from support.replays import Store, ask_for, make, names
from support.waiting import go_round, running, until


async def while_running(made: Replay, is_so: Callable[[], bool], what: str) -> None:
    async with running(made.run()):
        await until(is_so, what)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up soon, so that the test is short."""
    monkeypatch.setattr(replay, "STORE_SECONDS", 0.2)
    monkeypatch.setattr(replay, "PART_SECONDS", 0.1)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("bad", [{"u7"}, {"u0", "u31"}, {"u3", "u4", "u40", "u99"}])
async def test_a_bad_mailbox_keeps_nobody_else_waiting(bad: set[str], hangs: bool) -> None:
    store = Store(*bad, hangs=hangs)
    made, heart = make(store)
    users = names(100)
    ask_for(made, *users)
    well = set(users) - bad
    await while_running(made, lambda: set(heart.paged) == well, "all others have a page")
    assert sorted(heart.paged) == sorted(well)


@pytest.mark.usefixtures("short")
async def test_a_bad_mailbox_is_asked_for_alone_until_it_is_well_again() -> None:
    store = Store("bad", hangs=True)
    made, heart = make(store)
    ask_for(made, "bad", "good")
    async with running(made.run()):
        await until(lambda: heart.paged == ["good"], "the other has its page")
        await until(lambda: store.asked[-1] == [store.asked[-1][0]], "it is asked for alone")
        asked = len(store.asked)
        ask_for(made, *names(40))
        await until(lambda: len(heart.paged) == 41, "nobody waits for it any more")
        together = [each for each in store.asked[asked:] if len(each) > 1]
        assert not any(each.mailbox.user == "bad" for queries in together for each in queries)
        store.bad.clear()
        await until(lambda: "bad" in heart.paged, "it has its page as well")


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("hangs", [False, True])
async def test_a_sweep_goes_past_a_bad_mailbox(hangs: bool) -> None:
    users = names(600)
    made, heart = make(Store("u5", "u300", hangs=hangs), users, sweeps=True)
    well = set(users) - {"u5", "u300"}
    await while_running(made, lambda: set(heart.swept) == well, "all others are swept")


async def test_a_store_that_is_away_makes_no_mailbox_bad() -> None:
    store = Store()
    made, heart = make(store)
    store.is_away = True
    ask_for(made, *names(50))
    async with running(made.run()):
        await until(lambda: len(store.asked) > 6, "it is asked again and again")
        store.is_away = False
        await until(lambda: len(heart.paged) == 50, "everybody has a page")
    assert all(len(queries) > 1 or queries[0].mailbox.user == "" for queries in store.asked)


async def test_a_sweep_goes_on_where_the_last_one_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store stops answering in the middle of every sweep."""
    monkeypatch.setattr(replay, "SWEEP_QUERIES", 10)

    class Tired(Store):
        async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
            self.is_away = len(self.asked) % 4 >= 2
            return await super().pending(queries)

    users = names(100)
    made, heart = make(Tired(), users, sweeps=True)
    await while_running(made, lambda: set(heart.swept) == set(users), "everybody is swept")


@pytest.mark.parametrize("count", [1, 31, 600])
@pytest.mark.parametrize("sweeps", [False, True])
async def test_an_answer_has_a_bound_in_bytes(count: int, sweeps: bool) -> None:
    """Whatever is owed: so much for all together, and one message more for each."""
    store = Store()
    users = names(count)
    made, heart = make(store, users, sweeps=sweeps)
    if not sweeps:
        ask_for(made, *users)
    answered: Any = heart.swept if sweeps else heart.paged
    await while_running(made, lambda: set(answered) == set(users), "everybody is answered")
    for queries in store.asked:
        assert sum(each.limit_bytes for each in queries) <= ANSWER_BYTES
        assert len(queries) * 16 * 1024 <= ANSWER_BYTES


class Behind(Store):
    """Has not applied yet what anybody waits for. `waits` are those that wait, `given_up` those
    that were cancelled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits = self.given_up = 0

    async def wait_applied(self, _target: Positions) -> Positions:
        self.waits += 1
        try:
            return await asyncio.Future()
        except asyncio.CancelledError:
            self.given_up += 1
            raise


async def test_nothing_waits_for_a_session_that_is_gone() -> None:
    store = Behind()
    made, _heart = make(store, gone=["gone"])
    before = asyncio.all_tasks()
    made.await_applied(AwaitApplied("gone", {0: 1}))
    assert asyncio.all_tasks() == before
    await go_round(3)
    assert store.waits == 0


async def test_a_wait_ends_with_its_session() -> None:
    store = Behind()
    made, _heart = make(store)
    before = asyncio.all_tasks()
    made.await_applied(AwaitApplied("alice", {0: 1}))
    await until(lambda: store.waits == 1, "the session waits")
    made.forget("alice")
    made.forget("alice")  # a second time there is nothing to end
    await until(lambda: asyncio.all_tasks() == before, "the wait has ended")
    assert store.given_up == 1
