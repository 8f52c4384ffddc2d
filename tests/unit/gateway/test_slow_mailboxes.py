"""Mailboxes that are asked for by themselves, in virtual time: with the seconds as they are."""

import asyncio
import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from landline.adapters.postgres.message_store import REPLAY_LANES
from landline.delivery.decisions import ReadPending
from landline.errors import StoreUnavailable
from landline.gateway import slow_mailboxes
from landline.model import Pending, PendingQuery
from support.replays import HANGS, Timed, ask_for, in_virtual_time, make, names, query, run_for
from support.waiting import running


@pytest.mark.parametrize("bad", [["bad"], names(8)])
@pytest.mark.parametrize("sessions", [1, 8])
@in_virtual_time
async def test_bad_mailboxes_do_not_delay_the_sweep_of_others(
    bad: list[str], sessions: int
) -> None:
    """They are known by the third sweep."""
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


@pytest.mark.parametrize(("others", "seconds"), [(["bad"], 40.0), (names(50), 90.0)])
@in_virtual_time
async def test_a_mailbox_that_is_well_again_is_swept_although_others_are_not(
    others: list[str], seconds: float
) -> None:
    bad = [f"{name}#{number}" for name in others for number in range(8)]
    store = Timed(**dict.fromkeys([*others, "other"], HANGS))
    made, heart = make(store, [*bad, "other", "well"], sweeps=True, interval=10.0)
    async with running(made.run()):
        await asyncio.sleep(100.0)
        assert "other" not in heart.swept
        del store.seconds["other"]
        await asyncio.sleep(seconds)
        assert "other" in heart.swept
        before = heart.swept.count("other")
        await asyncio.sleep(100.0)
        assert heart.swept.count("other") >= before + 7


@pytest.mark.parametrize(("bad", "seconds"), [(1, 13.0), (8, 22.0)])
@pytest.mark.parametrize("seed", range(5))
@in_virtual_time
async def test_a_mailbox_in_a_request_with_bad_ones_waits_for_one_deadline_at_the_most(
    bad: int, seconds: float, seed: int
) -> None:
    users = names(32)
    ill = random.Random(seed).sample(users, bad)
    made, heart = make(Timed(**dict.fromkeys(ill, HANGS)))
    ask_for(made, *users)
    await run_for(made, seconds)
    assert sorted(heart.paged) == sorted(set(users) - set(ill))


@in_virtual_time
async def test_a_part_has_its_answers_while_others_are_still_divided() -> None:
    store = Timed(u0=HANGS)
    made, heart = make(store)
    ask_for(made, *names(32))
    await run_for(made, Timed.GIVEN + 1.5)
    assert set(names(32)[16:]) <= set(heart.paged)


@in_virtual_time
async def test_a_sweep_where_every_other_mailbox_is_bad_ends() -> None:
    """One by one they would be looked for all night; those of the next request wait as long."""
    store = Timed(**dict.fromkeys(names(256)[::2], HANGS))
    made, heart = make(store, [*names(256), "well"], sweeps=True, interval=10.0)
    await run_for(made, 30.0)
    assert "well" in heart.swept


@in_virtual_time
async def test_a_slow_mailbox_is_answered_and_delays_others_once() -> None:
    """Together with others it takes a second, or eight, every time."""
    store = Timed(slow=5.0, bad=HANGS)
    made, heart = make(store)
    ask_for(made, *names(10), "bad", "slow")
    async with running(made.run()):
        for round_ in range(1, 4):
            await asyncio.sleep(80.0)  # longer than it is remembered after a quick answer
            assert heart.paged.count("slow") == round_
            asked = len(store.asked)
            ask_for(made, "slow", *names(10))
            await asyncio.sleep(0.1)
            together = [each for each in store.asked[asked:] if len(each) > 1]
            assert together
            assert all(each.mailbox.user != "slow" for part in together for each in part)
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
        assert [len(each) for each in store.asked[asked:] if each[0].mailbox.user != "bad"] == [2]


@in_virtual_time
async def test_a_bad_mailbox_is_not_asked_for_when_its_sessions_have_left() -> None:
    store = Timed(bad=HANGS)
    gone: list[str] = []
    made, heart = make(store, gone=gone)
    ask_for(made, "bad#1", "bad#2", "u1")
    async with running(made.run()):
        await asyncio.sleep(60.0)
        assert heart.paged == ["u1"]
        gone += ["bad#1", "bad#2"]
        made.forget_gone(0)
        await asyncio.sleep(20.0)  # what was under way
        asked = len(store.asked)
        await asyncio.sleep(100.0)
        assert len(store.asked) == asked


@in_virtual_time
async def test_so_many_bad_mailboxes_are_remembered_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that sessions wait for, and the last ones of all others."""
    monkeypatch.setattr(slow_mailboxes, "REMEMBERED", 20)
    gone: list[str] = []
    bad = names(100)
    made, _ = make(Timed(**dict.fromkeys(bad, HANGS)), gone=gone)
    async with running(made.run()):
        for user in bad:
            ask_for(made, user)
            await asyncio.sleep(10.0)
            gone.append(user)
            made.forget_gone(0)
        assert len(made._slow._mailboxes) <= 22  # some are being asked for


@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("moment", [0.1, 4.0, 8.5, 9.5, 11.0, 12.5, 14.0])
@in_virtual_time
async def test_a_page_is_answered_whatever_a_sweep_does_that_began_before(
    moment: float, other: bool
) -> None:
    """A session that waits for a page is not swept: an answer to the sweep would strand it."""
    store = Timed(bob=HANGS)
    made, heart = make(store, [*names(30), "bob", *names(60)[30:]], sweeps=True, interval=1.0)
    async with running(made.run()):
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
        await asyncio.sleep(slow_mailboxes.LAST_RETRY_SECONDS * 3)
        assert heart.paged.count("bob") == 1


@pytest.mark.parametrize("is_asked", [True, False])
async def test_a_session_waits_for_its_page_rather_than_for_the_sweep(is_asked: bool) -> None:
    waiting = slow_mailboxes.SlowMailboxes(lambda _session: True)
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
    async with asyncio.timeout(60):
        assert (await waiting.take(waiting.quick))[1] == page
    assert len(waiting) == 0


@in_virtual_time
async def test_a_session_is_answered_although_another_one_of_its_mailbox_never_is() -> None:
    """What is damaged is behind the cursor of the one, and ahead of the other's."""

    class Damaged(Timed):
        async def pending(self, queries: Sequence[PendingQuery]) -> Sequence[Pending]:
            if any(each.mailbox.user == "bad" and not each.after for each in queries):
                await super().pending(queries)
                raise StoreUnavailable("a page of the index is damaged")
            return await super().pending(queries)

    made, heart = make(Damaged())
    for session in ("old1", "old2"):
        made.put(ReadPending(session, query("bad")))
    made.put(ReadPending("new", query("bad")._replace(after={0: 7})))
    await run_for(made, 60.0)
    assert heart.paged == ["new"]


@in_virtual_time
async def test_postgresql_has_a_lane_for_each_request_at_once() -> None:
    """A probe that finds none, because all hang, would say that the store answers nobody."""
    store = Timed(**{f"bad{number}": HANGS for number in range(20)})
    made, _ = make(store, [*names(20), *(f"bad{n}" for n in range(5))], sweeps=True, interval=1)
    async with running(made.run()):
        for number in range(5, 20):
            ask_for(made, *(f"v{number}-{each}" for each in range(40)), f"bad{number}")
            await asyncio.sleep(2.0)
    assert store.peak == REPLAY_LANES
