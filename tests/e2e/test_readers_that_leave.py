"""A command whose output nobody reads any more (`| head -1`) ends without a word."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import ServerProcess

WAIT_SECONDS = 90.0
UNREAD = 128 + signal.SIGPIPE


def run_unread(
    *arguments: str, with_errors: bool = False, is_buffered: bool = True
) -> tuple[int, str]:
    """Run a command whose output has no reader. Returns its exit code and what it said."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if is_buffered else "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "landline", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing if with_errors else subprocess.PIPE,
        text=True,
        timeout=WAIT_SECONDS,
        env=environment,
        check=False,
    )
    os.close(writing)
    return ended.returncode, ended.stderr or ""


@pytest.mark.parametrize("is_buffered", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *([command, "--help"] for command in ("serve", "chat", "migrate", "audit", "verify")),
        ["verify", "--list-faults"],
        ["verify", "--users", "2", "--rate", "1", "--duration", "1s"],
        ["verify", "--faults", "embedded", "--duration", "60s"],
    ],
    ids=" ".join,
)
def test_it_ends_without_a_word(arguments: list[str], is_buffered: bool) -> None:
    code, said = run_unread(*arguments, is_buffered=is_buffered)
    assert said == ""
    # Some versions of argparse drop a help that they cannot write.
    assert code == UNREAD or (code == 0 and arguments[-1] == "--help")


@pytest.mark.parametrize("is_buffered", [True, False])
def test_so_does_one_in_the_middle_of_its_work(
    is_buffered: bool, server: ServerProcess, tmp_path: Path
) -> None:
    history = str(tmp_path / "run.jsonl")
    run = ["verify", "--url", server.ws_url, "--users", "2", "--rate", "5", "--duration", "1s"]
    assert subprocess.run(
        [sys.executable, "-m", "landline", *run, "--history", history],
        capture_output=True, timeout=WAIT_SECONDS, check=False,
    ).returncode in {0, 2}  # fmt: skip
    for arguments in (
        run,
        ["verify", "--check", history],
        ["audit", "--data-dir", str(tmp_path / "data")],
    ):
        assert run_unread(*arguments, is_buffered=is_buffered) == (UNREAD, ""), arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "--list-faults"],
        ["verify", "--check", "missing"],
        ["audit", "--data-dir", "missing"],
        ["migrate"],
        ["serve", "--port", "x"],
        ["chat", "--as", "a:b"],
        ["unknown"],
        [],
    ],
    ids=" ".join,
)
def test_nobody_reads_the_errors_either(arguments: list[str]) -> None:
    code, _said = run_unread(*arguments, with_errors=True)
    assert code in {2, UNREAD}


def test_a_reader_that_leaves_a_run_ends_it(server: ServerProcess) -> None:
    """And Ctrl-C, which ends the reader as well, is no traceback."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "landline", "verify", "--url", server.ws_url,
            "--users", "2", "--rate", "5", "--duration", "1h",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.readline()  # it has begun
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert (process.wait(WAIT_SECONDS), said) == (UNREAD, b"")
    process.stderr.close()
