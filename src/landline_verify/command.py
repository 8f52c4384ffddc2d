"""`landline verify`: makes a run or reads one, judges it, and writes the page."""

import asyncio
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path

from landline_stack.process import hang_up_with_terminal, interrupt_on_termination
from landline_verify.checker.checks.liveness import MIN_OK
from landline_verify.checker.judge import judge
from landline_verify.errors import BadHistory, VerifyError
from landline_verify.faults.catalogue import FAULTS, fitting, left_out
from landline_verify.faults.deployments import opened
from landline_verify.faults.fault import Fault
from landline_verify.faults.nemesis import Nemesis
from landline_verify.faults.plan import make_plan
from landline_verify.history.history import History, read_history
from landline_verify.options import Options
from landline_verify.report.page import page
from landline_verify.report.text import lines
from landline_verify.runner import Runner, RunProgress

EXIT_CODES = {"pass": 0, "fail": 1, "unknown": 2}

# Deadlines, after faults: for everybody to be back, and for everything owed to arrive.
_HEAL_SECONDS = 60.0
_FINAL_SECONDS = 60.0
# Without a terminal, a line of progress so often.
_LINE_SECONDS = 10.0


def verify(
    options: Options,
    history_file: Path | None,
    report: Path | None,
    nemesis: Nemesis | None = None,
) -> int:
    """Make a run, judge it and tell. Returns the exit code.

    Raises: VerifyError when it cannot begin, BadHistory when a file cannot be written.
    """
    _check_writable(report)
    _raise_file_limit()
    with History(file=history_file) as history:
        print(
            f"landline verify: {options.users} users, {options.rate:g} messages/s for "
            f"{options.duration_seconds:g} s, seed {options.seed} (Ctrl-C ends it early)",
            flush=True,
        )
        if options.duration_seconds * options.rate < MIN_OK:
            print(
                f"This may be too short to tell: a verdict takes {MIN_OK} accepted messages",
                flush=True,
            )
        runner = Runner(options, history, _progress(), nemesis)
        try:
            try:
                asyncio.run(_run(runner))
            finally:
                interrupt_on_termination()  # the loop took its handlers with it
        except KeyboardInterrupt:
            print("\nstopped in the middle", flush=True)
        history.flush()
        return _tell(history, report)


def verify_with_faults(
    kind: str,
    only: Sequence[str] | None,
    asked: Options,
    history_file: Path | None,
    report: Path | None,
) -> int:
    """Start a deployment of this kind, do it harm by the plan of the seed, and judge it.

    Returns the exit code. Raises: VerifyError for a plan that cannot be, StackError when a server
    does not start, and as `verify` does.
    """
    plan = make_plan(asked.seed, _chosen(kind, only), asked.duration_seconds)
    if not plan:
        raise VerifyError(
            f"--for {asked.duration_seconds:g}s is too short for a fault: give it a minute"
        )
    interrupt_on_termination()
    hang_up_with_terminal()
    print(f"Starting servers of our own ({kind}) ...", flush=True)
    equipment = {each.fault.needs for each in plan if each.fault.needs is not None}
    with opened(kind, equipment, asked.tokens) as deployment:
        options = replace(
            asked,
            urls=deployment.urls,
            kafka=deployment.kafka,
            postgres=deployment.store,
            data_dir=deployment.data_dir,
            heal_seconds=_HEAL_SECONDS,
            final_seconds=_FINAL_SECONDS,
            give_up_seconds=inf,  # faults may leave nobody connected for long
        )
        refused = {} if only is not None else left_out(kind)
        code = verify(options, history_file, report, Nemesis(deployment, plan, refused))
        if code != EXIT_CODES["pass"]:
            print(f"\nThe servers' logs: {deployment.keep_logs()}", flush=True)
        return code


def _chosen(kind: str, only: Sequence[str] | None) -> list[Fault]:
    """Return the faults to plan with. Raises: VerifyError."""
    known, refused = {fault.name: fault for fault in fitting(kind)}, left_out(kind)
    if only is None:
        return list(known.values())
    for name in only:
        if name in refused:
            raise VerifyError(f"--only {name}: that cannot be done here, {refused[name]}")
        if name not in known:
            raise VerifyError(
                f"--only {name!r} is no fault of {kind}: choose from {', '.join(known)}"
            )
    return [known[name] for name in dict.fromkeys(only)]


def list_faults() -> int:
    """Print every fault, what it does, and which deployments it fits. Returns the exit code."""
    for fault in FAULTS:
        print(f"{fault.name:<29}{fault.about}\n{'':<29}fits {', '.join(fault.fits)}")
        if (reason := fault.obstacle()) is not None:
            print(f"{'':<29}not here: {reason}")
    return 0


def check_file(file: Path, report: Path | None) -> int:
    """Judge a run that was kept. Returns the exit code. Raises: BadHistory."""
    _check_writable(report)
    return _tell(read_history(file), report)


async def _run(runner: Runner) -> None:
    """Run; the first Ctrl-C or SIGTERM ends the load, a second one everything."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    is_first = True

    def interrupt() -> None:
        nonlocal is_first
        if is_first:
            runner.stop()
            with suppress(BrokenPipeError):  # Ctrl-C has ended its reader, too
                print("\nstopping: a last look at what was accepted so far", flush=True)
        else:
            task.cancel()
        is_first = False

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        await runner.run()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _tell(history: History, report: Path | None) -> int:
    verdict = judge(history)
    print("", *lines(history, verdict), sep="\n", flush=True)
    if report is not None:
        try:
            report.write_text(page(history, verdict), encoding="utf-8")
        except OSError as error:
            raise BadHistory(f"cannot write the report {report}: {error.strerror}") from error
        print(f"\nThe report: {report}", flush=True)
    return EXIT_CODES[verdict.outcome]


def _check_writable(report: Path | None) -> None:
    """Find out now, not after the run. Raises: BadHistory."""
    if report is not None:
        try:
            report.open("ab").close()
        except OSError as error:
            raise BadHistory(f"cannot write the report {report}: {error.strerror}") from error


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _progress() -> Callable[[RunProgress], None]:
    """Return what shows progress: one line that changes on a terminal, otherwise a few lines."""
    is_terminal = sys.stdout.isatty()
    shown: tuple[str, float] = ("", 0.0)

    def show(progress: RunProgress) -> None:
        nonlocal shown
        text = (
            f"{progress.seconds:6.1f} s  {progress.phase:<5}  sent {progress.sent:,}"
            f"  accepted {progress.accepted:,}  received {progress.received:,}"
            f"  online {progress.online}/{progress.users}"
        )
        if is_terminal:
            print(f"\r{text:<79}", end="", flush=True)
        elif progress.phase != shown[0] or progress.seconds - shown[1] >= _LINE_SECONDS:
            shown = (progress.phase, progress.seconds)
            print(text, flush=True)

    return show
