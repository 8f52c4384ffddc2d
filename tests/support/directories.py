"""Clusters of directories for the tests: each adapter, on whatever it needs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Protocol

from landline.adapters.memory import MemoryDirectory, Registry
from landline.adapters.redis import RedisDirectory
from landline.adapters.redis.directory import BEAT_SECONDS, REDIS_ANSWER_SECONDS, WALK_BEATS
from landline.errors import DirectoryUnavailable
from landline.ports import Directory
from support.waiting import until

# A small part of the real one, so that what takes beats takes no minute.
SHORT_BEAT_SECONDS = 0.1
SHORT_WALK_BEATS = 2
# How long Redis keeps what a server does not write again. By such short beats that would be less
# than a busy machine may stand still.
KEPT_MS = 60_000
# A machine that is busy is no outage. Tests of silence are `impatient` for as long as it lasts.
PATIENT_SECONDS = 10.0


class DirectoryCluster(Protocol):
    """Servers that see each other."""

    async def join(self, server_id: str, incarnation: str) -> Directory:
        """Return the directory of one more server, whose address is `<id>/<incarnation>`."""

    async def close(self) -> None:
        """Close the directory of every server that is left."""


class MemoryCluster:
    """Servers of one process."""

    def __init__(self) -> None:
        self._registry: Registry = {}

    async def join(self, server_id: str, incarnation: str) -> Directory:
        """Return a directory on the shared registry."""
        return MemoryDirectory(self._registry, f"{server_id}/{incarnation}")

    async def close(self) -> None:
        """Nothing is held."""


class RedisCluster:
    """Servers that share a Redis."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._running: list[Running] = []

    async def join(self, server_id: str, incarnation: str) -> Directory:
        """Claim the id and beat."""
        running = Running(
            self._url, server_id, incarnation, beat_seconds=BEAT_SECONDS, walk_beats=WALK_BEATS
        )
        self._running.append(running)
        return await running.start()

    async def close(self) -> None:
        """Stop every beat, then close."""
        for running in self._running:
            await running.close()


class Running:
    """A Redis directory as a server has it: its id claimed, its heart beating."""

    def __init__(
        self,
        url: str,
        server_id: str,
        incarnation: str = "run",
        *,
        beat_seconds: float = SHORT_BEAT_SECONDS,
        walk_beats: int = SHORT_WALK_BEATS,
        dies_soon: bool = False,
    ) -> None:
        """With `dies_soon` it counts as dead after as many beats as a real one that is silent."""
        self.directory = RedisDirectory(
            url,
            server_id,
            incarnation,
            beat_seconds=beat_seconds,
            walk_beats=walk_beats,
            deadline_seconds=PATIENT_SECONDS,
        )
        if beat_seconds < BEAT_SECONDS:
            self.directory._kept_ms = KEPT_MS
        if not dies_soon:
            self.directory._key.alive_ms = KEPT_MS
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> RedisDirectory:
        """Claim the id, then beat."""
        await self.directory.claim()
        self.beat()
        return self.directory

    def beat(self) -> None:
        """Beat, from now on or again."""
        self._beating = asyncio.create_task(self.directory.run())

    async def fall_silent(self) -> None:
        """Beat no more, as a server does that was killed or paused."""
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        self._beating = None

    @asynccontextmanager
    async def impatient(self) -> AsyncIterator[None]:
        """Wait for Redis no longer than a real server does, during the block alone."""
        is_beating = self._beating is not None
        await self.fall_silent()  # or a beat that is under way would be patient
        line = self.directory._redis
        line._deadline_seconds = REDIS_ANSWER_SECONDS
        if is_beating:
            self.beat()
        try:
            yield
        finally:
            line._deadline_seconds = PATIENT_SECONDS

    async def close(self) -> None:
        """Stop in the order in which a server stops. What the beat tripped over comes out here."""
        await self.fall_silent()
        await self.directory.close()

    async def __aenter__(self) -> RedisDirectory:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def until_lookup(
    directory: Directory,
    users: Collection[str],
    is_so: Callable[[dict[str, frozenset[str]]], bool],
    what: str,
) -> None:
    """Look these users up until the answer is as wanted; that there is none for a while is fine."""
    answer: dict[str, frozenset[str]] = {}

    async def is_found() -> bool:
        nonlocal answer
        try:
            answer = dict(await directory.lookup(users))
        except DirectoryUnavailable:
            return False
        return is_so(answer)

    await until(is_found, lambda: f"{what}; last answer: {answer}")
