"""The real heart, hubs and writers under some hundred schedules; `make simulate` runs more."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from simulation.mutants import MUTANTS
from simulation.plan import FAULTS, Plan
from simulation.run import Outcome, outcome, shrink, story
from simulation.schedule import simulate

SEEDS = range(600)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [outcome(Plan.of(seed)) for seed in SEEDS]


@pytest.mark.timeout(900)
def test_the_promise_holds_in_every_schedule(outcomes: list[Outcome]) -> None:
    """Crashes, pauses, lost answers, lost hints, slow and silent clients: see `simulation.plan`."""
    failed = {each.plan.seed: each.summary() for each in outcomes if each.violations}
    assert not failed, "see `make simulate SEED=...`"


@pytest.mark.timeout(900)
def test_the_schedules_are_not_vacuous(outcomes: list[Outcome]) -> None:
    """I16: everything that is meant to happen does, more than now and then."""
    happened = sum((each.happened for each in outcomes), Counter())
    for what in (
        *("ok", "unknown", "rejected", "recv", "status", "live", "repeat", "ref again"),
        *(
            "ref of another",
            "no ref",
            "away",
            "crash",
            "restart",
            "pause",
            "leader",
            "garbage",
            "retention",
        ),
        *(
            "stuck",
            "unstorable",
            "silent",
            "slow",
            "black hole",
            "flush",
            "bad frames",
            "forged ack",
        ),
        *("too fast, rejected", "too fast, unknown"),
        *("renewed", "closed with 4401", "revocation", "closed with 4403"),
        *("talk", "add", "remove", "role", "title", "room again", "mark", "ask"),
        *("read", "answer", "no_answer"),
    ):
        assert happened[what] >= 20, f"{what}: {happened[what]}"
    assert happened["ok"] > 10 * len(SEEDS)
    for fault in FAULTS:
        assert sum(fault in each.plan.faults for each in outcomes) >= len(SEEDS) // 10


@pytest.mark.parametrize("seed", [10, 11, 12])
def test_a_seed_tells_the_same_story_every_time(seed: int) -> None:
    """Whatever Python's hashes are; this process has some, and that one has others."""
    script = f"""
from simulation.plan import Plan
from simulation.schedule import simulate
print(simulate(Plan.of({seed})).history)
"""
    elsewhere = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT / "tests"), "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert elsewhere.stdout == f"{simulate(Plan.of(seed)).history}\n"


# What no schedule does: messages, marks and changes of rooms by request, lists of sessions. They
# are tried by unit/delivery, unit/gateway/test_posts.py, e2e/test_authorize.py.
NOT_SCHEDULED = {
    *("Delivery.begin_post", "Delivery.end_post", "Post.__init__"),
    *("Delivery.mark", "bar_product"),
    *("Delivery.server_id", "Delivery.sessions_of", "Rates.__len__"),
}
# And a held send whose server has begun to refuse all, as tried there; what the hub does in the
# place of the heart, or never asks of it; servers of the version before, as tried by
# cluster/test_rolling_upgrade.py; and what unit/delivery/test_devices.py tries alone: more than a
# few frames before a welcome, one who leaves before it, more new devices than one may bring.
NOT_SCHEDULED_LINES = {
    ("Sends.take", "return"),
    ("Delivery.receive", "self._sends.take(session, frame)"),
    ("Delivery.receive", "case AskList() | AskHistory() | AskMembers() | AskDelivery():"),
    (
        "Delivery.receive",
        'raise AssertionError("questions are for the store, and do not come here")',
    ),
    ("bar_in_room", 'raise AssertionError("a room that is to be made has no members yet")'),
    ("needs_room", 'return ""'),
    ("Sends._encode", "return record.encode()"),
    ("Beginnings.begin", "session.device.recognise(None)"),
    ("Delivery.connect", "device = None  # servers of the version before know of none"),
    (
        "Beginnings._welcome_first",
        "continue  # it has left without a welcome, and so without all that would follow",
    ),
    ("Beginnings._welcome_first", "session = self._sessions[decision.session]"),
    ("Beginnings._welcome_first", "yield Welcome(session.id, self._welcome(session))"),
    ("Beginnings._welcome_first", "yield from self._early.pop(session.id)"),
    ("Delivery.refuse_device", "if session := self._sessions.get(session_id):"),
    (
        "Delivery.refuse_device",
        'self._close(session, CloseCode.OVERLOADED, f"retry_after_ms={NEW_DEVICE_MS}")',
    ),
}


@pytest.mark.timeout(900)
def test_the_heart_is_covered_to_the_last_line(tmp_path: Path) -> None:
    """What no schedule gets to, no schedule checks. What that is has names, and no more of it."""
    coverage, settings = [sys.executable, "-m", "coverage"], f"--rcfile={ROOT / 'pyproject.toml'}"
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "tests"),
        "COVERAGE_FILE": str(tmp_path / "coverage"),
    }
    schedules = ["-m", "simulation", "--seeds", "700:1000"]
    for command in (
        [*coverage, "run", settings, "--source=landline.delivery", *schedules],
        [*coverage, "json", settings, "-o", str(tmp_path / "report.json")],
    ):
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    unreached = [
        (function, (tmp_path / file).read_text().splitlines()[line - 1].strip())
        for file, covered in report["files"].items()
        for function, part in covered["functions"].items()
        for line in part["missing_lines"]
    ]
    more = [
        (function, line)
        for function, line in unreached
        if function not in NOT_SCHEDULED and (function, line) not in NOT_SCHEDULED_LINES
    ]
    assert more == []
    assert {function for function, _ in unreached} >= NOT_SCHEDULED, "take out what is reached now"


def test_a_failing_schedule_is_made_small_and_can_be_had_again() -> None:
    """The command line gets the plan in the words that `make simulate` prints."""
    mutant = next(each for each in MUTANTS if each.name == "window unbounded")
    with mutant.switch():
        found = outcome(Plan.of(mutant.seed))
        small = shrink(found)
        again = outcome(Plan.parse(mutant.seed, small.plan.changes()))
    assert small.plan.changes()
    assert again.violations == small.violations
    assert "I14" in story(small)


@pytest.mark.parametrize("seed", range(20))
def test_a_store_that_is_away_and_nothing_else_keeps_nobody_from_live_messages(seed: int) -> None:
    """Order and all: with no other fault every live message comes in the order of the log."""
    found = outcome(Plan.parse(seed, "faults=away"))
    assert not found.violations, f"{found.summary()}: make simulate SEED={seed} PLAN='faults=away'"
