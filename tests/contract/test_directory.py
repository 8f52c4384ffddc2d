"""What every `Directory` keeps to. Another adapter joins with a line in `cluster`."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from landline.ports import Directory
from landline_stack.redis import RedisServer
from simulation.good_weather import ModelCluster
from support.directories import DirectoryCluster, MemoryCluster, RedisCluster

# 1 to 64 bytes without white space, control characters, ':' and '/': anything else may be a name.
NAMES = [
    "a",
    "A",
    "*",
    "a*",
    "?",
    "[a-z]",
    "{a}",
    "\\",
    "'",
    '"a"',
    "a,b",
    "$1",
    "%s",
    "ä",
    "Ä",
    "日本語",
    "🦊",
    "e\u0302",
    "0",
    "-1",
    "nil",
    "server",
    "x" * 64,
]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis", "model"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[DirectoryCluster]:
    made: DirectoryCluster
    match request.param:
        case "memory":
            made = MemoryCluster()
        case "redis":
            made = RedisCluster(request.getfixturevalue("redis_server").url)
        case "model":
            made = ModelCluster()
    yield made
    await made.close()


@pytest.fixture
async def one(cluster: DirectoryCluster) -> Directory:
    return await cluster.join("ws-1", "run-1")


@pytest.fixture
async def two(cluster: DirectoryCluster) -> Directory:
    return await cluster.join("ws-2", "run-2")


async def test_a_session_is_found_by_other_servers_as_soon_as_register_has_returned(
    one: Directory, two: Directory
) -> None:
    for number in range(100):
        user = f"user{number}"
        await one.register([(user, "s")])
        assert await two.lookup([user]) == {user: {"ws-1/run-1"}}


async def test_a_server_finds_others_and_never_itself(one: Directory, two: Directory) -> None:
    await one.register([("alice", "s1"), ("bob", "s2")])
    await two.register([("alice", "s3")])
    assert await one.lookup(["alice", "bob", "carol"]) == {"alice": {"ws-2/run-2"}}
    assert await two.lookup(["alice", "bob", "carol"]) == {
        "alice": {"ws-1/run-1"},
        "bob": {"ws-1/run-1"},
    }


async def test_all_servers_of_a_user_are_found(cluster: DirectoryCluster, one: Directory) -> None:
    others = [await cluster.join(f"other-{number}", "x") for number in range(5)]
    for number, other in enumerate(others):
        await other.register([("alice", f"s{number}")])
    assert await one.lookup(["alice"]) == {"alice": {f"other-{number}/x" for number in range(5)}}


async def test_the_sessions_of_a_user_on_other_servers_are_listed(
    cluster: DirectoryCluster, one: Directory, two: Directory
) -> None:
    three = await cluster.join("ws-3", "run-3")
    await one.register([("alice", "phone"), ("alice", "laptop"), ("bob", "phone")])
    await two.register([("alice", "tablet")])
    await three.register([("alice", "here")])
    elsewhere = {("ws-1", "phone"), ("ws-1", "laptop"), ("ws-2", "tablet")}
    assert set(await three.sessions("alice")) == elsewhere
    await one.unregister([("alice", "laptop")])
    await two.close()
    assert set(await three.sessions("alice")) == {("ws-1", "phone")}
    assert not await three.sessions("nobody")


async def test_a_session_that_leaves_takes_no_other_with_it(
    cluster: DirectoryCluster, one: Directory, two: Directory
) -> None:
    """F46: two devices of a user, on one server and on two."""
    three = await cluster.join("ws-3", "run-3")
    await one.register([("alice", "phone"), ("alice", "laptop")])
    await two.register([("alice", "tablet")])
    await one.unregister([("alice", "phone")])
    assert await three.lookup(["alice"]) == {"alice": {"ws-1/run-1", "ws-2/run-2"}}
    await two.unregister([("alice", "tablet")])
    assert await three.lookup(["alice"]) == {"alice": {"ws-1/run-1"}}
    await one.unregister([("alice", "laptop")])
    assert await three.lookup(["alice"]) == {}


async def test_a_server_takes_out_its_own_sessions_only(one: Directory, two: Directory) -> None:
    await one.register([("alice", "same-name")])
    await two.unregister([("alice", "same-name")])
    assert await two.lookup(["alice"]) == {"alice": {"ws-1/run-1"}}


async def test_twice_is_as_good_as_once(one: Directory, two: Directory) -> None:
    await one.register([("alice", "s"), ("alice", "s")])
    await one.register([("alice", "s")])
    assert await two.lookup(["alice", "alice"]) == {"alice": {"ws-1/run-1"}}
    await one.unregister([("alice", "s")])
    await one.unregister([("alice", "s"), ("nobody", "s")])
    assert await two.lookup(["alice"]) == {}


async def test_nothing_asked_is_nothing_done(one: Directory) -> None:
    await one.register([])
    await one.unregister([])
    assert await one.lookup([]) == {}
    assert await one.lookup(["nobody"]) == {}


async def test_every_name_means_itself(one: Directory, two: Directory) -> None:
    for name in NAMES:
        await one.register([(name, "s")])
        assert await two.lookup(NAMES) == {name: {"ws-1/run-1"}}
        await one.unregister([(name, "s")])
    await one.register([(name, "s") for name in NAMES])
    assert await two.lookup(NAMES) == dict.fromkeys(NAMES, frozenset({"ws-1/run-1"}))


async def test_thousands_in_one_go(one: Directory, two: Directory) -> None:
    users = [f"user{number}" for number in range(3_000)]
    await one.register([(user, "s") for user in users])
    assert await two.lookup(users) == dict.fromkeys(users, frozenset({"ws-1/run-1"}))
    await one.unregister([(user, "s") for user in users[1:]])
    assert await two.lookup(users) == {users[0]: {"ws-1/run-1"}}


async def test_an_address_names_one_run_of_a_server(
    cluster: DirectoryCluster, one: Directory, two: Directory
) -> None:
    """F51: the registrations of a run that ended are never taken for its successor's."""
    await one.register([("alice", "s")])
    await one.close()
    again = await cluster.join("ws-1", "run-9")
    assert await two.lookup(["alice"]) == {}
    await again.register([("bob", "s")])
    assert await two.lookup(["alice", "bob"]) == {"bob": {"ws-1/run-9"}}


async def test_close_takes_out_what_is_left(one: Directory, two: Directory) -> None:
    users = [f"user{number}" for number in range(500)]
    await one.register([(user, "s") for user in users])
    await two.register([(users[0], "s")])
    await one.close()
    assert await two.lookup(users) == {}
    await one.close()


async def test_health_is_good(one: Directory) -> None:
    assert one.health() is None


async def test_any_mixture_of_calls_comes_to_what_it_says(
    cluster: DirectoryCluster, one: Directory, two: Directory
) -> None:
    """Random operations of two servers, some at the same time, against a plain model."""
    watcher = await cluster.join("watcher", "run")
    chance = random.Random(7)
    users = [f"user{number}" for number in range(12)]
    model: set[tuple[str, str, str]] = set()
    for _ in range(150):
        calls = []
        for directory, address in ((one, "ws-1/run-1"), (two, "ws-2/run-2")):
            registrations = {
                (chance.choice(users), f"s{chance.randrange(3)}")
                for _ in range(chance.randrange(6))
            }
            if chance.random() < 0.5:
                calls.append(directory.register(registrations))
                model |= {(address, *registration) for registration in registrations}
            else:
                calls.append(directory.unregister(registrations))
                model -= {(address, *registration) for registration in registrations}
        await asyncio.gather(*calls)
        asked = chance.sample(users, 5)
        expected: dict[str, set[str]] = {}
        for address, user, _session in model:
            if user in asked:
                expected.setdefault(user, set()).add(address)
        assert await watcher.lookup(asked) == expected
