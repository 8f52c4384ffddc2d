"""The Redis directory when Redis dies, hangs, forgets, is full, or refuses; and server ids.

Whatever happens, the only exception is DirectoryUnavailable, and once Redis is well all is found
again without anybody doing anything.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from landline.adapters.redis import RedisDirectory, check
from landline.adapters.redis.connections import Command
from landline.errors import DirectoryUnavailable, StartupError
from landline_stack.redis import RedisServer
from support.directories import SHORT_BEAT_SECONDS, Running, until_lookup
from support.waiting import paced, until

HUNDRED = [(f"user{number}", f"session{number}") for number in range(100)]
USERS = [user for user, _session in HUNDRED]
FOUND = dict.fromkeys(USERS, frozenset({"ws-1/run"}))
# The real deadline, for what is about silence.
SHORT_SECONDS = 0.2


@pytest.fixture(scope="module")
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


async def until_all_found(directory: RedisDirectory) -> None:
    await until_lookup(directory, USERS, lambda answer: answer == FOUND, "all are found")


async def until_unhealthy(directory: RedisDirectory) -> str:
    await until(lambda: directory.health() is not None, "the trouble is noticed")
    return directory.health() or ""


async def until_healthy(directory: RedisDirectory) -> None:
    await until(lambda: directory.health() is None, "the trouble is over")


# Redis is away --------------------------------------------------------------------------------


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


async def test_who_leaves_while_redis_hangs_is_gone_when_it_goes_on(
    redis: RedisServer, admin: Redis, two: RedisDirectory
) -> None:
    async with Running(redis.url, "ws-1", deadline_seconds=SHORT_SECONDS) as one:
        await one.register([*HUNDRED, ("alice", "s")])
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
    running = Running(redis.url, "ws-1", deadline_seconds=SHORT_SECONDS)
    one = await running.start()
    await one.register(HUNDRED)
    sent = _count_sends(one)
    redis.pause()
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
    directory = RedisDirectory(redis.url, "ws-1", "run", deadline_seconds=SHORT_SECONDS)
    sent = _count_sends(directory)
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
    beating = asyncio.create_task(directory.run())
    await until(lambda: len(sent) > 4, "the beat tries")
    redis.resume()
    await until_healthy(directory)
    await directory.lookup(["alice"])
    beating.cancel()
    await asyncio.wait({beating})
    await directory.close()


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
    async with Running(redis.url, "ws-1", deadline_seconds=SHORT_SECONDS) as directory:
        for _ in range(5):
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


# Redis forgets --------------------------------------------------------------------------------


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


# Written when they change ---------------------------------------------------------------------


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
    async with (
        Running(redis.url, "ws-2", walk_beats=10) as two,
        Running(redis.url, "ws-1", walk_beats=10, deadline_seconds=SHORT_SECONDS) as one,
    ):
        for start in range(0, len(registrations), 500):
            await one.register(registrations[start : start + 500])
        until_beat = one._beat + 4 * 10
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


async def test_a_user_s_key_that_is_somebody_else_s_concerns_that_user_alone(
    admin: Redis, one: RedisDirectory, two: RedisDirectory
) -> None:
    """It is in front of the others in every walk: they must not wait behind it, nor expire."""
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
async def test_who_leaves_behind_a_foreign_key_keeps_nobody_back(
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
    assert not two._stale
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
    """Once, as trouble that lasts; who looks up or leaves is served, and it ends with the key."""
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
    async with Running(redis.url, "ws-1", walk_beats=10_000, deadline_seconds=SHORT_SECONDS) as one:
        await one.register([("early", "s")])
        admin.client_pause(1_000)
        with pytest.raises(DirectoryUnavailable):
            await one.register(HUNDRED)
        await until_all_found(two)
        assert not one._due


# Redis refuses --------------------------------------------------------------------------------


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
    assert await two.lookup(["alice", "eve", "bob"]) == {
        "alice": {"ws-1/run"},
        "bob": {"ws-1/run"},
    }


# Servers die ----------------------------------------------------------------------------------


async def test_entries_of_a_dead_server_do_not_count_and_are_taken_out(
    admin: Redis, redis: RedisServer, two: RedisDirectory
) -> None:
    """F50: killed, so nothing was taken out; its key expires, and a lookup tidies up."""
    dead = Running(redis.url, "ws-1")
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
    """F55: taken for dead while it was paused. Tidying up takes out nothing that it made anew."""
    paused = Running(redis.url, "ws-1")
    one = await paused.start()
    await one.register(HUNDRED)
    await paused.fall_silent()
    await until_lookup(two, USERS, lambda answer: answer == {}, "it is taken for dead")
    paused.beat()
    await until_all_found(two)
    await paused.close()


async def test_tidying_takes_out_nothing_that_was_made_anew(
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
    async with Running(redis.url, "ws-1", "first"):
        second = RedisDirectory(redis.url, "ws-1", "second", beat_seconds=SHORT_BEAT_SECONDS)
        with pytest.raises(StartupError) as refused:
            await second.claim()
        assert str(refused.value) == (
            "--server-id ws-1: another server with this id is running;"
            " stop that one or choose another id"
        )
        await second.close()
    async with Running(redis.url, "ws-1", "third"):
        pass  # the first has closed


async def test_who_succeeds_a_killed_server_takes_its_id_and_ends_its_registrations(
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
            await until(lambda: not old._is_ours, "it notices")
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


async def test_a_claim_does_not_wait_for_a_redis_that_is_away(redis: RedisServer) -> None:
    redis.kill()
    async with Running(redis.url, "ws-1") as one:
        await until_unhealthy(one)
        await asyncio.to_thread(redis.start)
        await until_healthy(one)


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


async def test_close_does_not_wait_for_a_redis_that_hangs(redis: RedisServer) -> None:
    async with Running(redis.url, "ws-1", deadline_seconds=SHORT_SECONDS) as one:
        await one.register(HUNDRED)
        redis.pause()


# At the start ---------------------------------------------------------------------------------


async def test_a_redis_that_answers_is_fine(redis: RedisServer) -> None:
    with capture_logs() as lines:
        await check(redis.url)
    assert lines == []


async def test_a_wrong_password_is_refused_without_showing_it(
    redis: RedisServer, admin: Redis
) -> None:
    admin.config_set("requirepass", "secret")
    try:
        await check(f"redis://:secret@127.0.0.1:{redis.port}")
        for userinfo, shown in ((":hunter2@", ":***@"), ("", "")):
            with pytest.raises(StartupError) as refused:
                await check(f"redis://{userinfo}127.0.0.1:{redis.port}")
            assert str(refused.value) == (
                f"--redis redis://{shown}127.0.0.1:{redis.port}: user or password are refused;"
                " mend them: redis://USER:PASSWORD@HOST:6379/0"
            )
    finally:
        admin.config_set("requirepass", "")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://no-such-host.invalid:6379", "there is no such host"),
        ("redis://127.0.0.1:{port}/99", "it answers: DB index is out of range"),
        ("redis://127.0.0.1:99999", "it cannot be used (Port out of range 0-65535)"),
        ("redis://127.0.0.1:{port}?database=1", "it cannot be used ("),
        ("rediss://127.0.0.1:{port}", "it does not speak TLS"),
    ],
)
async def test_a_mistake_is_told(redis: RedisServer, url: str, problem: str) -> None:
    url = url.format(port=redis.port)
    with pytest.raises(StartupError) as refused:
        await check(url)
    assert str(refused.value).startswith(f"--redis {url}: {problem}")
    assert "\n" not in str(refused.value)


async def _speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Somebody who is not a Redis. Gives the port."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_somebody_else_who_listens_there_is_told() -> None:
    async with listening(_speak_http) as port:
        with pytest.raises(StartupError, match="who answers there is not a Redis; mend host and"):
            await check(f"redis://127.0.0.1:{port}")
        with pytest.raises(StartupError, match="it does not speak TLS"):
            await check(f"rediss://127.0.0.1:{port}")
    async with listening(_hang_up) as port:
        with pytest.raises(StartupError, match="it hangs up at once; if it wants TLS, use rediss"):
            await check(f"redis://127.0.0.1:{port}")


async def test_an_outage_is_a_warning() -> None:
    with capture_logs() as lines:
        await check("redis://:secret@127.0.0.1:1")
        async with listening(_say_nothing) as port:
            await check(f"redis://:secret@127.0.0.1:{port}")
    assert [line["event"] for line in lines] == ["redis_unavailable"] * 2
    assert "secret" not in str(lines)


async def test_a_certificate_that_nobody_vouches_for_is_told(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    openssl = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
        *("-keyout", key, "-out", certificate, "-days", "1"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await openssl.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(_say_nothing, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(StartupError, match=r"certificate is refused \(self.signed"):
            await check(f"rediss://127.0.0.1:{port}")


def _count_sends(directory: RedisDirectory) -> list[Sequence[Command]]:
    """Return a list that grows by what is really sent."""
    sent: list[Sequence[Command]] = []
    connections = directory._redis
    send = connections._send

    async def counted(commands: Sequence[Command]) -> list[Any]:
        sent.append(commands)
        return await send(commands)

    connections._send = counted  # type: ignore[method-assign]
    return sent
