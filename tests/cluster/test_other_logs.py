"""A log that is not what it was, or a store that is not: noticed, never silently."""

import asyncio

from confluent_kafka import TopicPartition
from confluent_kafka.cimpl import NewPartitions

from landline_stack import Stack
from support.cluster import delete_topics
from support.faults import (
    KAFKA_SECONDS,
    MESSAGES,
    Fleet,
    admin,
    ended,
    first_line,
    refused,
    until_logged,
)
from support.peer import Peer
from support.server import ServerProcess
from support.stack import create_topic
from support.waiting import until

PARTITIONS = 32


async def notices(server: ServerProcess, *words: str) -> None:
    """See a running server end with a line that says these words. Two parts of it may notice."""
    await until_logged(server, "log_lost")
    assert await ended(server) == 1
    lines = [line for line in server.log().splitlines() if '"log_lost"' in line]
    assert all(word in line for line in lines for word in words), lines


async def refuses(server: ServerProcess, *words: str) -> None:
    """See a server end at its start with one or two lines that say these words."""
    lines = await refused(server)
    assert 1 <= len(lines) <= 2, lines
    for word in ("--kafka", *words):
        assert word in " ".join(lines), lines


async def some_messages(server: ServerProcess, count: int = 20) -> set[str]:
    """Send messages to bob, who is away, and return the ids of those accepted: all of them."""
    async with Peer(server.ws_url, "alice") as alice:
        await asyncio.gather(*(alice.send("bob", f"message {n}") for n in range(count)))
        await until(lambda: len(alice.accepted) == count, "all are accepted")
        return alice.accepted_ids


def cut(stack: Stack) -> None:
    """Have the log forget all that it holds; its ends stay."""
    to_the_end = [TopicPartition(MESSAGES, each, -1) for each in range(PARTITIONS)]
    client = admin(stack)  # it has to live until the answers are there
    for done in client.delete_records(to_the_end).values():
        done.result(KAFKA_SECONDS)


def add_partition(stack: Stack) -> None:
    """Raise the number of partitions."""
    wanted = NewPartitions(MESSAGES, PARTITIONS + 1)
    client = admin(stack)
    for done in client.create_partitions([wanted]).values():
        done.result(KAFKA_SECONDS)


def make_again(stack: Stack) -> None:
    """Delete the topic and make another one of its name."""
    delete_topics(stack.kafka_servers, [MESSAGES])
    create_topic(admin(stack), MESSAGES, partitions=PARTITIONS)


async def test_more_partitions_are_noticed(fleet: Fleet) -> None:
    """While it runs, and at the next start."""
    (server,) = await fleet.start(1)
    await some_messages(server)
    await asyncio.to_thread(add_partition, fleet.stack)
    await notices(server, "33", "32")
    await refuses(server, "33", "32", "--new-log")


async def test_a_topic_that_was_made_again_is_noticed(fleet: Fleet) -> None:
    """While it runs, and at the next start."""
    (server,) = await fleet.start(1)
    await some_messages(server)
    await asyncio.to_thread(make_again, fleet.stack)
    await notices(server, "another")
    await refuses(server, "made again", "--new-log")


async def test_records_deleted_while_the_writer_was_away_are_noticed(fleet: Fleet) -> None:
    """While a server runs whose store was away, and at its next start."""
    (server,) = await fleet.start(1)
    await fleet.until_stored(await some_messages(server))
    await asyncio.to_thread(fleet.stack.postgres.kill)
    await some_messages(server)
    await asyncio.to_thread(cut, fleet.stack)
    await asyncio.to_thread(fleet.stack.postgres.start)
    await notices(server, "are gone and were never applied")
    await refuses(server, "are gone and were never applied")


async def test_a_log_that_went_back_is_noticed(fleet: Fleet) -> None:
    """The store is ahead of the log: after a restore of Kafka, say."""
    (server,) = await fleet.start(1)
    await fleet.until_stored(await some_messages(server))
    await fleet.execute("UPDATE applied SET next_offset = next_offset + 1000")
    await notices(server, "went back")
    await refuses(server, "went back")


async def test_a_store_restored_from_a_backup_catches_up_from_the_log(fleet: Fleet) -> None:
    """Under a running server, and while none runs: what the backup lacks is applied again."""
    (server,) = await fleet.start(1)
    accepted = await some_messages(server)
    await fleet.until_stored(accepted)
    pid = server.pid
    await back_up(fleet)
    accepted |= await some_messages(server, 30)
    await fleet.until_stored(accepted)
    await restore(fleet)
    await fleet.until_stored(accepted)
    accepted |= await some_messages(server)
    await fleet.until_stored(accepted)
    assert server.pid == pid
    assert not first_line(server, "log_lost")

    server.stop()
    await restore(fleet)
    await asyncio.to_thread(server.start)
    await fleet.until_stored(accepted)
    async with Peer(server.ws_url, "alice") as alice, Peer(server.ws_url, "bob") as bob:
        await alice.send("bob", "one more")
        await until(lambda: accepted | alice.accepted_ids <= bob.received, "bob has them all")
    assert await fleet.fetch("SELECT * FROM quarantine") == []


async def back_up(fleet: Fleet) -> None:
    """Copy the database."""
    await copy(fleet, fleet.database, f"{fleet.database}_backup")


async def restore(fleet: Fleet) -> None:
    """Put the copy in the database's place, even if that is in use."""
    await fleet.execute(f"DROP DATABASE {fleet.database} WITH (FORCE)", database="postgres")
    await copy(fleet, f"{fleet.database}_backup", fleet.database)


async def copy(fleet: Fleet, source: str, target: str) -> None:
    """Make a database as another one is. PostgreSQL does so while nobody is connected to that."""
    for statement in (
        f"ALTER DATABASE {source} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{source}'",
        f"CREATE DATABASE {target} TEMPLATE {source}",
        f"ALTER DATABASE {source} ALLOW_CONNECTIONS true",
    ):
        await fleet.execute(statement, database="postgres")
