"""A Redis that a test may break, and the directories of two servers on it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from landline.adapters.redis import RedisDirectory
from landline_stack.redis import RedisServer
from redis import Redis
from support.directories import Running


@pytest.fixture(scope="package")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(shared_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis that is alive at the end of the test as it was at its start, and empty before."""
    with Redis.from_url(shared_server.url) as admin:
        admin.flushall()
    yield shared_server
    if not shared_server.is_running:
        shared_server.start()
    shared_server.resume()


@pytest.fixture
def admin(redis: RedisServer) -> Iterator[Redis]:
    """A client that looks behind the directory's back."""
    with Redis.from_url(redis.url) as client:
        yield client


@pytest.fixture
async def one(redis: RedisServer) -> AsyncIterator[RedisDirectory]:
    async with Running(redis.url, "ws-1") as directory:
        yield directory


@pytest.fixture
async def two(redis: RedisServer) -> AsyncIterator[RedisDirectory]:
    async with Running(redis.url, "ws-2") as directory:
        yield directory
