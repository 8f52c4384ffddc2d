"""The Redis directory when Redis dies, hangs, is full, or refuses.

Whatever happens, the only exception is DirectoryUnavailable, and once Redis is well all is found
again without anybody doing anything.
"""

import asyncio
from contextlib import suppress

import pytest

from contract.redis.broken import (
    FOUND,
    HUNDRED,
    SHORT_SECONDS,
    USERS,
    count_sends,
    until_all_found,
    until_healthy,
    until_unhealthy,
)
from landline.adapters.redis import RedisDirectory
from landline.errors import DirectoryUnavailable
from landline_stack.redis import RedisServer
from redis import Redis
from support.directories import Running, until_lookup
from support.waiting import until


async def test_after_a_kill_all_is_found_again_without_anybody_asking(
    redis: RedisServer, one: RedisDirectory, two: RedisDirectory
) -> None:
    """F48: a Redis that keeps nothing is killed and comes back empty."""
    await one.register(HUNDRED)
    redis.kill()
    assert f"127.0.0.1:{redis.port}" in await until_unhealthy(one)
    with pytest.raises(DirectoryUnavailable):
        await two.lookup(USERS)
    with pytest.raises(DirectoryUnavailable):
        await one.register([("late", "s")])
    await asyncio.to_thread(redis.start)
    await until_all_found(two)
    await until_healthy(one)
    assert await two.lookup(["late"]) == {"late": {"ws-1/run"}}


async def test_a_user_who_leaves_while_redis_hangs_is_gone_when_it_goes_on(
    redis: RedisServer, admin: Redis, two: RedisDirectory
) -> None:
    running = Running(redis.url, "ws-1")
    async with running as one:
        await one.register([*HUNDRED, ("alice", "s")])
        async with running.impatient():
            redis.pause()
            with pytest.raises(DirectoryUnavailable):
                await one.unregister(HUNDRED)
            await until_unhealthy(one)
        redis.resume()
        await until_healthy(one)
        await until_lookup(
            two, [*USERS, "alice"], lambda answer: answer == {"alice": {"ws-1/run"}}, "they left"
        )
        await until(
            lambda: set(admin.keys("landline:user:*")) == {b"landline:user:alice"},
            "nothing of theirs is in Redis",
        )
        beat = one._beat
        await until(lambda: one._beat > beat + 1, "a beat has asserted who is here")
        assert admin.keys("landline:user:*") == [b"landline:user:alice"]


async def test_an_outage_does_not_age_the_entries_that_outlive_it(
    redis: RedisServer, two: RedisDirectory
) -> None:
    """Only beats that came through count: a hundred sessions are there before they are asserted."""
    running = Running(redis.url, "ws-1")
    one = await running.start()
    await one.register(HUNDRED)
    async with running.impatient():
        redis.pause()
        sent = count_sends(one)
        await until(lambda: len(sent) > 8, "more beats have failed than a registration may miss")
        await running.fall_silent()
    redis.resume()
    async with one._redis.call(is_probe=True):
        pass
    await one.register([("new", "s")])
    assert await two.lookup(USERS) == FOUND
    await running.close()


async def test_while_nobody_answers_nobody_is_asked(redis: RedisServer) -> None:
    """The breaker: after a few silences a call costs nothing, and probes are the beat's."""
    running = Running(redis.url, "ws-1")
    directory = running.directory
    sent = count_sends(directory)
    async with running.impatient():
        redis.pause()
        while directory.health() is None:
            with pytest.raises(DirectoryUnavailable):
                await directory.lookup(["alice"])
        assert len(sent) == 3
        for _ in range(1_000):
            for call in (directory.lookup(["alice"]), directory.register(HUNDRED)):
                with pytest.raises(DirectoryUnavailable, match="no answer in"):
                    await call
        assert len(sent) == 3
        running.beat()
        await until(lambda: len(sent) > 4, "the beat tries")
    redis.resume()
    await until_healthy(directory)
    await directory.lookup(["alice"])
    await running.close()


async def test_callers_that_lose_patience_first_are_believed(redis: RedisServer) -> None:
    """A caller's own deadline is as short as ours: its cancel is a silence too."""
    directory = RedisDirectory(redis.url, "ws-1", "run", deadline_seconds=SHORT_SECONDS)
    redis.pause()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_SECONDS * 0.9):
                await directory.lookup(["alice"])
    with pytest.raises(DirectoryUnavailable, match="no answer in time"):
        await directory.lookup(["alice"])
    redis.resume()
    await directory.close()


async def test_silence_leaks_no_connections(redis: RedisServer, admin: Redis) -> None:
    running = Running(redis.url, "ws-1")
    async with running as directory:
        for _ in range(5):
            async with running.impatient():
                redis.pause()
                calls = [asyncio.create_task(directory.lookup(USERS)) for _ in range(20)]
                calls[0].cancel()
                await asyncio.wait(calls)
            redis.resume()
            await until_healthy(directory)
            await directory.lookup(USERS)
        await until(lambda: len(admin.client_list()) <= 5, "four connections are left, and ours")
    await until(lambda: len(admin.client_list()) == 1, "none is left, but ours")


async def test_what_is_remembered_during_an_outage_is_bounded(redis: RedisServer) -> None:
    directory = RedisDirectory(redis.url, "ws-1", "run")
    redis.kill()
    for start in range(0, 30_000, 1_000):
        registrations = [(f"user{start + number}", "s") for number in range(1_000)]
        for call in (directory.register, directory.unregister):
            with suppress(DirectoryUnavailable):
                await call(registrations)
    assert not directory._registrations
    assert len(directory._left) == 10_000
    await directory.close()


async def test_after_close_there_is_no_connection_and_none_is_made(
    redis: RedisServer, admin: Redis
) -> None:
    async with Running(redis.url, "ws-1") as directory:
        await directory.register(HUNDRED)
    for call in (directory.lookup(USERS), directory.register(HUNDRED)):
        with pytest.raises(DirectoryUnavailable):
            await call
    await until(lambda: len(admin.client_list()) == 1, "there is no connection but ours")


async def test_a_full_redis_is_told_in_words_and_answers_lookups(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    await one.register(HUNDRED)
    assert await two.lookup(USERS) == FOUND
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", "1mb")
    try:
        refused = None
        while refused is None:
            try:
                await one.register([(f"{len(one._registrations)}-{user}", "s") for user in USERS])
            except DirectoryUnavailable as error:
                refused = error
        assert "used memory > 'maxmemory'" in str(refused)
        assert "used memory > 'maxmemory'" in await until_unhealthy(one)
        await two.lookup(USERS)
    finally:
        admin.config_set("maxmemory", "0")
    await until_all_found(two)
    await until_healthy(one)


async def test_a_redis_that_evicts_breaks_nothing(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    admin.config_set("maxmemory-policy", "allkeys-lru")
    admin.config_set("maxmemory", "1mb")
    try:
        for number in range(50):
            with suppress(DirectoryUnavailable):
                await one.register([(f"more{number}-{user}", "s") for user in USERS])
            with suppress(DirectoryUnavailable):
                await two.lookup(USERS)
    finally:
        admin.config_set("maxmemory", "0")
    with suppress(DirectoryUnavailable):
        await one.register(HUNDRED)
    await until_all_found(two)
    await until_healthy(one)


async def test_a_replica_that_takes_no_writes_still_answers(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    await one.register(HUNDRED)
    admin.replicaof("127.0.0.1", "1")
    try:
        assert "read only replica" in await until_unhealthy(one)
        with pytest.raises(DirectoryUnavailable, match="read only replica"):
            await one.register([("late", "s")])
        await two.lookup(USERS)
    finally:
        admin.replicaof("NO", "ONE")
    await until_lookup(two, ["late"], bool, "the late one is entered")
    await until_all_found(two)


async def test_a_password_that_comes_later_is_told_and_costs_nothing_but_hints(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    await one.register(HUNDRED)
    admin.config_set("requirepass", "secret")
    admin.client_kill_filter(_type="normal", skipme=True)
    try:
        assert "uthentication" in await until_unhealthy(one)
        with pytest.raises(DirectoryUnavailable):
            await one.register([("late", "s")])
    finally:
        admin.config_set("requirepass", "")
    await until_all_found(two)
    await until_healthy(one)


async def test_a_claim_does_not_wait_for_a_redis_that_is_away(redis: RedisServer) -> None:
    redis.kill()
    async with Running(redis.url, "ws-1") as one:
        await until_unhealthy(one)
        await asyncio.to_thread(redis.start)
        await until_healthy(one)


async def test_close_does_not_wait_for_a_redis_that_hangs(redis: RedisServer) -> None:
    running = Running(redis.url, "ws-1")
    one = await running.start()
    await one.register(HUNDRED)
    async with running.impatient():
        redis.pause()
        await running.close()
