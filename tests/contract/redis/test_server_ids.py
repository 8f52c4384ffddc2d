"""Servers that die, wake up or share an id, as the Redis directory sees them."""

import pytest
from structlog.testing import capture_logs

from contract.redis.broken import HUNDRED, USERS, until_all_found
from landline.adapters.redis import RedisDirectory
from landline.errors import StartupError
from landline_stack.redis import RedisServer
from redis import Redis
from support.directories import Running, until_lookup
from support.waiting import until


async def test_entries_of_a_dead_server_do_not_count_and_are_taken_out(
    admin: Redis, redis: RedisServer, two: RedisDirectory
) -> None:
    """F50: killed, so nothing was taken out; its key expires, and a lookup tidies up."""
    dead = Running(redis.url, "ws-1", dies_soon=True)
    one = await dead.start()
    await one.register(HUNDRED)
    await two.register([("user0", "s")])
    await dead.fall_silent()
    await until_lookup(two, USERS, lambda answer: answer == {}, "the dead server is noticed")
    await until(lambda: admin.keys("landline:user:*") == [b"landline:user:user0"], "it is tidied")
    assert admin.hkeys("landline:user:user0") == [b"ws-2/run/s"]
    await dead.close()


async def test_a_server_that_wakes_up_is_found_again(
    redis: RedisServer, two: RedisDirectory
) -> None:
    """F55: taken for dead while it was paused. Tidying up takes out nothing that it made again."""
    paused = Running(redis.url, "ws-1", dies_soon=True)
    one = await paused.start()
    await one.register(HUNDRED)
    await paused.fall_silent()
    await until_lookup(two, USERS, lambda answer: answer == {}, "it is taken for dead")
    paused.beat()
    await until_all_found(two)
    await paused.close()


async def test_tidying_takes_out_nothing_that_was_made_again(
    admin: Redis, redis: RedisServer
) -> None:
    """Its server was dead when the registration was read, and has asserted it since."""
    running = Running(redis.url, "ws-2")
    two = await running.start()
    await running.fall_silent()
    admin.hset("landline:user:alice", "ws-1/run/s", "1")
    assert await two.lookup(["alice"]) == {}
    admin.hset("landline:user:alice", "ws-1/run/s", "2")
    await two._tidy()
    assert admin.hkeys("landline:user:alice") == [b"ws-1/run/s"]
    assert await two.lookup(["alice"]) == {}
    await two._tidy()
    assert not admin.exists("landline:user:alice")
    await running.close()


async def test_an_id_that_a_living_server_has_is_refused(redis: RedisServer) -> None:
    beat_seconds = 0.3  # longer than this test may stand still and be taken for dead
    async with Running(redis.url, "ws-1", "first", beat_seconds=beat_seconds):
        second = Running(redis.url, "ws-1", "second", beat_seconds=beat_seconds).directory
        with pytest.raises(StartupError) as refused:
            await second.claim()
        assert str(refused.value) == (
            "--server-id ws-1: another server with this id is running;"
            " stop that one or choose another id"
        )
        await second.close()
    async with Running(redis.url, "ws-1", "third"):
        pass  # the first has closed


async def test_a_server_whose_id_was_taken_says_so_once_and_takes_nothing_back(
    admin: Redis, redis: RedisServer, two: RedisDirectory
) -> None:
    """F55: it was paused for so long that another took its place. It takes over when that ends."""
    zombie = Running(redis.url, "ws-1", "old")
    old = await zombie.start()
    await old.register([("alice", "s")])
    await zombie.fall_silent()
    async with Running(redis.url, "ws-1", "new") as new:
        await new.register([("bob", "s")])
        with capture_logs() as lines:
            zombie.beat()
            await until(lambda: not old._key._is_ours, "it notices")
            beat = old._beat
            await until(lambda: old._beat > beat + 2, "it goes on")
        taken = [line["event"] for line in lines if line["log_level"] == "error"]
        assert taken == ["server_id_taken"]
        assert str(admin.get("landline:server:ws-1")).startswith("b'new/")
        assert await two.lookup(["bob"]) == {"bob": {"ws-1/new"}}
    await until_lookup(
        two, ["alice"], lambda answer: answer == {"alice": {"ws-1/old"}}, "the old one is back"
    )
    await zombie.close()


async def test_close_leaves_nothing_behind_and_takes_nothing_that_is_not_ours(
    admin: Redis, redis: RedisServer
) -> None:
    async with Running(redis.url, "ws-1") as one:
        await one.register(HUNDRED)
        async with Running(redis.url, "ws-2") as two:
            await two.register(HUNDRED)
        assert admin.exists("landline:server:ws-1")
        assert not admin.exists("landline:server:ws-2")
        assert all(admin.hlen(key) == 1 for key in admin.keys("landline:user:*"))
    assert admin.dbsize() == 0


async def test_the_successor_of_a_killed_server_takes_its_id_and_ends_its_registrations(
    admin: Redis, redis: RedisServer, two: RedisDirectory
) -> None:
    """F51: kill -9 and a start at once, with the dead one's key still there."""
    killed = Running(redis.url, "ws-1", "first")
    one = await killed.start()
    await one.register([("alice", "s")])
    await killed.fall_silent()
    assert admin.exists("landline:server:ws-1")
    async with Running(redis.url, "ws-1", "second") as successor:
        assert await two.lookup(["alice"]) == {}
        await successor.register([("bob", "s")])
        assert await two.lookup(["alice", "bob"]) == {"bob": {"ws-1/second"}}
        await killed.close()
        assert str(admin.get("landline:server:ws-1")).startswith("b'second/")
