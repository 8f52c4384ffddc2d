"""A server claims its id although Redis answers late now and then."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError

from landline.adapters.redis.connections import Command, RedisConnections, SendCommands
from landline.adapters.redis.own_key import OwnKey
from landline.adapters.redis.registrations import ServerLife
from landline.errors import DirectoryUnavailable, StartupError
from support.replays import in_virtual_time

BEAT_SECONDS = 2.0
OURS, ANOTHERS = "a" * 16, "b" * 16
LATE = TimeoutError()


class SlowRedis:
    """One key. Of the calls to come, some are answered late: carried out, and not heard of."""

    def __init__(self, held: bytes | None, late: Sequence[int]) -> None:
        self.held = held
        self.calls = 0
        self.down: str | None = None
        self.refusal: Exception | None = None
        self.is_read_only = False
        self._late = late

    @asynccontextmanager
    async def call(self) -> AsyncIterator[SendCommands]:
        self.calls += 1
        if self.refusal is not None:
            raise DirectoryUnavailable("no") from self.refusal
        yield self._send
        if self.calls in self._late:
            raise DirectoryUnavailable("no answer in 0.2 s") from LATE

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        [(name, *arguments)] = commands
        if name == "MGET":
            return [[self.held]]
        _script, _count, _key, seen, life, _alive_ms = arguments
        if (self.held or b"") != seen:
            return [0]
        if not self.is_read_only:
            self.held = cast("bytes", life)
        return [1]


def key_in(redis: SlowRedis) -> OwnKey:
    return OwnKey(cast("RedisConnections", redis), "ws-1", OURS, BEAT_SECONDS)


def life(run: str, beat: int) -> bytes:
    return ServerLife(run, beat).encode()


@pytest.mark.parametrize("late", [(1,), (2,), (1, 2, 3), (3, 5)])
@in_virtual_time
async def test_an_id_is_claimed_all_the_same(late: Sequence[int]) -> None:
    """Also where it was ours already, and only the answer was late."""
    redis = SlowRedis(None, late)
    await key_in(redis).claim(1)
    assert redis.held == life(OURS, 1)


@pytest.mark.parametrize("late", [(1,), (2,), (3, 4)])
@in_virtual_time
async def test_one_that_is_alive_is_found(late: Sequence[int]) -> None:
    redis = SlowRedis(life(ANOTHERS, 1), late)

    async def beat() -> None:
        await asyncio.sleep(BEAT_SECONDS)
        redis.held = life(ANOTHERS, 2)

    async with asyncio.TaskGroup() as others:
        others.create_task(beat())
        with pytest.raises(StartupError, match="another server with this id is running"):
            await key_in(redis).claim(1)


@in_virtual_time
async def test_a_redis_that_is_down_or_refuses_keeps_nobody_from_starting() -> None:
    away = SlowRedis(None, range(100))
    away.down = "no answer in 0.2 s"
    await key_in(away).claim(1)
    assert away.calls == 1
    half = SlowRedis(None, range(2, 100, 2))  # it answers what reads, and nothing that writes
    half.is_read_only = True
    await key_in(half).claim(1)
    assert half.held is None
    refusing = SlowRedis(None, ())
    refusing.refusal = ResponseError("NOPERM")
    await key_in(refusing).claim(1)
    assert refusing.calls == 1
