"""Pages and the sweep, where a mailbox cannot be read, or very much is owed."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from landline.delivery import Delivery
from landline.delivery.decisions import ReadPending
from landline.errors import StoreUnavailable
from landline.gateway import replay
from landline.gateway.replay import ANSWER_BYTES, Replay
from landline.model import Pending, PendingQuery
from landline.ports import MessageStore
from support.peer import until


class Bookkeeper:
    """In the place of the heart: notes who was answered, and has everybody swept."""

    def __init__(self, users: Sequence[str]) -> None:
        self.paged: list[str] = []
        self.swept_: list[str] = []
        self.users = list(users)

    def page(self, session: str, _pending: Pending) -> None:
        self.paged.append(session)

    def sweep(self) -> list[tuple[str, PendingQuery]]:
        return [(user, query(user)) for user in self.users]

    def swept(self, session: str, _pending: Pending) -> None:
        self.swept_.append(session)
        self.users.remove(session)
        self.users.append(session)


class Store:
    """Answers with nothing, unless a mailbox is bad or it is away."""

    def __init__(self, *bad: str, hangs: bool = False) -> None:
        self.bad = set(bad)
        self.hangs = hangs
        self.is_away = False
        self.asked: list[list[PendingQuery]] = []

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        self.asked.append(list(queries))
        await asyncio.sleep(0)
        if self.is_away or not self.bad.isdisjoint(each.mailbox for each in queries):
            if self.hangs and not self.is_away:
                await asyncio.Event().wait()
            raise StoreUnavailable("a page of the index is damaged")
        return [Pending((), True, {}) for _ in queries]


def query(mailbox: str) -> PendingQuery:
    return PendingQuery(mailbox, {}, 64)


def make(
    store: Store, users: Sequence[str] = (), *, sweeps: bool = False
) -> tuple[Replay, Bookkeeper]:
    heart = Bookkeeper(users)
    made = Replay(
        store=cast("MessageStore", store),
        delivery=cast("Delivery", heart),
        is_connected=lambda _session: True,
        happened=lambda: None,
        sweep_interval=0.02 if sweeps else 3_600.0,
    )
    return made, heart


async def while_running(made: Replay, is_so: Callable[[], bool], what: str) -> None:
    running = asyncio.create_task(made.run())
    try:
        await until(is_so, what)
    finally:
        running.cancel()
        await asyncio.wait({running})


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
    users = [f"u{number}" for number in range(100)]
    for user in users:
        made.put(ReadPending(user, query(user)))
    well = set(users) - bad
    await while_running(made, lambda: set(heart.paged) == well, "all others have a page")
    assert sorted(heart.paged) == sorted(well)


@pytest.mark.usefixtures("short")
async def test_a_bad_mailbox_is_asked_for_alone_until_it_is_well_again() -> None:
    store = Store("bad", hangs=True)
    made, heart = make(store)
    made.put(ReadPending("bad", query("bad")))
    made.put(ReadPending("good", query("good")))
    running = asyncio.create_task(made.run())
    await until(lambda: heart.paged == ["good"], "the other has its page")
    await until(lambda: store.asked[-1] == [store.asked[-1][0]], "it is asked for alone")
    asked = len(store.asked)
    for number in range(40):
        made.put(ReadPending(f"u{number}", query(f"u{number}")))
    await until(lambda: len(heart.paged) == 41, "nobody waits for it any more")
    together = [each for each in store.asked[asked:] if len(each) > 1]
    assert not any(each.mailbox == "bad" for queries in together for each in queries)
    store.bad.clear()
    await until(lambda: "bad" in heart.paged, "it has its page as well")
    running.cancel()
    await asyncio.wait({running})


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("hangs", [False, True])
async def test_a_sweep_goes_past_a_bad_mailbox(hangs: bool) -> None:
    users = [f"u{number}" for number in range(600)]
    made, heart = make(Store("u5", "u300", hangs=hangs), users, sweeps=True)
    well = set(users) - {"u5", "u300"}
    await while_running(made, lambda: set(heart.swept_) == well, "all others are swept")


async def test_a_store_that_is_away_makes_no_mailbox_bad() -> None:
    store = Store()
    made, heart = make(store)
    store.is_away = True
    for number in range(50):
        made.put(ReadPending(f"u{number}", query(f"u{number}")))
    running = asyncio.create_task(made.run())
    await until(lambda: len(store.asked) > 6, "it is asked again and again")
    store.is_away = False
    await until(lambda: len(heart.paged) == 50, "everybody has a page")
    running.cancel()
    await asyncio.wait({running})
    assert all(len(queries) > 1 or queries[0].mailbox == "" for queries in store.asked)


async def test_a_sweep_goes_on_where_the_last_one_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store stops answering in the middle of every sweep."""
    monkeypatch.setattr(replay, "SWEEP_QUERIES", 10)

    class Tired(Store):
        async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
            self.is_away = len(self.asked) % 4 >= 2
            return await super().pending(queries)

    users = [f"u{number}" for number in range(100)]
    made, heart = make(Tired(), users, sweeps=True)
    await while_running(made, lambda: set(heart.swept_) == set(users), "everybody is swept")


@pytest.mark.parametrize("count", [1, 31, 600])
@pytest.mark.parametrize("sweeps", [False, True])
async def test_an_answer_has_a_bound_in_bytes(count: int, sweeps: bool) -> None:
    """Whatever is owed: so much for all together, and one message more for each."""
    store = Store()
    users = [f"u{number}" for number in range(count)]
    made, heart = make(store, users, sweeps=sweeps)
    if not sweeps:
        for user in users:
            made.put(ReadPending(user, query(user)))
    answered: Any = heart.swept_ if sweeps else heart.paged
    await while_running(made, lambda: set(answered) == set(users), "everybody is answered")
    for queries in store.asked:
        assert sum(each.limit_bytes for each in queries) <= ANSWER_BYTES
        assert len(queries) * 16 * 1024 <= ANSWER_BYTES
