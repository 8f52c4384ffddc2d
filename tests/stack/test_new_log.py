"""CHAT-MESSAGES gets more partitions: the servers refuse it until an operator has decided."""

import asyncio
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from landline.adapters.kafka import MESSAGES_TOPIC
from landline_stack import LandlineServer, Stack
from landline_stack.errors import StackError
from support.command import run_landline
from support.peer import Frame, Peer
from support.stack import KAFKA_SECONDS, stack_or_skip, steady
from support.waiting import until

pytestmark = pytest.mark.stack

COUNT = 25


@pytest.fixture
def own() -> Iterator[Stack]:
    """A stack whose topics have the usual names."""
    with steady(stack_or_skip()) as own:
        yield own


async def run(own: Stack, *arguments: str) -> tuple[int, str]:
    """Run a command of Landline; return its exit code and what it said."""
    where = ["--kafka", own.kafka_servers, "--postgres", own.postgres_url]
    return await asyncio.to_thread(run_landline, *arguments, *where)


async def only_message(url: str, user: str) -> Frame:
    """Return the one message that this user is owed."""
    async with Peer(url, user) as peer:
        await until(lambda: bool(peer.messages), "it is delivered")
        [message] = peer.messages
    return message


async def test_users_get_nothing_twice_and_miss_nothing(own: Stack) -> None:
    server = LandlineServer.on(own, "ws-1", own.directory / "ws-1")
    url = f"ws://127.0.0.1:{server.port}/ws/chat"
    await asyncio.to_thread(server.start)
    try:
        async with Peer(url, "alice") as alice, Peer(url, "bob") as bob:
            for number in range(COUNT):
                await alice.send("bob", f"{number}")
                await alice.send(f"absent{number}", "for later")
            await until(lambda: len(alice.accepted) == 2 * COUNT, "all is accepted")
            await until(lambda: len(alice.statuses) == COUNT, "bob has acknowledged")
        before = {frame["id"]: frame for frame in alice.accepted.values()}
        code, said = await run(own, "migrate", "--new-log", "--yes")
        assert (code, "in use by ws-1" in said) == (2, True), said
        await asyncio.to_thread(server.stop)
        code, said = await run(own, "migrate", "--new-log", "--yes")
        assert (code, "there is nothing to move to" in said) == (2, True), said

        admin = AdminClient({"bootstrap.servers": own.kafka_servers})
        for raised in admin.create_partitions([NewPartitions(MESSAGES_TOPIC, 45)]).values():
            await asyncio.to_thread(raised.result, KAFKA_SECONDS)
        with pytest.raises(StackError, match="run `landline migrate --new-log`"):
            await asyncio.to_thread(server.start)
        assert (await run(own, "audit"))[0] == 2
        code, said = await run(own, "migrate", "--new-log")
        assert (code, "add --yes" in said) == (2, True), said
        code, said = await run(own, "migrate", "--new-log", "--yes")
        assert (code, "45 partitions (there were 32)" in said) == (0, True), said

        await asyncio.to_thread(server.start)
        async with Peer(url, "alice") as alice, Peer(url, "bob") as bob:
            await alice.send("bob", "after")
            await until(lambda: bool(bob.messages), "bob has the new one")
            [after] = alice.accepted.values()
            conversation = after["conversation"]
            olds = [each for each in before.values() if each["conversation"] == conversation]
            assert after["offset"] > max(each["offset"] for each in olds)
            for number in range(COUNT):
                message = await only_message(url, f"absent{number}")
                assert message["offset"] == before[message["id"]]["offset"]
            assert [each["id"] for each in bob.messages] == [after["id"]]
        async with asyncio.timeout(60):
            while True:  # the last receipts may still be on their way into the store
                code, said = await run(own, "audit")
                if code == 0:
                    break
    finally:
        await asyncio.to_thread(server.kill)
