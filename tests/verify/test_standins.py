"""The checker bites: whatever a careless chat server does is found, and the right message named."""

import asyncio
import random

import pytest

from landline_verify.checker.judge import judge
from landline_verify.checker.verdict import Verdict
from landline_verify.report.text import lines
from landline_verify.runner import Runner
from support.standin import Fault, Standin
from support.waiting import until
from verify.runs import accepted, expect_pass, is_only_partial, run_standin

# What must be found, and what follows from it and may be found too.
FOUND: dict[Fault, set[str]] = {
    "lose": {"I2"},
    "double": {"I5"},
    "forge": {"I8"},
    "swap": {"I6"},
    "leak": {"I13"},
    "alter": {"I4"},
    "forget": {"I2"},
}


def named(verdict: Verdict) -> set[str | None]:
    """Return the messages that the violations name."""
    return {violation.id for violation in verdict.violations}


async def test_a_correct_server_passes() -> None:
    history, _ = await run_standin()
    expect_pass(history)


@pytest.mark.parametrize("fault", FOUND)
async def test_a_broken_server_fails_with_the_right_invariant_and_message(fault: Fault) -> None:
    async def restart(runner: Runner, standin: Standin) -> None:
        await accepted(runner, 200)
        await standin.restart()

    history, standin = await run_standin(
        lambda: Standin(fault, every=20), meanwhile=restart if fault == "forget" else None,
        duration_seconds=2, final_seconds=2,
    )  # fmt: skip
    verdict = judge(history)
    assert verdict.outcome == "fail"
    assert {violation.invariant for violation in verdict.violations} == FOUND[fault]
    assert named(verdict) <= standin.broken
    text = "\n".join(lines(history, verdict))
    assert f"The story of message {verdict.violations[0].id}" in text


async def test_a_server_whose_devices_share_a_mailbox_fails() -> None:
    """It takes no notice of `device`: what one has acknowledged does not come to the others."""
    history, _ = await run_standin(duration_seconds=2, final_seconds=2, devices=2, users=20)
    verdict = judge(history)
    assert verdict.outcome == "fail"
    assert {violation.invariant for violation in verdict.violations} <= {"I2", "I2b"}
    assert any("device 'd1'" in violation.sentence for violation in verdict.violations)


async def test_one_lost_message_of_a_thousand_is_found() -> None:
    seed = _seed_of_one_in(range(200, 440), 1_100)
    history, standin = await run_standin(
        lambda: Standin("lose", every=1_000, seed=seed), final_seconds=2
    )
    assert len(standin.broken) == 1
    violations = judge(history).violations
    assert [(each.invariant, each.id) for each in violations] == [("I2", *standin.broken)]


async def test_a_server_that_restarts_and_remembers_passes() -> None:
    async def restart(runner: Runner, standin: Standin) -> None:
        for count in (150, 300, 450):
            await accepted(runner, count)
            await standin.restart()

    history, _ = await run_standin(meanwhile=restart)
    expect_pass(history)


async def test_a_server_that_goes_away_is_no_pass() -> None:
    async def stop(runner: Runner, standin: Standin) -> None:
        await accepted(runner, 100)
        await standin.stop()

    history, standin = await run_standin(
        meanwhile=stop, tries=1, duration_seconds=600,
        heal_seconds=1, final_seconds=1, give_up_seconds=1,
    )  # fmt: skip
    verdict = judge(history)
    assert verdict.outcome != "pass"
    text = " ".join(verdict.reasons)
    assert f"{standin.url} answered nobody at the end" in text
    assert "of 600 s: the run is partial" in text


async def test_a_run_that_is_stopped_still_looks_at_what_was_accepted() -> None:
    async def stop(runner: Runner, _: Standin) -> None:
        await accepted(runner, 600)
        runner.stop()

    history, _ = await run_standin(meanwhile=stop, is_enough=is_only_partial, duration_seconds=600)
    verdict = judge(history)
    assert verdict.outcome == "unknown"
    assert verdict.findings["I2"] == "held"
    assert len(verdict.reasons) == 1
    assert "of 600 s: the run is partial" in verdict.reasons[0]


async def test_no_task_is_left_of_a_run() -> None:
    await run_standin(tries=1, duration_seconds=0.5)
    current = asyncio.current_task()
    await until(lambda: asyncio.all_tasks() == {current}, "every task has ended")


def _seed_of_one_in(those: range, all_rolls: int) -> int:
    """Return a seed whose thousand-sided die has one zero in all its rolls, among those.

    A run too short to come to it is repeated, and the longest has not so many rolls.
    """
    for seed in range(1_000):
        chance = random.Random(seed)
        rolls = [chance.randrange(1_000) for _ in range(all_rolls)]
        if rolls.count(0) == 1 and rolls.index(0) in those:
            return seed
    raise AssertionError("no such seed")
