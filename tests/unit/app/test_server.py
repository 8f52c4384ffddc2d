"""A server that is asked to stop, or fails, before it listens for hints."""

import asyncio
import dataclasses
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from landline.adapters.clock import SystemClock
from landline.adapters.memory import MemoryRoutingBus
from landline.app.access import Access
from landline.app.embedded import open_embedded
from landline.app.front import Front
from landline.app.parts import Parts
from landline.app.server import Server, new_id
from landline.app.stopping import Stop
from landline.config import Settings
from landline.errors import LogLost

WAIT_SECONDS = 30.0


class Hanging(MemoryRoutingBus):
    """Its Kafka died between two answers."""

    def __init__(self) -> None:
        super().__init__({}, "ws-1/run")
        self.asked = asyncio.Event()

    async def listen(self, receive: Callable[[bytes], None]) -> None:
        self.asked.set()
        await asyncio.Event().wait()


class Deployment:
    """The parts of a server, one of which hangs; what became of them."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self.settings = settings
        self.bus = Hanging()
        self.is_closed = False
        self._close = parts.close
        self.parts = dataclasses.replace(parts, bus=self.bus, close=self.close)

    async def close(self) -> None:
        self.is_closed = True
        await self._close()

    async def serve(self, stop: Stop, **services: object) -> int:
        clock = SystemClock()
        access = Access(self.settings, clock, fetch=None)
        front = Front(self.settings, new_id, access.gate, clock)
        await front.listener.open(socket.create_server(("127.0.0.1", 0)))
        parts = dataclasses.replace(self.parts, services=services)  # type: ignore[arg-type]
        server = Server(self.settings, "ws-1", parts, front, access=access, clock=clock)
        return await server.serve("http://x/", stop)


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    settings = Settings(data_dir=tmp_path / "data")
    made = Deployment(settings, await open_embedded(settings, "ws-1/run"))
    yield made
    if not made.is_closed:
        await made.close()


@pytest.mark.parametrize("is_early", [True, False], ids=["before", "meanwhile"])
async def test_a_server_that_is_asked_to_stop_does_not_wait_for_the_bus(
    deployment: Deployment, is_early: bool
) -> None:
    """It leaves in order: everything is closed, nobody was let in, the exit code is 0."""
    stop = Stop()
    if is_early:
        signal.raise_signal(signal.SIGTERM)
    with capture_logs() as lines:
        async with asyncio.timeout(WAIT_SECONDS):
            serving = asyncio.create_task(deployment.serve(stop))
            if not is_early:
                await deployment.bus.asked.wait()
                signal.raise_signal(signal.SIGTERM)
            assert await serving == 0
    assert deployment.is_closed
    events = [line["event"] for line in lines]
    assert "listening" not in events
    assert events[-1] == "stopped"


async def test_a_log_that_is_lost_does_not_wait_for_the_bus(deployment: Deployment) -> None:
    async def lose() -> None:
        await deployment.bus.asked.wait()
        raise LogLost("it is another one")

    with capture_logs() as lines:
        async with asyncio.timeout(WAIT_SECONDS):
            assert await deployment.serve(Stop(), log=lose) == 1
    assert deployment.is_closed
    events = [line["event"] for line in lines]
    assert "log_lost" in events
    assert "listening" not in events
