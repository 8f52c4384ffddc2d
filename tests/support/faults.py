"""Servers of a cluster on a stack that a test may break, and what must hold in spite of it."""

import asyncio
import os
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from confluent_kafka.admin import AdminClient
from redis.asyncio import Redis

from landline_stack import Stack
from landline_stack.process import StackServer
from support.cluster import TOPICS, delete_topics
from support.peer import Peer
from support.server import ServerProcess
from support.waiting import paced, running, until, wait_until

MESSAGES, ROUTING = TOPICS

# What the contract gives a message to a user who stays connected, whatever happens to hints.
STRANDED_SECONDS = 15.0
KAFKA_SECONDS = 30.0
# And how long it has until all works again, once what was away is back.
RECOVERY_SECONDS = 10.0
# How long somebody is away. The answer to a long fault must not be another one than to a short one:
# `make test-long` has a minute.
AWAY_SECONDS = float(os.environ.get("LANDLINE_TEST_AWAY_SECONDS", "12"))
IS_LONG = AWAY_SECONDS >= 60  # `make test-long`
# A server that cannot start has ended by itself by then.
REFUSED_SECONDS = 60.0


class Fleet:
    """`ws-1`, `ws-2` and so on, on a database and topics that nobody else uses meanwhile."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self.database = f"test_{secrets.token_hex(6)}"
        self.servers: list[ServerProcess] = []
        self._directory = directory

    @property
    def postgres_url(self) -> str:
        """Return the address of the database."""
        return self.stack.postgres.database_url(self.database)

    def server(
        self, *args: str, redis: bool = True, unsafe: bool = True, postgres_url: str | None = None
    ) -> ServerProcess:
        """Return another server, not yet started."""
        name = f"ws-{len(self.servers) + 1}"
        options = ["--server-id", name, "--kafka", self.stack.kafka_servers]
        if redis:
            options += ["--redis", self.stack.redis_url]
        if unsafe:
            options.append("--allow-unsafe")
        server = ServerProcess(
            self._directory / name,
            args=[*options, *args],
            env={"LANDLINE_POSTGRES": postgres_url or self.postgres_url},
        )
        self.servers.append(server)
        return server

    async def start(self, count: int = 2, *args: str, **options: Any) -> Sequence[ServerProcess]:
        """Start servers, the first of them first: it makes tables and topics."""
        for _ in range(count):
            await asyncio.to_thread(self.server(*args, **options).start)
        return self.servers

    async def fetch(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the store."""
        connection = await asyncpg.connect(self.postgres_url)
        try:
            return [tuple(row) for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()

    async def execute(self, statements: str, *, database: str | None = None) -> None:
        """Run statements on the store, or on another database."""
        url = self.stack.postgres.database_url(database) if database else self.postgres_url
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()

    async def stored(self) -> set[str]:
        """Return the ids of all stored messages."""
        return {str(id) for (id,) in await self.fetch("SELECT message_id FROM messages")}

    async def until_stored(self, ids: Collection[str], seconds: float = 60.0) -> None:
        """Wait until the writer has applied them all."""

        async def are_stored() -> bool:
            return set(ids) <= await self.stored()

        await until(are_stored, "the writer has applied all that was accepted", seconds)

    async def open(self) -> None:
        """Make the database."""
        await self.execute(f"CREATE DATABASE {self.database}", database="postgres")

    async def close(self) -> None:
        """End the servers, repair the stack, and leave it as it was found."""
        for server in self.servers:
            server.kill()
        await asyncio.to_thread(repair, self.stack)
        # Or the next server of this name watches what a killed one has left for some seconds.
        async with Redis.from_url(self.stack.redis_url) as redis:
            await redis.flushall()
        await asyncio.to_thread(delete_topics, self.stack.kafka_servers)
        for name in (self.database, f"{self.database}_backup"):
            await self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")
        for server in self.servers:
            assert "Traceback" not in server.log(), server.log()


@asynccontextmanager
async def killed(server: StackServer) -> AsyncIterator[None]:
    """Have a server of the stack be dead during the block."""
    server.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


@asynccontextmanager
async def paused(server: StackServer) -> AsyncIterator[None]:
    """Have a server of the stack hang during the block."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


def repair(stack: Stack) -> None:
    """Have every server of the stack run again."""
    for each in stack.servers:
        if each.is_running:
            each.resume()
        else:
            each.launch()
    for each in stack.servers:
        each.wait_ready()


def admin(stack: Stack) -> AdminClient:
    """Return a client that asks Kafka."""
    return AdminClient({"bootstrap.servers": stack.kafka_servers, "log_level": 2})


def metric(server: ServerProcess, series: str) -> float:
    """Return the value of a series on a server's page of metrics, once it answers."""
    pages: list[str] = []

    def has_answered() -> bool:
        assert server.is_running, "a server that has ended has no metrics"
        status, page = server.get("/metrics")
        pages.append(page)
        return status == 200

    wait_until(has_answered, f"{server.name} shows its metrics")
    found = re.search(rf"^{re.escape(series)} (\S+)$", pages[-1], re.MULTILINE)
    assert found is not None, f"no series {series}"
    return float(found[1])


def pushes(server: ServerProcess, path: str) -> float:
    """Return how many messages a server has pushed that way."""
    return metric(server, f'landline_pushes_total{{path="{path}"}}')


@asynccontextmanager
async def talking(
    sender: Peer, recipients: Sequence[Peer], pause_seconds: float = 0.02
) -> AsyncIterator[None]:
    """Have one write to the others, in turn, for the length of a `with` block."""

    async def talk() -> None:
        async for number in paced(pause_seconds):
            await sender.send(recipients[number % len(recipients)].user, f"load {number}")

    async with running(talk()):
        yield


async def check_fates(sender: Peer, recipients: Sequence[Peer], seconds: float = 60.0) -> None:
    """Wait until every send has its last answer, then compare the answers with what arrived.

    Accepted: received, under one id, once in a session. Rejected: never seen.
    """
    await until(lambda: not sender.unanswered, "every send is answered for good", seconds)

    def received() -> set[str]:
        return {m["id"] for each in recipients for m in each.messages if m["sender"] == sender.user}

    await until(lambda: sender.accepted_ids <= received(), "what was accepted arrives", seconds)
    assert received() == sender.accepted_ids
    contents = Counter(
        content
        for each in recipients
        for content in {m["id"]: m["content"] for m in each.messages}.values()
    )
    assert not contents.keys() & set(sender.rejected.values())
    assert max(contents.values()) == 1
    for each in recipients:
        for visit in each.visits:
            assert max(Counter(visit.message_ids).values(), default=1) == 1


async def immediate_again(sender: Peer, recipient: Peer, server: ServerProcess) -> None:
    """Wait until messages reach the recipient's server without its sweep, many in a row."""
    before = pushes(server, "live")

    async def are_immediate() -> bool:
        await sender.send(recipient.user, f"again {secrets.token_hex(4)}")
        return pushes(server, "live") >= before + 10

    await until(are_immediate, "messages arrive at once, not by the sweep")
    await until(lambda: not sender.unanswered, "the last of them is answered")


def first_line(server: ServerProcess, event: str) -> str:
    """Return the first line of a server's log about this event, or nothing."""
    return next((line for line in server.log().splitlines() if f'"{event}"' in line), "")


async def until_logged(server: ServerProcess, event: str, seconds: float = 60.0) -> str:
    """Wait for an event in a server's log and return its line."""
    await until(lambda: bool(first_line(server, event)), f"it logs {event}", seconds)
    return first_line(server, event)


async def ended(server: ServerProcess, seconds: float = 60.0) -> int:
    """Wait until a server ends by itself and return its exit code."""
    await until(lambda: server.exit_code() is not None, "the server ends", seconds)
    return server.wait(seconds)


async def refused(server: ServerProcess) -> list[str]:
    """Start a server that must not start; return what it says about that, without its log."""
    before = len(server.log())
    server.launch()
    assert await ended(server, REFUSED_SECONDS) == 2, server.log()[before:]
    lines = server.log()[before:].splitlines()
    assert '"listening"' not in server.log()[before:]
    return [line for line in lines if not line.startswith("{")]
