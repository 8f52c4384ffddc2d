"""Short runs, in this process, of few users."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from landline_verify.checker.judge import judge
from landline_verify.history.history import History
from landline_verify.options import Options
from landline_verify.report.text import lines
from landline_verify.runner import Runner, RunProgress
from support.waiting import until

# Twice as much as has to happen (500 accepted messages): machines stand still, too.
USERS = 16
RATE = 200.0
SECONDS = 5.0
TRIES = 4  # other tests run beside it

Meanwhile = Callable[[Runner], Awaitable[None]]


async def run(*urls: str, meanwhile: Meanwhile | None = None, **options: Any) -> History:
    """Make a run; `meanwhile` is done beside it. Without, again where this machine stood still."""
    asked: dict[str, Any] = {
        "urls": urls, "duration_seconds": SECONDS, "users": USERS, "rate": RATE, "seed": 1,
        "heal_seconds": 10.0,
    }  # fmt: skip
    history = History()
    if meanwhile is None:
        for _ in range(TRIES):
            history = History()
            await Runner(Options(**{**asked, **options}), history, _ignore).run()
            if not any("this machine is too busy" in why for why in judge(history).reasons):
                break
        return history
    runner = Runner(Options(**{**asked, **options}), history, _ignore)
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
    """Wait until so many messages were accepted."""
    await until(lambda: runner.progress().accepted >= count, f"{count} are accepted")


async def _call(meanwhile: Meanwhile, runner: Runner) -> None:
    await meanwhile(runner)


def _ignore(_: RunProgress) -> None:
    pass
