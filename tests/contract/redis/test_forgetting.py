"""The Redis directory when Redis forgets, and how often it is told what it may have forgotten."""

from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from contract.redis.broken import HUNDRED, USERS, until_all_found, until_healthy
from landline.adapters.redis import RedisDirectory
from landline.errors import DirectoryUnavailable
from landline_stack.redis import RedisServer
from redis import Redis
from redis.exceptions import RedisError
from support.directories import Running, until_lookup
from support.waiting import paced, until


async def test_what_redis_forgot_is_asserted_again(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    await one.register(HUNDRED)
    admin.flushall()
    await until_all_found(two)
    admin.delete("landline:server:ws-1")
    await until_all_found(two)
    for key in admin.keys("landline:user:*"):
        admin.delete(key)
    await until_all_found(two)
    assert one.health() is two.health() is None


async def test_a_flush_again_and_again_breaks_nothing(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    await one.register(HUNDRED)
    beat = one._beat
    async for number in paced(0.02):
        admin.flushall()
        await one.register([("new", f"s{number}")])
        assert await two.lookup(["new"]) == {"new": {"ws-1/run"}}
        await two.lookup(USERS)
        if one._beat > beat + 4:
            break
    await until_all_found(two)


async def test_a_session_registered_right_after_a_flush_is_no_dead_server_s(
    admin: Redis, redis: RedisServer, two: RedisDirectory
) -> None:
    """The server's key goes in with its registrations, so no lookup finds one without the other."""
    running = Running(redis.url, "ws-1")
    one = await running.start()
    await running.fall_silent()
    admin.flushall()
    await one.register([("alice", "s")])
    assert await two.lookup(["alice"]) == {"alice": {"ws-1/run"}}
    await running.close()


async def test_no_key_is_for_ever(admin: Redis, one: RedisDirectory) -> None:
    await one.register(HUNDRED)
    keys = admin.keys("*")
    assert len(keys) == len(HUNDRED) + 1
    assert all(admin.pttl(key) > 0 for key in keys)


async def test_an_entry_that_its_server_leaves_out_expires_though_others_keep_the_key(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    """An unregister that was lost and forgotten, of a user who is on another server too."""
    admin.hset("landline:user:alice", "ws-1/run/lost", str(one._beat))
    await two.register([("alice", "s")])
    assert await two.lookup(["alice"]) == {"alice": {"ws-1/run"}}
    await until_lookup(two, ["alice"], lambda answer: answer == {}, "it has expired")
    await until(
        lambda: admin.hkeys("landline:user:alice") == [b"ws-2/run/s"], "it is taken out as well"
    )


async def test_a_beat_costs_the_same_however_many_sessions_there_are(redis: RedisServer) -> None:
    """Registrations are written when they change; only the slow walk writes a few of them again."""
    written: list[int] = []
    async with Running(redis.url, "ws-1", walk_beats=100) as one:
        await one.register([(f"user{number}", "s") for number in range(2_000)])
        enter = one._enter

        async def count(send: Any, registrations: Any) -> None:
            written.append(len(registrations))
            await enter(send, registrations)

        # A beat that was under way may have taken up what was just being entered.
        beat = one._beat
        await until(lambda: one._beat >= beat + 2, "that beat is over")
        one._enter = count  # type: ignore[method-assign]
        beat = one._beat
        await until(lambda: one._beat >= beat + 6, "some beats have passed")
        assert 0 < sum(written) <= 20 * (one._beat - beat + 1), "a hundredth of them with a beat"


async def test_the_walk_comes_past_every_entry_and_puts_back_what_redis_alone_has_lost(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    """Evicted one by one: no beat can notice that."""
    await one.register(HUNDRED)
    admin.delete(*[f"landline:user:{user}" for user in USERS[::3]])
    await until_all_found(two)
    await one.register([("new", "s")])
    await one.unregister(HUNDRED[:50])
    beat = one._beat
    await until(lambda: one._beat > beat + 5, "the walk has come past all that are left")
    answer = await two.lookup([*USERS, "new"])
    assert set(answer) == {"new", *USERS[50:]}


async def test_the_walk_goes_on_where_it_stopped(redis: RedisServer, admin: Redis) -> None:
    """No registration expires in a Redis that stands still every now and then, not even the last.

    Ten thousand registrations take fifty commands; a walk that began at its start after each
    silence would never come to its end.
    """
    registrations = [(f"user{number}", "s") for number in range(10_000)]
    running = Running(redis.url, "ws-1", walk_beats=10, beat_seconds=0.3)
    async with Running(redis.url, "ws-2", walk_beats=10) as two, running as one:
        for start in range(0, len(registrations), 500):
            await one.register(registrations[start : start + 500])
        until_beat = one._beat + 4 * 10
        async with running.impatient():
            async for _ in paced(0.4):
                if one._beat >= until_beat:
                    break
                with suppress(RedisError):
                    admin.client_pause(250)
        await until_healthy(one)
        answer: dict[str, frozenset[str]] = {}
        for start in range(0, len(registrations), 500):
            answer |= await two.lookup([user for user, _ in registrations[start : start + 500]])
        assert len(answer) == len(registrations)


async def test_a_beat_that_comes_late_does_not_set_the_server_back(
    admin: Redis, one: RedisDirectory
) -> None:
    """Two connections: what was sent first may come second. It is no Redis that went back."""
    await until(lambda: one._confirmed >= 3, "some beats were heard")
    one._beat -= 2
    await one.register([("late", "s")])
    one._beat += 2
    with capture_logs() as logs:
        beat = one._beat
        await until(lambda: one._beat > beat + 1, "a beat has been heard")
    assert not [line for line in logs if line["event"] == "directory_forgot"]


async def test_a_redis_that_went_back_in_time_is_told_everything_at_once(
    redis: RedisServer, admin: Redis, two: RedisDirectory
) -> None:
    """A failover to an old replica: our key is there, as it was some beats ago."""
    async with Running(redis.url, "ws-1", walk_beats=10_000) as one:
        await until(lambda: one._confirmed >= 2, "some beats were heard")
        await one.register(HUNDRED)
        admin.flushall()
        admin.set("landline:server:ws-1", f"run/{one._confirmed - 1}")
        await until_all_found(two)


async def test_what_could_not_be_written_is_written_with_the_next_beat(
    redis: RedisServer, admin: Redis, two: RedisDirectory
) -> None:
    """Not with the walk, which may come past it in minutes; though Redis has forgotten nothing."""
    running = Running(redis.url, "ws-1", walk_beats=10_000)
    async with running as one:
        await one.register([("early", "s")])
        async with running.impatient():
            admin.client_pause(60_000, all=False)  # what ends it comes through
            with pytest.raises(DirectoryUnavailable):
                await one.register(HUNDRED)
            admin.client_unpause()
        await until_all_found(two)
        # It may have come through late all the same; only the beat says that it has.
        await until(lambda: not one._due, "nothing is due any more")
