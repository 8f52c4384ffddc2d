"""The first seconds of a server: it is told to stop, it waits, it has been given no streams."""

import asyncio
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from support.peer import Peer
from support.raw import dialled, request
from support.server import ServerProcess
from support.waiting import until

SIGNALS = [signal.SIGTERM, signal.SIGINT]
CLUSTER = ["--kafka", "127.0.0.1:1", "--postgres", "postgresql://127.0.0.1:1/none"]
CLOSINGS = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"]


def has_begun(pid: int) -> bool:
    """Say whether SIGTERM is caught. Python itself catches SIGINT, and before anybody else."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt"):
                return bool(int(line.split()[1], 16) & 1 << (signal.SIGTERM - 1))
    return False


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a database that a server has made."""
    server = ServerProcess(directory)
    server.start()
    assert server.stop() == 0
    with closing(sqlite3.connect(directory / "landline.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def launched(directory: Path, args: Sequence[str] = ()) -> Iterator[ServerProcess]:
    server = ServerProcess(directory, args=args)
    server.log_path = directory.parent / "started.log"
    server.launch()
    try:
        yield server
    finally:
        server.kill()


async def ends_well(server: ServerProcess, number: signal.Signals) -> None:
    server.signal(number)
    assert await asyncio.to_thread(server.wait, 15) == 0, server.log()
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_start_that_waits_for_a_lock_answers_and_can_be_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    with locked(tmp_path / "data"), launched(tmp_path / "data") as server:
        await until(lambda: server.get("/healthz")[0] == 200, "it answers")
        status, body = server.get("/readyz")
        assert status == 503
        assert "starting" in body
        await ends_well(server, number)
        assert '"stopped"' in server.log()


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_start_that_waits_for_kafka_can_be_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    with launched(tmp_path / "data", CLUSTER) as server:
        await until(lambda: server.get("/healthz")[0] == 200, "it answers")
        await ends_well(server, number)
        assert '"stopped"' in server.log()


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_start_can_be_stopped_while_it_loads(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The first process of a container gets no signal that nobody catches."""
    with launched(tmp_path / "data") as server:
        await until(lambda: has_begun(server.pid), "it catches signals")
        await ends_well(server, number)
        assert "stopped" in server.log()


@pytest.mark.parametrize("closing_words", CLOSINGS)
async def test_streams_that_are_closed_are_no_trouble(tmp_path: Path, closing_words: str) -> None:
    prefix = ["sh", "-c", f'exec "$@" {closing_words}', "sh"]
    with ServerProcess(tmp_path / "data", prefix=prefix) as server:
        async with Peer(server.ws_url, "alice") as alice:
            await alice.send_and_wait("alice", "hello")
        assert server.stop() == 0, server.log()


@pytest.mark.parametrize("closing_words", CLOSINGS)
@pytest.mark.parametrize(("command", "code"), [("--version", 0), ("serve --port x", 2)])
def test_commands_without_streams_end_as_ever(closing_words: str, command: str, code: int) -> None:
    line = f'exec "$0" -m landline {command} {closing_words}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == code
    assert b"Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        ("no.such.host.invalid", "give a --host of this machine"),
        ("192.0.2.1", "give a --host of this machine"),
        ("2001:db8::1", "give a --host of this machine"),
        ("127.0.0.1", "choose another --port"),
    ],
)
def test_a_place_where_nobody_can_listen_is_told_with_its_remedy(
    tmp_path: Path, host: str, remedy: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with launched(tmp_path / "data", ["--host", host, "--insecure", "--port", str(port)]) as it:
            assert it.wait(60) == 2
            assert remedy in it.log()
            assert ("--port," in it.log()) == ("--port" in remedy)


def test_a_server_that_is_there_already_is_named_with_its_process(tmp_path: Path) -> None:
    """It may be one that went on when its terminal was closed."""
    with ServerProcess(tmp_path / "data") as server:
        assert f"runs already, as process {server.pid}: " in refusal(server, tmp_path / "data")
        assert "choose another --port" in refusal(server, tmp_path / "other")
    with socket.create_server(("127.0.0.1", server.port)):  # what it left behind names nobody
        assert "choose another --port" in refusal(server, tmp_path / "data")


def refusal(server: ServerProcess, directory: Path) -> str:
    """Return what another server says that is to have the same port."""
    with launched(directory, ["--port", str(server.port)]) as other:
        assert other.wait(30) == 2, other.log()
        return other.log().splitlines()[-1]


async def test_a_server_that_starts_is_alive_not_ready_and_lets_nobody_in(tmp_path: Path) -> None:
    """Its log does not answer yet. A balancer asks and is told, instead of hearing nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:  # and nobody accepts
        args = ["--kafka", f"127.0.0.1:{listening.getsockname()[1]}", *CLUSTER[2:]]
        with launched(tmp_path / "data", args) as server:
            await until(lambda: server.get("/healthz")[0] == 200, "it is alive")
            status, body = server.get("/readyz")
            problems = {"status": "not ready", "problems": {"server": "starting"}}
            assert (status, json.loads(body)) == (503, problems)
            assert server.get("/metrics")[0] == server.get("/")[0] == 200
            async with dialled(server.port) as raw:
                answer = await raw.upgrade(request(server.port))
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "Traceback" not in server.log()
