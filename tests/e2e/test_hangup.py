"""SIGHUP: log files are opened again, and no server dies of it at any moment of its life."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from support.peer import Peer
from support.server import ServerProcess
from support.waiting import paced, until

ROLES = ["gateway,writer", "gateway", "writer"]


def is_handled(pid: int) -> bool:
    """Say whether SIGHUP is caught or ignored: a program cannot see to that before it runs."""
    with suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{pid}/status").read_text()
        masks = [
            line.split()[1] for line in status.splitlines() if line.startswith(("SigIgn", "SigCgt"))
        ]
        return any(int(mask, 16) & 1 << (signal.SIGHUP - 1) for mask in masks)
    return False


async def hang_up(pid: int, times: list[int]) -> None:
    """Send SIGHUP again and again, until the process has ended."""
    with suppress(ProcessLookupError):
        async for _ in paced(0.002):
            os.kill(pid, signal.SIGHUP)
            times.append(pid)


async def test_a_server_lives_through_it_from_its_start_to_the_end_of_its_drain(
    tmp_path: Path,
) -> None:
    server = ServerProcess(tmp_path / "data", args=["--log-dir", str(tmp_path / "logs")])
    server.launch()
    await until(lambda: is_handled(server.pid), "the program runs")
    times: list[int] = []
    storm = asyncio.create_task(hang_up(server.pid, times))
    try:
        await until(server.is_ready, "it is ready")
        async with Peer(server.ws_url, "alice") as alice:
            for number in range(20):
                await alice.send_and_wait("alice", f"{number}")
            server.signal(signal.SIGTERM)
            await until(lambda: '"draining"' in server.log(), "the server drains")
        assert await asyncio.to_thread(server.wait, 30) == 0
    finally:
        server.kill()
        await storm
    assert len(times) > 100
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("roles", ROLES)
async def test_a_start_that_waits_lives_through_it(tmp_path: Path, roles: str) -> None:
    """In each role, while the log does not answer; the end is the refusal of the start."""
    args = ["--kafka", "127.0.0.1:1", "--postgres", "postgresql://127.0.0.1:1/none"]
    args += ["--roles", roles, "--log-dir", str(tmp_path / "logs")]
    server = ServerProcess(tmp_path / "data", args=args)
    server.launch()
    await until(lambda: is_handled(server.pid), "the program runs")
    storm = asyncio.create_task(hang_up(server.pid, []))
    try:
        assert await asyncio.to_thread(server.wait, 100) == 2
    finally:
        server.kill()
        await storm
    assert "Traceback" not in server.log()


async def test_its_file_may_be_moved_away(tmp_path: Path) -> None:
    """As logrotate does it, without `copytruncate`."""
    logs = tmp_path / "logs"
    with ServerProcess(
        tmp_path / "data", args=["--log-dir", str(logs), "--server-id", "ws-1"]
    ) as server:
        path = logs / f"landline-ws-1-{server.port}.log"
        path.rename(logs / "moved")
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: path.exists() and "log_file_opened" in path.read_text(), "it is back")
        async with Peer(server.ws_url, "alice"):
            pass
        await until(lambda: "connection_closed" in path.read_text(), "its lines go there")
        assert [json.loads(line) for line in path.read_text().splitlines()]
        assert server.is_running
