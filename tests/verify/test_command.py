"""`landline verify` as a command: what it prints, how it exits, what it refuses."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from landline import cli
from landline_stack.ports import free_port
from landline_verify.command import check_file
from landline_verify.history.history import History
from support.server import ServerProcess
from support.standin import Standin
from verify.runs import TRIES, is_told_too_little, run_standin

SECONDS = 60.0


def command(*arguments: str) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "landline", "verify", *arguments]


def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--users", "1"], "--users 1 is not a number from 2 to 10000"),
        (["--users", "\u00b2"], "--users \u00b2 is not a number"),
        (["--users", "10", "--rate", "501"], "is not a number from 1 to 500, 50 for each user"),
        (["--duration", "5"], "--duration 5 is not a duration: give a number with its unit"),
        (["--url", "http://127.0.0.1"], "is not a WebSocket address"),
        (["--kafka", "nowhere"], "--kafka nowhere is not a list of servers"),
        (["--postgres", "x://u:hunter2@h"], "--postgres x://u:***@h is not such a URL"),
        (["--check", "missing.jsonl"], "cannot read the history missing.jsonl"),
        (["--report", "no/such/directory.html"], "cannot write the report"),
        (["--data-dir", "x", "--kafka", "h:1"], "--data-dir is an embedded server's"),
        (["--data-dir", "missing"], "--data-dir missing: no server was ever started there"),
        (["--auth", "jwt"], "--auth goes with --faults, which starts servers: for others give"),
        (["--jwt-issuer", "x"], "--jwt-issuer goes with --jwt-secret-file: add that, or leave it"),
        (["--jwt-secret-file", "missing"], "--jwt-secret-file missing: this file cannot be read"),
        (["--jwt-secret-file", "/dev/null"], "holds 0 bytes, and a secret has 32 or more"),
        (
            ["--faults", "--auth", "none", "--jwt-secret-file", "x"],
            "--jwt-secret-file goes with --auth jwt: add that, or leave it out",
        ),
        (["--faulty"], "--faulty is not an option of landline verify"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") <= 2
    assert "hunter2" not in error


@pytest.fixture
def web_server() -> Iterator[str]:
    """The address of a server that knows HTTP and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.server_port}/ws/chat"
        server.shutdown()
        thread.join()


def test_a_server_that_is_not_landline_is_one_line_and_exit_2(web_server: str) -> None:
    ended = verify("--url", web_server)
    assert ended.returncode == 2
    assert f"--url {web_server}: this is no Landline server" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_nobody_there_is_one_line_and_exit_2() -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws/chat"
    ended = verify("--url", url)
    assert ended.returncode == 2
    assert f"--url {url}: nobody answers" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.e2e
def test_a_run_ends_with_a_page_a_report_and_a_history(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    report, kept = tmp_path / "report.html", tmp_path / "run.jsonl"
    try:
        server.start()
        arguments = (
            "--url", server.ws_url, "--duration", "4s", "--users", "16", "--rate", "300",
            "--report", str(report), "--history", str(kept), "--data-dir", str(server.data_dir),
        )  # fmt: skip
        ended = verify(*arguments)
        for _ in range(TRIES - 1):
            if is_told_too_little(ended.returncode, ended.stdout):
                ended = verify(*arguments)
    finally:
        server.kill()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "landline verify: PASS" in ended.stdout
    page = ended.stdout.partition("landline verify: PASS")[2]
    assert max(map(len, page.replace(str(report), "").splitlines())) <= 80
    again = verify("--check", str(kept))
    assert again.returncode == 0
    assert page.partition("\nThe report")[0].strip() in again.stdout


@pytest.mark.e2e
@pytest.mark.parametrize("is_impatient", [False, True])
def test_ctrl_c_ends_with_a_partial_page(tmp_path: Path, is_impatient: bool) -> None:
    server = ServerProcess(tmp_path / "data")
    kept = tmp_path / "run.jsonl"
    try:
        server.start()
        with subprocess.Popen(
            command("--url", server.ws_url, "--users", "16", "--rate", "50", "--duration", "10m",
                    "--history", str(kept)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                said = []
                for line in process.stdout:
                    said.append(line)
                    if "s  load  " in line:
                        process.send_signal(signal.SIGINT)
                    if is_impatient and line.startswith("stopping"):
                        process.send_signal(signal.SIGINT)
                assert process.wait(SECONDS) == 2
            finally:
                process.kill()
    finally:
        server.kill()
    text = "".join(said)
    assert "Traceback" not in text
    assert "landline verify: UNKNOWN" in text
    assert "the run is partial" in text
    kinds = [json.loads(line)["kind"] for line in kept.read_text().splitlines()]
    assert kinds[0] == "run"


async def test_a_kept_history_of_a_broken_server_is_judged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = await run_standin(lambda: Standin("double", every=20), duration_seconds=1.0)
    kept = tmp_path / "run.jsonl"
    with History(made, file=kept):
        pass
    assert await asyncio.to_thread(check_file, kept, None) == 1
    printed = capsys.readouterr().out
    assert "landline verify: FAIL" in printed
    assert "The story of message" in printed
