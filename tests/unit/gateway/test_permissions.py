"""Who may write to whom: the product is asked once, its answer is kept for a while, and a product
that does not answer keeps nobody waiting for long.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from landline.errors import BadAnswer, WebUnavailable
from landline.gateway import permissions as module
from landline.gateway.permissions import (
    FAILED_SECONDS,
    FAILURES_IN_A_ROW,
    OPEN_QUESTIONS_OF_ONE,
    PAUSE_SECONDS,
    Authorizing,
    Permissions,
    Verdict,
)
from landline.observability.metrics import series
from support.clock import Clock
from support.waiting import go_round

TTL_SECONDS = 600.0


class Product:
    """Answers when a test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.open = 0
        self.most_open = 0
        self.word: bool | None = True  # None: it fails
        self.failure = WebUnavailable("connection refused")
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, sender: str, to: str) -> bool:
        self.asked.append((sender, to))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self.gate.wait()
        finally:
            self.open -= 1
        if self.word is None:
            raise self.failure
        return self.word


class Asking:
    """Permissions with a product and a clock that stands still."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.clock = Clock()
        self.product = Product()
        self.tasks: set[asyncio.Task[None]] = set()
        authorizing = Authorizing(self.product.ask, TTL_SECONDS, is_open)
        self.permissions = Permissions(authorizing, clock=self.clock, spawn=self.spawn)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        return task

    async def verdict(self, to: str = "bob", sender: str = "alice") -> Verdict:
        known = self.permissions.recall(sender, to)
        return known if known is not None else await self.permissions.find_out(sender, to)

    def counted(self) -> tuple[float, ...]:
        measured = self.permissions.measure()
        names = ("asked", "allowed", "refused", "failed")
        values = [measured[series(f"landline_authorize_{name}_total")] for name in names]
        return tuple(each for each in values if isinstance(each, int))


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    asking = Asking()
    yield asking
    asking.permissions.end()
    for task in asking.tasks:
        task.cancel()
    await asyncio.gather(*asking.tasks, return_exceptions=True)


@pytest.mark.parametrize(("word", "verdict"), [(True, Verdict.ALLOWED), (False, Verdict.REFUSED)])
async def test_an_answer_counts_for_its_time(asking: Asking, word: bool, verdict: Verdict) -> None:
    asking.product.word = word
    assert await asking.verdict() is verdict
    asking.clock.now += TTL_SECONDS - 1
    asking.product.word = not word
    assert await asking.verdict() is verdict
    assert asking.product.asked == [("alice", "bob")]
    asking.clock.now += 1
    assert await asking.verdict() is not verdict
    assert len(asking.product.asked) == 2
    assert asking.counted() == (2, 1, 1, 0)


async def test_each_pair_and_each_direction_is_asked_about(asking: Asking) -> None:
    for sender, to in [("alice", "bob"), ("bob", "alice"), ("alice", "carol")]:
        assert await asking.permissions.find_out(sender, to) is Verdict.ALLOWED
    assert len(asking.product.asked) == 3


async def test_nobody_is_asked_about_messages_to_oneself_or_of_the_product(asking: Asking) -> None:
    asking.product.word = False
    assert asking.permissions.recall("alice", "alice") is Verdict.ALLOWED
    assert asking.permissions.recall("shop", "bob", is_service=True) is Verdict.ALLOWED
    assert not asking.product.asked


async def test_all_who_wait_for_a_pair_share_one_question(asking: Asking) -> None:
    asking.product.gate.clear()
    waiting = [asyncio.create_task(asking.verdict()) for _ in range(5)]
    await go_round(3)
    waiting.pop(0).cancel()  # the first, for whom it was asked
    await go_round()
    asking.product.gate.set()
    assert await asyncio.gather(*waiting) == [Verdict.ALLOWED] * 4
    assert len(asking.product.asked) == 1


async def test_only_so_many_are_asked_at_once(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPEN_QUESTIONS", 100)
    asking.product.gate.clear()
    waiting = [asyncio.create_task(asking.verdict("bob", f"user{number}")) for number in range(101)]
    await go_round(3)
    assert asking.product.open == module.QUESTIONS
    assert await waiting[-1] is Verdict.UNANSWERED, "one too many does not wait"
    asking.product.gate.set()
    assert await asyncio.gather(*waiting[:-1]) == [Verdict.ALLOWED] * 100
    assert asking.product.most_open == module.QUESTIONS


async def test_so_many_are_remembered_and_those_needed_last_stay(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAIRS", 3)
    for to in ("one", "two", "three", "one", "four"):
        await asking.verdict(to)
    assert asking.permissions.recall("alice", "one") is Verdict.ALLOWED
    assert asking.permissions.recall("alice", "two") is None
    assert len(asking.permissions._known) == 3


@pytest.mark.parametrize("is_open", [False, True])
async def test_no_answer_is_soon_asked_again(is_open: bool) -> None:
    asking = Asking(is_open=is_open)
    without = Verdict.ALLOWED if is_open else Verdict.UNANSWERED
    asking.product.word = None
    assert await asking.verdict() is without
    asking.product.word = False
    assert await asking.verdict() is without
    assert len(asking.product.asked) == 1, "who tries again at once does not have it asked"
    asking.clock.now += FAILED_SECONDS
    assert await asking.verdict() is Verdict.REFUSED
    assert asking.counted() == (2, 0, 1, 1)


async def test_a_slow_product_is_no_answer(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a place among the questions is part of the deadline."""
    monkeypatch.setattr(module, "ASK_SECONDS", 0.01)
    monkeypatch.setattr(asking.permissions, "_places", asyncio.Semaphore(1))
    asking.product.gate.clear()
    both = [asyncio.create_task(asking.verdict(to)) for to in ("bob", "carol")]
    assert await asyncio.wait_for(asyncio.gather(*both), 60) == [Verdict.UNANSWERED] * 2
    assert asking.counted()[3] == 2
    assert asking.product.open == 0, "nobody waits for it any more"


async def test_a_product_that_is_down_is_left_alone_for_a_moment(asking: Asking) -> None:
    asking.product.word = None
    for number in range(FAILURES_IN_A_ROW):
        await asking.verdict(f"user{number}")
    for number in range(100):
        assert asking.permissions.recall("alice", f"other{number}") is Verdict.UNANSWERED
    assert len(asking.product.asked) == FAILURES_IN_A_ROW
    assert asking.counted()[3] == FAILURES_IN_A_ROW + 100
    asking.clock.now += PAUSE_SECONDS
    asking.product.word = True
    assert await asking.verdict("other0") is Verdict.ALLOWED


async def test_one_pair_that_fails_keeps_no_other_from_being_asked(asking: Asking) -> None:
    for number in range(3 * FAILURES_IN_A_ROW):
        asking.product.word = None
        assert await asking.verdict(f"bad{number}") is Verdict.UNANSWERED
        asking.product.word = True
        assert await asking.verdict(f"good{number}") is Verdict.ALLOWED


@pytest.mark.parametrize("is_open", [False, True])
async def test_at_the_end_nobody_waits_and_nobody_is_asked(is_open: bool) -> None:
    """Open or not: what is not allowed by then is refused."""
    asking = Asking(is_open=is_open)
    asking.product.gate.clear()
    waiting = asyncio.create_task(asking.verdict())
    await go_round(3)
    asking.permissions.end()
    assert await asyncio.wait_for(waiting, 60) is Verdict.UNANSWERED
    assert asking.permissions.recall("alice", "carol") is Verdict.UNANSWERED
    asking.product.gate.set()
    await asyncio.gather(*asking.tasks)


@pytest.mark.parametrize("is_open", [False, True])
async def test_one_user_keeps_nobody_else_from_being_asked(is_open: bool) -> None:
    """Open or not: what was never asked about is not let through, for the product answers."""
    asking = Asking(is_open=is_open)
    asking.product.gate.clear()
    waiting = [asyncio.create_task(asking.verdict(f"user{number}")) for number in range(300)]
    waiting.append(asyncio.create_task(asking.verdict("bob", "dave")))
    await go_round(3)
    assert asking.product.open == OPEN_QUESTIONS_OF_ONE + 1
    asking.product.gate.set()
    verdicts = await asyncio.gather(*waiting)
    assert verdicts.count(Verdict.UNANSWERED) == 300 - OPEN_QUESTIONS_OF_ONE
    assert verdicts[-1] is Verdict.ALLOWED
    assert await asking.verdict("user299") is Verdict.ALLOWED
    assert not asking.permissions._open_of


async def test_a_product_that_answers_badly_is_not_down(asking: Asking) -> None:
    """It may do so for pairs that somebody has chosen."""
    asking.product.failure = BadAnswer("it answers with status 500")
    asking.product.word = None
    for number in range(3 * FAILURES_IN_A_ROW):
        assert await asking.verdict(f"bad{number}") is Verdict.UNANSWERED
    asking.product.word = True
    assert await asking.verdict("good") is Verdict.ALLOWED


@pytest.mark.parametrize("is_open", [False, True])
async def test_what_found_no_place_is_not_let_through(
    is_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that is not asked in time is none, and no failure of the product either."""
    asking = Asking(is_open=is_open)
    monkeypatch.setattr(module, "ASK_SECONDS", 0.01)
    monkeypatch.setattr(asking.permissions, "_places", asyncio.Semaphore(0))
    for number in range(FAILURES_IN_A_ROW + 1):
        assert await asking.verdict(f"user{number}") is Verdict.UNANSWERED
    assert not asking.product.asked
    assert asking.counted()[3] == FAILURES_IN_A_ROW + 1


async def test_old_answers_are_forgotten_a_few_at_a_time(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FORGOTTEN_TOGETHER", 3)
    for number in range(5):
        await asking.verdict(f"user{number}")
    asking.clock.now += TTL_SECONDS - 1
    asking.permissions.forget_old()
    assert len(asking.permissions._known) == 5
    await asking.verdict("new")
    asking.clock.now += 1
    for left in (3, 1, 1):
        asking.permissions.forget_old()
        assert len(asking.permissions._known) == left
    assert asking.permissions.recall("alice", "new") is Verdict.ALLOWED
