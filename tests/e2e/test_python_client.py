"""The Python client against the real server."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

import landline
from landline.client import Delivered, Event, MessageRejected, OutboxInUse, Refused, SendTimeout
from support.peer import Peer, until_caught_up
from support.server import ServerProcess
from support.waiting import until


async def test_the_ten_lines_of_the_readme(server: ServerProcess) -> None:
    """Send, receive, acknowledge; the sender hears of the delivery."""
    events: list[Event] = []
    async with (
        landline.connect(server.ws_url, username="alice", on_event=events.append) as alice,
        landline.connect(server.ws_url, username="bob") as bob,
    ):
        acceptance = await alice.send("bob", "hello")
        async for message in bob:
            assert (message.sender, message.to, message.content) == ("alice", "bob", "hello")
            assert (message.id, message.offset) == (acceptance.id, acceptance.offset)
            assert message.time == acceptance.time
            assert not message.replay
            break
        bob.acknowledge(message)
        await until(
            lambda: Delivered((acceptance.id,), "bob") in events, "alice hears of the delivery"
        )


async def test_a_message_whose_body_raised_comes_again(server: ServerProcess) -> None:
    """Not acknowledged, so the next session gets it; what was finished does not come again."""
    async with landline.connect(server.ws_url, username="alice") as alice:
        for content in ("good", "bad"):
            await alice.send("bob", content)
    async with landline.connect(server.ws_url, username="bob") as bob:
        with pytest.raises(RuntimeError, match="body"):  # noqa: PT012 - the loop is the point
            async for message in bob:
                if message.content == "bad":
                    raise RuntimeError("body")
    async with landline.connect(server.ws_url, username="bob") as bob:
        async for message in bob:
            assert message.content == "bad"
            assert message.replay
            break


async def test_an_outbox_file_survives_the_process(server: ServerProcess, tmp_path: Path) -> None:
    """What had no answer is sent by the next process, once; what was handed is not again."""
    outbox = tmp_path / "alice.db"
    async with landline.connect(server.ws_url, username="alice", outbox=outbox) as alice:
        await alice.send("alice", "to myself")
        await alice.send("alice", "to myself too")
        seen = [await anext(alice), await anext(alice)]
        assert [message.content for message in seen] == ["to myself", "to myself too"]
        server.kill()
        with pytest.raises(SendTimeout):
            await alice.send("bob", "kept", timeout=0.2)
    server.start()
    async with landline.connect(server.ws_url, username="alice", outbox=outbox) as alice:
        await until(lambda: not alice.unanswered, "the outbox is empty")
        again = await anext(alice)  # the second one was handed out and never acknowledged
        assert again.content == "to myself too"
    async with Peer(server.ws_url, "bob") as bob:
        await until_caught_up(bob)
        assert [frame["content"] for frame in bob.messages] == ["kept"]


async def test_an_outbox_file_has_one_owner(server: ServerProcess, tmp_path: Path) -> None:
    """A second process is told so."""
    outbox = tmp_path / "alice.db"
    async with landline.connect(server.ws_url, username="alice", outbox=outbox):
        with pytest.raises(OutboxInUse, match="another process"):
            await landline.connect(server.ws_url, username="alice", outbox=outbox).__aenter__()


async def test_a_thousand_sends_through_three_restarts(server: ServerProcess) -> None:
    """Every send is accepted and stored once; every message is handed out once."""
    received: list[str] = []

    async def receive(chat: landline.Chat) -> None:
        async for message in chat:
            received.append(message.content)  # noqa: PERF401 - seen from outside while it grows

    async with (
        landline.connect(server.ws_url, username="alice") as alice,
        landline.connect(server.ws_url, username="bob") as bob,
    ):
        receiving = asyncio.create_task(receive(bob))
        sends = [asyncio.create_task(alice.send("bob", f"m{n}")) for n in range(1_000)]
        for kill, count in ((True, 50), (False, 200), (True, 400)):
            await until(lambda: len(received) >= count, f"{count} have arrived")  # noqa: B023
            await asyncio.to_thread(server.kill if kill else server.stop)
            await asyncio.to_thread(server.start)
        acceptances = await asyncio.gather(*sends)
        await until(lambda: len(set(received)) == 1_000, "bob has all")
        receiving.cancel()
        await asyncio.wait({receiving})
    assert len({acceptance.id for acceptance in acceptances}) == 1_000
    assert max(Counter(received).values()) == 1


async def test_errors_are_typed(server: ServerProcess) -> None:
    """A message that can never be stored, a name that is none, a server that is not there."""
    async with landline.connect(server.ws_url, username="alice") as alice:
        with pytest.raises(MessageRejected) as caught:
            await alice.send("bob", "")
        assert caught.value.code == "content_empty"
        with pytest.raises(MessageRejected, match="bad_recipient"):
            await alice.send("no name", "hello")
        await alice.send("bob", "the chat goes on")
    with pytest.raises(Refused, match="white space"):
        await landline.connect(server.ws_url, username="no name").__aenter__()
    server.kill()
    with pytest.raises(landline.client.ConnectionFailed, match="cannot reach"):
        await landline.connect(server.ws_url, username="alice", connect_timeout=0.3).__aenter__()
