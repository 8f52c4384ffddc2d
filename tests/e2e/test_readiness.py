"""`/readyz` from a server's first moment to its last."""

import asyncio
import json
import signal
import socket
from pathlib import Path

from support.raw import dialled, opened, request
from support.server import ServerProcess
from support.waiting import until


async def test_a_server_that_starts_is_alive_not_ready_and_lets_nobody_in(tmp_path: Path) -> None:
    """Its log does not answer yet. A balancer asks and is told, instead of hearing nothing."""
    listening = socket.create_server(("127.0.0.1", 0))  # and nobody accepts
    broker = listening.getsockname()[1]
    args = ["--kafka", f"127.0.0.1:{broker}", "--postgres", "postgresql://127.0.0.1:1/none"]
    server = ServerProcess(tmp_path / "data", args=args)
    server.launch()
    try:
        await until(lambda: server.get("/healthz")[0] == 200, "it is alive")
        status, body = server.get("/readyz")
        assert (status, json.loads(body)) == (
            503,
            {"status": "not ready", "problems": {"server": "starting"}},
        )
        assert server.get("/metrics")[0] == server.get("/")[0] == 200
        async with dialled(server.port) as raw:
            answer = await raw.upgrade(request(server.port))
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    finally:
        server.kill()
        listening.close()
    assert "Traceback" not in server.log()


async def test_a_server_that_drains_says_so_and_lets_nobody_in(server: ServerProcess) -> None:
    async with opened(server.port) as raw:  # which will not answer the goodbye
        server.signal(signal.SIGTERM)
        await until(lambda: '"draining"' in server.log(), "the server drains")
        status, body = server.get("/readyz")
        assert (status, json.loads(body)["problems"]) == (503, {"server": "draining"})
        assert server.get("/healthz")[0] == 200
        async with dialled(server.port) as late:
            answer = await late.upgrade(request(server.port))
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert await raw.close_code() == 1012
        assert await asyncio.to_thread(server.wait, 30) == 0
