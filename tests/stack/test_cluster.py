"""`make cluster`: two servers on the real thing, users on both, and nobody left after Ctrl-C."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

import landline
from landline_stack import LandlineServer, Stack
from landline_stack.errors import StackError
from landline_stack.ports import free_port
from support.parent import SECONDS, Parent
from support.stack import stack_or_skip
from support.waiting import until

pytestmark = pytest.mark.stack

COUNT = 100


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def cluster(ports: tuple[int, int]) -> Iterator[Parent]:
    stack_or_skip()
    parent = Parent("-m", "landline_stack", "--ports", ",".join(map(str, ports)))
    try:
        parent.wait_for("press Ctrl-C to stop")
        yield parent
    finally:
        parent.end()


def last_line(log: Path) -> str:
    return log.read_text().splitlines()[-1]


def command(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing of one that has ended since."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SECONDS) as response:
        return str(response.read().decode())


async def is_well(port: int) -> bool:
    """Say whether a server lacks nothing, and says so in both places."""
    with suppress(urllib.error.HTTPError):
        ready = await asyncio.to_thread(read, port, "/readyz")
        measured = await asyncio.to_thread(read, port, "/metrics")
        is_ready: bool = json.loads(ready) == {"status": "ready", "problems": {}}
        return is_ready and 'landline_usable{part="routing"} 1.0' in measured
    return False


async def test_two_users_on_two_servers_chat_until_it_is_all_stopped(
    cluster: Parent, ports: tuple[int, int]
) -> None:
    urls = [f"ws://127.0.0.1:{port}/ws/chat" for port in ports]
    async with (
        asyncio.timeout(SECONDS),
        landline.connect(urls[0], username="alice") as alice,
        landline.connect(urls[1], username="bob") as bob,
    ):

        async def talk(me: landline.Chat, other: str) -> list[str]:
            """Send all, and read until all of the other's have come."""
            await asyncio.gather(*(me.send(other, f"{number}") for number in range(COUNT)))
            heard = []
            async for message in me:
                heard.append(message.content)
                if len(heard) == COUNT:
                    break
            return heard

        heard = await asyncio.gather(talk(alice, "bob"), talk(bob, "alice"))
        assert [sorted(each, key=int) for each in heard] == [list(map(str, range(COUNT)))] * 2
        acceptance = await alice.send("carol", "for later")
    async with landline.connect(urls[1], username="carol") as carol:
        async for message in carol:
            assert message.id == acceptance.id
            break
    for port in ports:  # a beat that comes late is told for a moment
        await until(partial(is_well, port), f"the server on {port} is ready, routing as well")

    # A server that ends meanwhile is shown with its last words: its log goes when we do.
    [victim] = [
        each
        for each in cluster.family
        if str(ports[1]) in command(each) and not any("guard.py" in part for part in command(each))
    ]
    victim.kill()
    await asyncio.to_thread(cluster.wait_for, "ws-2 has ended (code=137). Its log, ")
    log = Path(cluster.said.rpartition("Its log, ")[2].rpartition(", ends with:")[0])
    await asyncio.to_thread(cluster.wait_for, last_line(log))

    directory = Path(cluster.said.split("logs, data")[1].split()[0])
    cluster.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(cluster.process.wait, SECONDS) == 0
    assert cluster.left() == []
    assert not await asyncio.to_thread(directory.exists)


class Impostor(BaseHTTPRequestHandler):
    """Somebody else's Landline, which is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port on which somebody else's server answers."""
    with HTTPServer(("127.0.0.1", free_port()), Impostor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "landline_stack", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def test_a_port_of_somebody_else_is_found_before_anything_starts(taken: int) -> None:
    ended = run("--ports", f"{free_port()},{taken}")
    assert ended.returncode == 2
    assert f"port {taken} cannot be used (Address already in use)" in ended.stderr
    assert 'ARGS="--ports ' in ended.stderr
    assert "Starting" not in ended.stderr


def test_a_port_is_named_once() -> None:
    ended = run("--ports", "9081,9082,9081")
    assert ended.returncode == 2
    assert "names a port twice" in ended.stderr


def test_somebody_else_who_answers_is_not_taken_for_the_server(
    stack: Stack, taken: int, tmp_path: Path
) -> None:
    """He may come between the look at the port and the start, or while a server is away."""
    server = LandlineServer.on(stack, "ws-1", tmp_path / "ws-1", port=taken)
    try:
        with pytest.raises(StackError, match="ended while it started") as caught:
            server.start()
    finally:
        server.kill()
    assert "cannot listen there" in str(caught.value)
