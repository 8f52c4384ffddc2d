"""Keys in Redis that are not Landline's, where Landline's would be."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from contract.redis.broken import (
    FOUND,
    HUNDRED,
    USERS,
    until_all_found,
    until_healthy,
    until_unhealthy,
)
from landline.adapters.redis import RedisDirectory
from landline.errors import DirectoryUnavailable
from landline_stack.redis import RedisServer
from redis import Redis
from support.directories import Running
from support.waiting import until


async def test_a_user_s_key_that_is_somebody_else_s_concerns_that_user_alone(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    """It is in front of the others in every walk: they must neither wait behind it nor expire."""
    admin.set("landline:user:bob", "not ours")
    await one.register([("bob", "s"), *HUNDRED])
    beat = one._beat
    await until(lambda: one._beat > beat + 8, "more beats have passed than a registration may miss")
    assert await two.lookup(USERS) == FOUND
    assert one.health() is None
    assert admin.get("landline:user:bob") == b"not ours"


# Every type that is not the one of ours, as somebody else writes it.
FOREIGN: dict[str, Callable[[Redis, str], Any]] = {
    "string": lambda admin, key: admin.set(key, "x"),
    "list": lambda admin, key: admin.rpush(key, "x"),
    "set": lambda admin, key: admin.sadd(key, "x"),
    "sorted set": lambda admin, key: admin.zadd(key, {"x": 1}),
    "stream": lambda admin, key: admin.xadd(key, {"x": "1"}),
    "hash": lambda admin, key: admin.hset(key, "x", "1"),
}


def put_foreign(admin: Redis, key: str, kind: str) -> None:
    """In one step: a beat must not come between, and write its own."""
    FOREIGN[kind](admin, "foreign")
    admin.rename("foreign", key)


OTHER_THAN_HASH = [name for name in FOREIGN if name != "hash"]

OTHER_THAN_STRING = [name for name in FOREIGN if name != "string"]


@pytest.mark.parametrize("kind", OTHER_THAN_HASH)
async def test_a_foreign_key_of_one_who_leaves_keeps_nobody_back(
    kind: str, admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    """First in the chunk: the others leave, the beat is well, nothing is tried again for ever."""
    put_foreign(admin, "landline:user:bob", kind)
    await one.register([("bob", "s"), *HUNDRED])
    with capture_logs() as lines:
        await one.unregister([("bob", "s"), *HUNDRED])
        assert admin.keys("landline:user:*") == [b"landline:user:bob"]
        beat = one._beat
        await until(lambda: one._beat > beat + 2 and not one._left, "nothing is left to take out")
    assert one.health() is None
    assert not [line for line in lines if line["event"] == "directory_unavailable"]
    assert await two.lookup(["bob"]) == {}
    assert admin.type("landline:user:bob") != b"hash"


@pytest.mark.parametrize("kind", OTHER_THAN_HASH)
async def test_a_foreign_key_in_the_way_of_tidying_stays_and_the_rest_is_tidied(
    kind: str, admin: Redis, redis: RedisServer
) -> None:
    """It took the place of a dead server's registration after that was seen."""
    running = Running(redis.url, "ws-2")
    two = await running.start()
    await running.fall_silent()
    for user in ("alice", "bob", "carol"):
        admin.hset(f"landline:user:{user}", "ws-1/run/s", "1")
    assert await two.lookup(["alice", "bob", "carol"]) == {}
    put_foreign(admin, "landline:user:alice", kind)
    await two._beat_once()
    assert not two._lookups._stale
    assert admin.keys("landline:user:*") == [b"landline:user:alice"]
    await running.close()


async def test_a_server_that_stops_leaves_more_than_one_chunk_of_foreign_keys_and_nothing_else(
    admin: Redis, redis: RedisServer
) -> None:
    foreign = [f"foreign{number}" for number in range(500)]
    for user in foreign:
        admin.set(f"landline:user:{user}", "x")
    async with Running(redis.url, "ws-1") as one:
        # Between each two of them one whose key is well.
        mixed = [name for user in foreign for name in (user, f"well-{user}")]
        await one.register([(user, "s") for user in mixed])
    assert set(admin.keys("*")) == {f"landline:user:{user}".encode() for user in foreign}


@pytest.mark.parametrize("is_there_first", [True, False], ids=["at the start", "later"])
@pytest.mark.parametrize("kind", OTHER_THAN_STRING)
async def test_a_server_s_key_that_is_somebody_else_s_is_told_with_what_to_do(
    kind: str, is_there_first: bool, admin: Redis, redis: RedisServer, two: RedisDirectory
) -> None:
    """Once, as trouble that lasts; lookups and leaving still work, and it ends with the key."""
    running = Running(redis.url, "ws-1")
    with capture_logs() as lines:
        if is_there_first:
            put_foreign(admin, "landline:server:ws-1", kind)
        one = await running.start()
        if not is_there_first:
            await one.register(HUNDRED)
            put_foreign(admin, "landline:server:ws-1", kind)
        why = await until_unhealthy(one)
        assert "landline:server:ws-1 is not Landline's: delete it (redis-cli DEL" in why
        assert why.endswith("or choose another --server-id")
        await two.register([("bob", "s")])
        assert await one.lookup(["bob"]) == {"bob": {"ws-2/run"}}
        if not is_there_first:
            await one.unregister(HUNDRED[:50])
            assert len(admin.keys("landline:user:*")) <= 51
    assert [line["event"] for line in lines].count("directory_unavailable") == 1
    with suppress(DirectoryUnavailable):
        await one.register(HUNDRED)
    admin.delete("landline:server:ws-1")
    await until_healthy(one)
    await until_all_found(two)
    put_foreign(admin, "landline:server:ws-1", kind)
    await running.close()
    assert set(admin.keys("landline:user:*")) == {b"landline:user:bob"}


async def test_what_is_not_ours_in_redis_harms_nobody_else(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    admin.set("landline:user:eve", "not a hash")
    admin.set("landline:server:odd", b"\xff\xfe")
    admin.hset(
        "landline:user:alice",
        mapping={b"\xff": b"1", "a": "1", "ws-9/run/s": "x", "odd/run/s": "1", "a/b/c/d": "1"},
    )
    await one.register([("alice", "s"), ("bob", "s")])
    assert await two.lookup(["alice", "eve", "bob"]) == {"alice": {"ws-1/run"}, "bob": {"ws-1/run"}}
