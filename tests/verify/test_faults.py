"""`landline verify --faults`: real servers of its own that are harmed by a plan."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from landline import cli
from landline_verify.faults import catalogue as faults
from landline_verify.faults import clock, disk
from landline_verify.faults.catalogue import FAULTS, fitting, left_out
from landline_verify.faults.deployments import DEPLOYMENT_KINDS, Deployment
from landline_verify.faults.fault import Fault, Rest, Strike
from landline_verify.faults.nemesis import Nemesis
from landline_verify.faults.plan import Planned, make_plan
from verify.runs import is_told_too_little


@pytest.fixture
def no_faketime(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without it."""
    monkeypatch.setattr(clock, "_library", lambda: None)


@pytest.mark.parametrize("kind", DEPLOYMENT_KINDS)
def test_a_plan_is_made_by_its_seed_alone(kind: str) -> None:
    """Every fault comes before any comes again, and all of them fit into the time."""
    known = fitting(kind)
    for seed in range(50):
        plan = make_plan(seed, known, 600.0)
        assert plan == make_plan(seed, known, 600.0)
        names = [each.fault.name for each in plan]
        assert set(names[: len(known)]) == {fault.name for fault in known}
        assert sum(each.calm + each.seconds + each.fault.heal_seconds for each in plan) < 600.0
    assert make_plan(1, known, 600.0) != make_plan(2, known, 600.0)


def test_a_fault_that_takes_long_is_shortened_to_fit() -> None:
    """Or a long one that comes up first would leave the time of a short run unused."""
    long = next(fault for fault in FAULTS if fault.name == "postgres-away")
    for seed in range(20):
        (planned,) = make_plan(seed, [long], 35.0)
        assert long.seconds[0] <= planned.seconds < 35.0


def test_the_list_has_every_fault_and_why_one_cannot_be(
    no_faketime: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", "--list-faults"]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^(\S+) ", said, re.MULTILINE) == [fault.name for fault in FAULTS]
    assert f"not here: {left_out('cluster')['clock-step']}" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--faults", "embedded", "--only", "kafka-kill"], "'kafka-kill' is no fault of embedded"),
        (["--faults", "cluster", "--only", "kafka-leader-kill"], "is no fault of cluster"),
        (["--faults", "cluster", "--only", ""], "--only '' is no fault of cluster"),
        (["--faults", "--only", "clock-step"], "--only clock-step: that cannot be done here"),
        (["--faults", "--for", "1s"], "--for 1s is too short for a fault"),
        (["--faults", "moon"], "invalid choice: 'moon'"),
        (["--faults", "--url", "ws://127.0.0.1:1/ws"], "--url does not go with --faults"),
        (["--faults", "--postgres", "postgresql://h/d"], "--postgres does not go with --faults"),
        (["--faults", "--data-dir", "x"], "--data-dir does not go with --faults"),
        (["--faults", "--flood", "junk"], "--flood does not go with --faults"),
        (["--flood", "junk", "--url", "ws://192.0.2.7:1/ws"], "is not on this machine"),
        (["--flood", "junk", "--url", "ws://localhost.example.org/ws"], "is not on this machine"),
        (["--flood", "junk", "--url", "wss://127.0.0.1/ws"], "--flood goes to ws:// alone"),
        (["--flood", "junk", "--duration", "5s"], "is too short for --flood"),
        (["--flood-anywhere"], "--flood-anywhere goes with --flood"),
        (["--flood", "moon"], "invalid choice: 'moon'"),
        (["--seed", "1"], "--seed goes with --faults"),
        (["--only", "server-kill"], "--only goes with --faults"),
        (["--faults", "--seed", "x"], "--seed x"),
    ],
)
def test_what_cannot_be_is_refused_in_two_lines(
    arguments: list[str], said: str, no_faketime: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) <= 2


@pytest.mark.skipif(clock.obstacle() is not None, reason=str(clock.obstacle()))
def test_a_clock_is_stepped_and_timers_do_not_notice(tmp_path: Path) -> None:
    own = clock.ServerClock(tmp_path / "clock")
    code = "import time\nwhile input(): print(time.time(), time.monotonic(), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **own.environment()},
    ) as child:  # fmt: skip

        def there() -> list[float]:
            """Return its clock and its timer."""
            assert child.stdin is not None
            assert child.stdout is not None
            print("go", file=child.stdin, flush=True)
            return [float(each) for each in child.stdout.readline().split()]

        def here() -> tuple[float, float]:
            return time.time(), time.monotonic()

        for offset in (0, 86_400, -86_400, 0):
            own.step(offset)
            before, (clock_there, timer_there), after = here(), there(), here()
            assert before[0] - 5 <= clock_there - offset <= after[0] + 5
            assert before[1] - 5 <= timer_there <= after[1] + 5
        # Killed, it would leave a semaphore: libfaketime removes it when a process ends by itself.
        child.communicate("\n", timeout=30)


@pytest.mark.skipif(disk.obstacle() is not None, reason=str(disk.obstacle()))
def test_a_disk_lies_below_a_program_and_recovers(tmp_path: Path) -> None:
    """A commit that failed is in the file; while the disk is broken nothing can be read."""
    code = """
from contextlib import closing
from landline_verify.faults.disk import Disk
import sqlite3, sys

def tried(*statements, between=lambda: None):
    try:
        with closing(sqlite3.connect(sys.argv[1], isolation_level=None)) as file:
            for statement in statements[:-1]:
                file.execute(statement)
            between()
            return file.execute(statements[-1]).fetchall()
    except sqlite3.OperationalError as error:
        return str(error)

disk = Disk()
first = "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE a (b)"
print(tried(*first, "INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (2)", between=disk.fail))
print(tried("SELECT b FROM a"))
disk.heal()
print(tried("SELECT b FROM a"))
print(tried("INSERT INTO a VALUES (3)"))
"""
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.db")],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert said.splitlines() == ["disk I/O error", "disk I/O error", "[(1,), (2,)]", "[]"]


def test_a_disk_that_cannot_lie_here_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Python that hides its SQLite: the others are done, this one is left out with a line."""
    monkeypatch.setattr(disk, "_PROGRAM", ("false",))
    disk.obstacle.cache_clear()
    try:
        reason = left_out("embedded")["disk-lies"]
        assert "lets nobody come between" in reason
        assert "disk-lies" not in {fault.name for fault in fitting("embedded")}
        assert cli.main(["verify", "--faults", "--only", "disk-lies"]) == 2
        assert f"that cannot be done here, {reason}" in capsys.readouterr().err
    finally:
        disk.obstacle.cache_clear()


def run(kind: str, *arguments: str, users: int = 30, rate: int = 100) -> int:
    load = ["--users", str(users), "--rate", str(rate), "--seed", "4"]
    return cli.main(["verify", "--faults", kind, *load, *arguments])


def passed(
    capfd: pytest.CaptureFixture[str], kind: str, *arguments: str, users: int = 30, rate: int = 100
) -> str:
    """Return what a run says that passes. One that this machine was too slow for is repeated."""
    code = run(kind, *arguments, users=users, rate=rate)
    said = capfd.readouterr().out
    if is_told_too_little(code, said):
        code = run(kind, *arguments, users=users, rate=rate)
        said = capfd.readouterr().out
    assert code == 0, said
    return said


def expect_all_happened(said: str) -> None:
    """A pass says that, too: `vacuous` counts. Here the page is asked."""
    found = re.search(r"faults +(\d+) of (\d+) planned: ", said)
    assert found, said
    assert 2 <= int(found[1]) == int(found[2]), said


@pytest.mark.e2e
def test_an_embedded_server_is_harmed_and_loses_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    said = passed(
        capfd, "embedded", "--for", "35s",
        "--only", "server-kill,client-half-open,disk-full,disk-lies,clock-step",
    )  # fmt: skip
    expect_all_happened(said)
    for judged in ("I1 +Durable", "I9 +Store = fold of the log", "I11 +Honest ok", "I14 +Bounded"):
        assert re.search(f"{judged} +held", said), said


@pytest.mark.stack
def test_a_cluster_is_harmed_and_loses_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    chosen = "server-kill,kafka-kill,postgres-kill,client-cut,settings-too-strict"
    said = passed(capfd, "cluster", "--for", "45s", "--only", chosen)
    expect_all_happened(said)
    assert re.search(r"I9 +Store = fold of the log +held", said), said


@pytest.mark.stack
def test_people_who_connect_while_the_store_is_away_hear_each_other(
    capfd: pytest.CaptureFixture[str],
) -> None:
    said = passed(capfd, "cluster", "--for", "32s", "--only", "postgres-away", users=16, rate=50)
    assert re.search(r"I2c +Live without the store +held", said), said


async def test_what_began_with_a_fault_may_last_longer() -> None:
    """Each has its own beginning and end in the history, whose names the checker knows."""
    done: list[object] = []
    strike = Strike(
        "one", lambda: done.append("harm"), lambda: done.append("heal"),
        Rest("postgres-pause", 0.01, lambda: done.append("rest")),
    )  # fmt: skip
    fault = Fault("settings-retention", "", DEPLOYMENT_KINDS, (0.0, 0.0), 0.0, lambda *_: strike)
    nemesis = Nemesis(Deployment("cluster", [], []), [Planned(fault, 0.0, 0.01, 0)])
    await nemesis.run(lambda name, phase, _: done.append((name, phase)))
    assert done == [
        ("settings-retention", "start"), ("postgres-pause", "start"), "harm",
        "heal", ("settings-retention", "stop"), "rest", ("postgres-pause", "stop"),
    ]  # fmt: skip


@pytest.mark.e2e
def test_a_server_that_forgets_when_it_is_killed_is_found_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A check that cannot fail is no check: here the data go with the process."""
    kill = next(fault for fault in FAULTS if fault.name == "server-kill")
    monkeypatch.setattr(faults, "FAULTS", [replace(kill, aim=_wiping(kill))])
    code = run("embedded", "--for", "20s")
    said = capfd.readouterr().out
    assert code == 1, said
    assert re.search(r"I1 +Durable +VIOLATED", said), said
    found = re.search(r"The servers' logs: (.+)", said)
    assert found, said
    assert (Path(found[1]) / "embedded.log").read_text().count("listening") >= 2  # killed, started


def _wiping(kill: Fault) -> Callable[[Deployment, int], Strike]:
    def aim(deployment: Deployment, number: int) -> Strike:
        strike = kill.aim(deployment, number)

        def kill_and_wipe() -> None:
            strike.harm()
            for server in deployment.embedded:
                shutil.rmtree(server.data_dir)

        return replace(strike, harm=kill_and_wipe)

    return aim
