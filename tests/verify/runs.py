"""Short runs, in this process, of few users."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from landline_verify.checker.judge import judge
from landline_verify.checker.verdict import Verdict
from landline_verify.history.history import History
from landline_verify.options import Options
from landline_verify.report.text import lines
from landline_verify.runner import Runner, RunProgress
from support.standin import Standin
from support.waiting import until

# Twice as much as has to happen (500 accepted messages): machines stand still, too.
USERS = 16
RATE = 200.0
SECONDS = 5.0
TRIES = 4  # other tests run beside it

Meanwhile = Callable[[Runner], Awaitable[None]]


def can_tell(verdict: Verdict) -> bool:
    """Say whether anything is known."""
    return verdict.outcome != "unknown"


def is_told_too_little(code: int, said: str) -> bool:
    """Say whether a command says that this machine was too slow for a verdict."""
    text = " ".join(said.split())  # lines are broken anywhere
    return code == 2 and ("this machine is too busy" in text or "500 are needed" in text)


def is_only_partial(verdict: Verdict) -> bool:
    """Say whether nothing is missing but the rest of the load."""
    return len(verdict.reasons) == 1 and "the run is partial" in verdict.reasons[0]


async def run(
    *urls: str,
    meanwhile: Meanwhile | None = None,
    tries: int = TRIES,
    is_enough: Callable[[Verdict], bool] = can_tell,
    **options: Any,
) -> History:
    """Make a run; `meanwhile` is done beside it. Where this machine stood still and nothing is
    broken, it is often not enough: then again, each time at half the rate for twice the time.
    """
    return await _repeated(
        lambda slower: _run_once(urls, meanwhile, options, slower), tries, is_enough
    )


async def run_standin(
    make: Callable[[], Standin] = Standin,
    *,
    meanwhile: Callable[[Runner, Standin], Awaitable[None]] | None = None,
    tries: int = TRIES,
    is_enough: Callable[[Verdict], bool] = can_tell,
    **options: Any,
) -> tuple[History, Standin]:
    """The same with a server of its own for each try: what the last one did is over with it."""
    made: list[Standin] = []

    async def once(slower: int) -> History:
        async with make() as standin:
            made.append(standin)
            beside = None if meanwhile is None else lambda runner: meanwhile(runner, standin)
            return await _run_once((standin.url,), beside, options, slower)

    return await _repeated(once, tries, is_enough), made[-1]


async def _repeated(
    once: Callable[[int], Awaitable[History]], tries: int, is_enough: Callable[[Verdict], bool]
) -> History:
    history = await once(1)
    for number in range(1, tries):
        verdict = judge(history)
        if verdict.outcome == "fail" or is_enough(verdict):
            break
        history = await once(2**number)
    return history


async def _run_once(
    urls: tuple[str, ...], meanwhile: Meanwhile | None, options: dict[str, Any], slower: int
) -> History:
    asked: dict[str, Any] = {
        "urls": urls, "duration_seconds": SECONDS, "users": USERS, "rate": RATE, "seed": 1,
        "heal_seconds": 10.0,
    } | options  # fmt: skip
    asked["rate"] /= slower
    asked["duration_seconds"] *= slower
    history = History()
    runner = Runner(Options(**asked), history, _ignore)
    if meanwhile is None:
        await runner.run()
        return history
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run())
        tasks.create_task(_call(meanwhile, runner))
    return history


def expect_unbroken(history: History) -> None:
    """Fail with the whole page if an invariant is broken. A machine that was too busy to prove
    anything is no failure: use it where the question is what a run must not mistake for a fault.
    """
    verdict = judge(history)
    assert verdict.outcome != "fail", "\n".join(lines(history, verdict))


def expect_pass(history: History) -> None:
    """Fail with the whole page unless the verdict is a pass."""
    verdict = judge(history)
    assert verdict.outcome == "pass", "\n".join(lines(history, verdict))
    assert not verdict.reasons


async def accepted(runner: Runner, count: int) -> None:
    """Wait until so many messages were accepted, or the load is over: no more will come."""

    def is_so() -> bool:
        progress = runner.progress()
        return progress.accepted >= count or progress.phase not in {"start", "load"}

    await until(is_so, f"{count} are accepted")


async def _call(meanwhile: Meanwhile, runner: Runner) -> None:
    await meanwhile(runner)


def _ignore(_: RunProgress) -> None:
    pass
