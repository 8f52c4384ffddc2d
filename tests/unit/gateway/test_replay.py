"""Pages and the sweep, where a mailbox cannot be read, or very much is owed."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from itertools import pairwise
from typing import Any, cast

import pytest

from landline.adapters.postgres.message_store import REPLAY_LANES
from landline.delivery import Delivery
from landline.delivery.decisions import ReadPending
from landline.errors import StoreUnavailable
from landline.gateway import apart, replay
from landline.gateway.replay import ANSWER_BYTES, Replay
from landline.model import Pending, PendingQuery
from landline.ports import MessageStore
from simulation.loop import SimulatedLoop
from support.peer import until


class Bookkeeper:
    """In the place of the heart: notes who was answered, and has everybody swept."""

    def __init__(self, users: Sequence[str]) -> None:
        self.paged: list[str] = []
        self.swept: list[str] = []
        self._sweeping: list[PendingQuery] = []
        self.users = list(users)

    def page(self, session: str, asked: PendingQuery, _pending: Pending) -> None:
        if not any(asked is each for each in self._sweeping):
            self.paged.append(session)
            return
        self.swept.append(session)
        self.users.remove(session)
        self.users.append(session)

    def sweep(self) -> list[ReadPending]:
        swept = [
            ReadPending(user, query(user.partition("#")[0]), is_sweep=True) for user in self.users
        ]
        self._sweeping += [each.query for each in swept]
        return swept


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
    store: Store,
    users: Sequence[str] = (),
    *,
    sweeps: bool = False,
    interval: float = 0.02,
    gone: Sequence[str] = (),
) -> tuple[Replay, Bookkeeper]:
    heart = Bookkeeper(users)
    made = Replay(
        store=cast("MessageStore", store),
        delivery=cast("Delivery", heart),
        is_connected=lambda session: session not in gone,
        spawn=asyncio.create_task,
        happened=lambda: None,
        sweep_interval=interval if sweeps else 3_600.0,
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
    await while_running(made, lambda: set(heart.swept) == well, "all others are swept")


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
    await while_running(made, lambda: set(heart.swept) == set(users), "everybody is swept")


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
    answered: Any = heart.swept if sweeps else heart.paged
    await while_running(made, lambda: set(answered) == set(users), "everybody is answered")
    for queries in store.asked:
        assert sum(each.limit_bytes for each in queries) <= ANSWER_BYTES
        assert len(queries) * 16 * 1024 <= ANSWER_BYTES


# In virtual time: with the seconds as they are ---------------------------------------------------


class Timed(Store):
    """Each mailbox takes its own time; what takes longer than PostgreSQL is given fails.

    `seconds` are those of the mailboxes that are not quick.
    """

    GIVEN = 8.0

    def __init__(self, **seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.now = self.peak = 0

    async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
        self.asked.append(list(queries))
        self.now += 1
        self.peak = max(self.peak, self.now)
        seconds = max(self.seconds.get(each.mailbox, 0.001) for each in queries)
        try:
            await asyncio.sleep(min(seconds, self.GIVEN))
        finally:
            self.now -= 1
        if seconds > self.GIVEN:
            raise StoreUnavailable("PostgreSQL does not answer in time")
        return [Pending((), True, {}) for _ in queries]


HANGS = 3_600.0


def in_virtual_time(main: Coroutine[Any, Any, None], seed: int = 1) -> None:
    """Run it; what takes minutes is over at once. A task that is left fails it."""
    SimulatedLoop(random.Random(seed)).run(main)


async def run_for(made: Replay, seconds: float) -> None:
    running = asyncio.create_task(made.run())
    await asyncio.sleep(seconds)
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})


def names(count: int) -> list[str]:
    return [f"u{number}" for number in range(count)]


def ask_for(made: Replay, *sessions: str) -> None:
    for session in sessions:
        made.put(ReadPending(session, query(session.partition("#")[0])))


@pytest.mark.parametrize("bad", [["bad"], names(8)])
@pytest.mark.parametrize("sessions", [1, 8])
def test_bad_mailboxes_do_not_delay_the_sweep_of_others(bad: list[str], sessions: int) -> None:
    """They are known by the third sweep."""

    async def main() -> None:
        users = [f"{name}#{number}" for name in bad for number in range(sessions)]
        store = Timed(**dict.fromkeys(bad, HANGS))
        made, heart = make(store, [*users, "well"], sweeps=True, interval=10.0)
        loop = asyncio.get_running_loop()
        at: list[float] = []

        class Watch(list[str]):
            def append(self, session: str) -> None:
                if session == "well":
                    at.append(loop.time())

        heart.swept = Watch()
        await run_for(made, 300.0)
        gaps = [later - before for before, later in pairwise(at[2:])]
        assert len(gaps) > 20
        assert max(gaps) < 11.5

    in_virtual_time(main())


@pytest.mark.parametrize(("others", "seconds"), [(["bad"], 40.0), (names(50), 90.0)])
def test_a_mailbox_that_is_well_again_is_sweptalthough_others_are_not(
    others: list[str], seconds: float
) -> None:
    async def main() -> None:
        bad = [f"{name}#{number}" for name in others for number in range(8)]
        store = Timed(**dict.fromkeys([*others, "other"], HANGS))
        made, heart = make(store, [*bad, "other", "well"], sweeps=True, interval=10.0)
        running = asyncio.create_task(made.run())
        await asyncio.sleep(100.0)
        assert "other" not in heart.swept
        del store.seconds["other"]
        await asyncio.sleep(seconds)
        assert "other" in heart.swept
        before = heart.swept.count("other")
        await asyncio.sleep(100.0)
        assert heart.swept.count("other") >= before + 7
        running.cancel()
        await asyncio.wait({running})

    in_virtual_time(main())


@pytest.mark.parametrize(("bad", "seconds"), [(1, 13.0), (8, 22.0)])
@pytest.mark.parametrize("seed", range(5))
def test_who_is_in_a_request_with_bad_mailboxes_waits_for_one_deadline_at_the_most(
    bad: int, seconds: float, seed: int
) -> None:
    async def main() -> None:
        users = names(32)
        ill = random.Random(seed).sample(users, bad)
        made, heart = make(Timed(**dict.fromkeys(ill, HANGS)))
        ask_for(made, *users)
        await run_for(made, seconds)
        assert sorted(heart.paged) == sorted(set(users) - set(ill))

    in_virtual_time(main(), seed)


def test_a_part_has_its_answers_while_others_are_still_divided() -> None:
    async def main() -> None:
        store = Timed(u0=HANGS)
        made, heart = make(store)
        ask_for(made, *names(32))
        await run_for(made, Timed.GIVEN + 1.5)
        assert set(names(32)[16:]) <= set(heart.paged)

    in_virtual_time(main())


def test_a_sweep_where_every_other_mailbox_is_bad_ends() -> None:
    """One by one they would be looked for all night; those of the next request wait as long."""

    async def main() -> None:
        store = Timed(**dict.fromkeys(names(256)[::2], HANGS))
        made, heart = make(store, [*names(256), "well"], sweeps=True, interval=10.0)
        await run_for(made, 30.0)
        assert "well" in heart.swept

    in_virtual_time(main())


def test_a_slow_mailbox_is_answered_and_delays_others_once() -> None:
    """Together with others it takes a second, or eight, every time."""

    async def main() -> None:
        store = Timed(slow=5.0, bad=HANGS)
        made, heart = make(store)
        ask_for(made, *names(10), "bad", "slow")
        running = asyncio.create_task(made.run())
        for round_ in range(1, 4):
            await asyncio.sleep(80.0)  # longer than it is remembered after a quick answer
            assert heart.paged.count("slow") == round_
            asked = len(store.asked)
            ask_for(made, "slow", *names(10))
            await asyncio.sleep(0.1)
            together = [each for each in store.asked[asked:] if len(each) > 1]
            assert together
            assert all(each.mailbox != "slow" for part in together for each in part)
            assert heart.paged.count("u0") == round_ + 1
        del store.seconds["slow"]
        await asyncio.sleep(20.0)
        ask_for(made, "slow")  # it is quick
        await asyncio.sleep(80.0)
        ask_for(made, "slow")  # still by itself, for the last time
        await asyncio.sleep(1.0)
        asked = len(store.asked)
        ask_for(made, "slow", "u1")
        await asyncio.sleep(1.0)
        assert [len(each) for each in store.asked[asked:] if each[0].mailbox != "bad"] == [2]
        running.cancel()
        await asyncio.wait({running})

    in_virtual_time(main())


def test_a_bad_mailbox_is_not_asked_for_when_its_sessions_have_left() -> None:
    async def main() -> None:
        store = Timed(bad=HANGS)
        gone: list[str] = []
        made, heart = make(store, gone=gone)
        ask_for(made, "bad#1", "bad#2", "u1")
        running = asyncio.create_task(made.run())
        await asyncio.sleep(60.0)
        assert heart.paged == ["u1"]
        gone += ["bad#1", "bad#2"]
        made.forget_gone(0)
        await asyncio.sleep(20.0)  # what was under way
        asked = len(store.asked)
        await asyncio.sleep(100.0)
        assert len(store.asked) == asked
        running.cancel()
        await asyncio.wait({running})

    in_virtual_time(main())


def test_so_many_bad_mailboxes_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that sessions wait for, and the last ones of all others."""
    monkeypatch.setattr(apart, "REMEMBERED", 20)

    async def main() -> None:
        gone: list[str] = []
        bad = names(100)
        made, _ = make(Timed(**dict.fromkeys(bad, HANGS)), gone=gone)
        running = asyncio.create_task(made.run())
        for user in bad:
            ask_for(made, user)
            await asyncio.sleep(10.0)
            gone.append(user)
            made.forget_gone(0)
        assert len(made._apart._mailboxes) <= 22  # some are being asked for
        running.cancel()
        await asyncio.wait({running})

    in_virtual_time(main())


@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("moment", [0.1, 4.0, 8.5, 9.5, 11.0, 12.5, 14.0])
def test_a_page_is_answered_whatever_a_sweep_does_that_began_before(
    moment: float, other: bool
) -> None:
    """Who waits for a page is swept no more: an answer to the sweep in its place strands it."""

    async def main() -> None:
        store = Timed(bob=HANGS)
        made, heart = make(store, [*names(30), "bob", *names(60)[30:]], sweeps=True, interval=1.0)
        running = asyncio.create_task(made.run())
        while not store.asked:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.01)
        heart.sweep = list  # type: ignore[method-assign]
        if other:  # by which the mailbox is known to be bad before the sweep finds it
            ask_for(made, "bob#2")
        await asyncio.sleep(moment)
        ask_for(made, "bob")
        await asyncio.sleep(30.0)
        assert "bob" not in heart.paged
        del store.seconds["bob"]
        await asyncio.sleep(apart.LAST_RETRY_SECONDS * 3)
        assert heart.paged.count("bob") == 1
        running.cancel()
        await asyncio.wait({running})

    in_virtual_time(main())


@pytest.mark.parametrize("is_asked", [True, False])
async def test_a_session_waits_for_its_page_rather_than_for_the_sweep(is_asked: bool) -> None:
    waiting = apart.Apart(lambda _session: True)
    page = ReadPending("bob", query("bob"))
    sweep = ReadPending("bob", query("bob"), is_sweep=True)
    waiting.put(sweep)
    waiting.put(page)
    if is_asked:
        mailbox, wanted = await waiting.take(waiting.quick)
        assert wanted == page
        waiting.put(sweep)
        waiting.failed(mailbox, wanted, needs_time=False)
    waiting.put(sweep)
    async with asyncio.timeout(10):
        assert (await waiting.take(waiting.quick))[1] == page
    assert len(waiting) == 0


def test_a_session_is_answered_although_another_one_of_its_mailbox_never_is() -> None:
    """What is damaged is behind the cursor of the one, and ahead of the other's."""

    class Damaged(Timed):
        async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
            if any(each.mailbox == "bad" and not each.after for each in queries):
                await super().pending(queries)
                raise StoreUnavailable("a page of the index is damaged")
            return await super().pending(queries)

    async def main() -> None:
        made, heart = make(Damaged())
        for session in ("old1", "old2"):
            made.put(ReadPending(session, query("bad")))
        made.put(ReadPending("new", query("bad")._replace(after={0: 7})))
        await run_for(made, 60.0)
        assert heart.paged == ["new"]

    in_virtual_time(main())


def test_postgresql_has_a_lane_for_each_request_at_once() -> None:
    """A probe that finds none, because all hang, would say that the store answers nobody."""

    async def main() -> None:
        store = Timed(**{f"bad{number}": HANGS for number in range(20)})
        made, _ = make(store, [*names(20), *(f"bad{n}" for n in range(5))], sweeps=True, interval=1)
        running = asyncio.create_task(made.run())
        for number in range(5, 20):
            ask_for(made, *(f"v{number}-{each}" for each in range(40)), f"bad{number}")
            await asyncio.sleep(2.0)
        running.cancel()
        await asyncio.wait({running})
        assert store.peak == REPLAY_LANES

    in_virtual_time(main())
