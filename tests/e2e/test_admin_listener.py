"""Health, readiness and metrics: at a listener of their own, or where only this machine can ask."""

import asyncio
import json
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from landline_stack.ports import free_port
from support.peer import Peer
from support.raw import opened, request
from support.server import ServerProcess
from support.waiting import until

ANYWHERE = ["--host", "0.0.0.0", "--insecure"]  # noqa: S104
PAGES = {"/healthz": 200, "/readyz": 200, "/metrics": 200}
ELSEWHERE = ["/", "/ws/chat?username=a", "/ws", "/v1/messages", "/v1/openapi.json", "/web/app.js"]


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Return status and body of a page; status 0 where nobody answers."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def lines(server: ServerProcess, event: str) -> list[dict[str, Any]]:
    said = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in said if line["event"] == event]


@contextmanager
def launched(directory: Path, args: list[str]) -> Iterator[ServerProcess]:
    """A server that may never be ready."""
    server = ServerProcess(directory, args=args)
    server.launch()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with both listeners."""
    server = ServerProcess(tmp_path / "data", args=["--admin-port", str(free_port())])
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()
    assert '"warning"' not in server.log()


def admin_port(server: ServerProcess) -> int:
    return int(server.arguments[-1])


async def test_it_has_what_operators_ask_and_nothing_else(watched: ServerProcess) -> None:
    port = admin_port(watched)
    [line] = lines(watched, "admin_listening")
    assert line["url"] == f"http://127.0.0.1:{port}/"
    async with Peer(watched.ws_url, "alice"):
        assert "landline_connections 1.0" in get(port, "/metrics")[1]
    for path, status in PAGES.items():
        assert get(port, path)[0] == status
    assert json.loads(get(port, "/readyz")[1]) == {"status": "ready", "problems": {}}
    for path in ELSEWHERE:
        assert get(port, path, {"username": "alice"})[0] == 404, path


async def test_nobody_chats_there(watched: ServerProcess) -> None:
    port = admin_port(watched)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(request(port))
        assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
    assert lines(watched, "connection_opened") == []
    assert get(port, "/metrics&token=secret", {"Origin": "https://u:secret@page.example"})[0] == 404
    await until(lambda: len(lines(watched, "request_refused")) == 2, "it is in the log")
    assert lines(watched, "request_refused")[1]["path"] == "/metrics"
    assert "secret" not in watched.log()


def test_the_main_one_has_neither_metrics_nor_reasons_then(watched: ServerProcess) -> None:
    assert watched.get("/metrics")[0] == 404
    assert json.loads(watched.get("/readyz")[1]) == {"status": "ready"}
    assert watched.get("/healthz")[0] == watched.get("/")[0] == 200


def test_without_it_the_main_one_has_them_where_only_this_machine_can_ask(
    tmp_path: Path,
) -> None:
    proxied = ["--trusted-proxies", "127.0.0.2"]
    public = ["--public-url", "https://chat.example.org"]
    for number, (args, is_shown) in enumerate(
        (([], True), (ANYWHERE, False), (proxied, False), (public, False))
    ):
        with ServerProcess(tmp_path / f"data-{number}", args=args) as server:
            assert server.get("/metrics")[0] == (200 if is_shown else 404)
            readiness = json.loads(server.get("/readyz")[1])
            assert readiness == {"status": "ready"} | ({"problems": {}} if is_shown else {})


def test_any_free_port_is_told(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", args=["--admin-port", "0"]) as server:
        [line] = lines(server, "admin_listening")
        [port] = re.findall(r"http://127\.0\.0\.1:([0-9]+)/$", line["url"])
        assert get(int(port), "/readyz")[0] == 200


async def test_it_answers_while_the_server_starts_and_drains(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listening:  # a log that does not answer
        kafka = f"127.0.0.1:{listening.getsockname()[1]}"
        args = ["--kafka", kafka, "--postgres", "postgresql://127.0.0.1:1/none"]
        with launched(tmp_path / "starting", [*args, "--admin-port", str(port)]) as server:
            await until(lambda: get(port, "/healthz")[0] == 200, "it is alive")
            status, body = get(port, "/readyz")
            assert (status, json.loads(body)["problems"]) == (503, {"server": "starting"})
            assert server.get("/readyz") == (503, '{"status":"not ready"}')
    with ServerProcess(tmp_path / "draining", args=["--admin-port", str(port)]) as server:
        async with opened(server.port):  # it never answers the goodbye, so the drain takes a while
            server.signal(signal.SIGTERM)
            await until(server.says_that_it_drains, "it drains")
            status, body = get(port, "/readyz")
            assert (status, json.loads(body)["problems"]) == (503, {"server": "draining"})
            assert await asyncio.to_thread(server.wait, 60) == 0


def test_a_port_that_is_taken_names_the_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = said_at_start(tmp_path / "a", ["--admin-port", str(port)])
    assert refused.startswith(
        f"landline: --admin-host 127.0.0.1 --admin-port {port}: cannot listen there"
    )
    assert "choose another --admin-port" in refused
    refused = said_at_start(tmp_path / "b", ["--admin-port", "1234", "--admin-host", "192.0.2.7"])
    assert "give a --admin-host of this machine" in refused
    assert "--admin-port" in said_at_start(tmp_path / "c", ["--admin-host", "127.0.0.1"])


def said_at_start(directory: Path, args: list[str]) -> str:
    """Return the last line of a server that does not start."""
    with launched(directory, args) as server:
        assert server.wait(60) == 2
        return server.log().splitlines()[-1]


def test_the_same_port_for_both_is_refused(tmp_path: Path) -> None:
    port = free_port()
    with launched(tmp_path / "data", ["--port", str(port), "--admin-port", str(port)]) as server:
        assert server.wait(60) == 2
        assert f"--admin-port {port}: cannot listen there" in server.log()
