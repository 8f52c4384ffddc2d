"""`make cluster`: two servers on the real thing, users on both, and nobody left after Ctrl-C."""

import asyncio
import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import landline
from landline.stack.ports import free_port
from support.parent import SECONDS, Parent
from support.stack import stack_or_skip

pytestmark = pytest.mark.stack

COUNT = 100


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def cluster(ports: tuple[int, int]) -> Iterator[Parent]:
    stack_or_skip()
    parent = Parent("-m", "landline.stack", "--ports", ",".join(map(str, ports)))
    try:
        parent.wait_for("press Ctrl-C to stop")
        yield parent
    finally:
        parent.end()


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SECONDS) as response:
        return str(response.read().decode())


async def test_two_users_on_two_servers_chat_until_it_is_all_stopped(
    cluster: Parent, ports: tuple[int, int]
) -> None:
    urls = [f"ws://127.0.0.1:{port}/ws/chat" for port in ports]
    async with (
        asyncio.timeout(SECONDS),
        landline.connect(urls[0], username="alice") as alice,
        landline.connect(urls[1], username="bob") as bob,
    ):

        async def talk(me: landline.Chat, other: str) -> list[str]:
            """Send all, and read until all of the other's have come."""
            for number in range(COUNT):
                await me.send(other, f"{number}")
            heard = []
            async for message in me:
                heard.append(message.content)
                if len(heard) == COUNT:
                    break
            return heard

        heard = await asyncio.gather(talk(alice, "bob"), talk(bob, "alice"))
        assert [sorted(each, key=int) for each in heard] == [list(map(str, range(COUNT)))] * 2
        receipt = await alice.send("carol", "for later")
    async with landline.connect(urls[1], username="carol") as carol:
        async for message in carol:
            assert message.id == receipt.id
            break
    for port in ports:
        ready = await asyncio.to_thread(read, port, "/readyz")
        assert json.loads(ready) == {"status": "ready", "problems": {}}
        measured = await asyncio.to_thread(read, port, "/metrics")
        assert 'landline_usable{part="routing"} 1.0' in measured

    directory = Path(cluster.said.split("logs, data")[1].split()[0])
    cluster.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(cluster.process.wait, SECONDS) == 0
    assert cluster.left() == []
    assert not await asyncio.to_thread(directory.exists)
