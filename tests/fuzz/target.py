"""The server that is attacked: what it costs, what it has logged, and whether it still serves."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.peer import Peer
from support.server import ServerProcess
from support.waiting import until

# What it may have more in memory after an attack than after the warm-up: the page caches of the
# four connections to its database, 16 MB each, and what the allocator keeps. 100 bytes left over
# from each of a million frames are more than that.
GROWTH_BYTES = 72 * 1024 * 1024
MESSAGES = 20

_TRIPPED = re.compile(
    r"Traceback|unhandled|connection_failed|was never retrieved|was destroyed|"
    r'"level": ?"(?:error|critical)"'
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process has open and in memory."""

    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.files} files, {self.bytes / 2**20:.1f} MiB"


class Target:
    """A server with its base, which is measured after a warm-up."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self._log_place = 0
        self.base = Cost(0, 0)

    def cost(self) -> Cost:
        """Return what it costs now."""
        process = psutil.Process(self.server.pid)
        return Cost(process.num_fds(), process.memory_info().rss)

    async def warm(self) -> None:
        """Take what it costs now as its base, once nobody is connected. The database has all its
        connections then: the one for people's questions is opened with the first of these.
        """
        url = f"ws://127.0.0.1:{self.server.port}/ws/chat"
        async with Peer(url, "early") as early:
            await early.raw({"type": "list"})
            await until(lambda: bool(early.visit.of("conversations")), "it is answered")
        await self._until_alone()
        self.base = self.cost()

    async def check(self) -> Cost:
        """Check everything after an attack. Returns what it costs then."""
        assert self.server.is_running, f"it has ended: {self.server.how_it_ended()}"
        self._check_log()
        await self._until_alone()
        await until(
            lambda: self.cost().files <= self.base.files,
            lambda: f"the files are {self.base.files} again, not {self.cost().files}",
        )
        now = self.cost()
        assert now.bytes - self.base.bytes < GROWTH_BYTES, f"it was {self.base}, and is {now}"
        await self._check_service()
        self._check_log()
        return now

    async def _check_service(self) -> None:
        """A pair that behaves well connects and gets every message."""
        port = self.server.port
        url = f"ws://127.0.0.1:{port}/ws/chat"
        async with asyncio.timeout(60), Peer(url, "good") as one, Peer(url, "well") as other:
            known = len(other.received)
            ids = {
                (await one.send_and_wait("well", f"message {number}"))["id"]
                for number in range(MESSAGES)
            }
            await until(lambda: ids <= other.received, "they have arrived")
            assert len(ids) == MESSAGES
            assert len(other.received) >= known

    async def _until_alone(self) -> None:
        def is_alone() -> bool:
            _, page = self.server.get("/metrics")
            return all(
                re.search(rf"^{name} 0(\.0)?$", page, re.MULTILINE)
                for name in ("landline_connections", "landline_inflight_sends")
            )

        async def asks() -> bool:
            return await asyncio.to_thread(is_alone)

        await until(asks, "nobody is connected, and nothing is on its way")

    def _check_log(self) -> None:
        path: Path = self.server.log_path
        with path.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._log_place)
            for line in log:
                assert not _TRIPPED.search(line), f"the server tripped: {line[:2000]}"
            self._log_place = log.tell()
