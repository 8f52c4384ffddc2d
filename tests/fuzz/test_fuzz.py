"""Some thousands of each kind, with a seed of their own: `make fuzz` sends millions."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz import openapi, tokens
from fuzz.attacks import Attack
from fuzz.run import warm_up
from fuzz.target import Target
from support.server import ServerProcess

SEED = 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "data")
    server.start()
    yield server
    server.kill()


@pytest.mark.e2e
async def test_no_frame_handshake_or_request_trips_the_server(server: ServerProcess) -> None:
    """Each answer is one of the protocol; log, files and memory are as before; others chat on."""
    target = Target(server)
    await warm_up(target, SEED)
    for kind, count in (("frames", 12_000), ("handshakes", 3_000), ("requests", 3_000)):
        attack = Attack(server.port, SEED, kind, 0, count)
        await attack.run()
        assert attack.done >= count
        assert len(attack.seen) > 3, f"{kind} that all fare alike: {attack.seen}"
        await target.check()
    assert server.end() == 0


@pytest.mark.e2e
async def test_every_answer_is_one_that_the_description_has(server: ServerProcess) -> None:
    target = Target(server)
    await target.warm()
    await asyncio.to_thread(openapi.attack, server.port, SEED, 40)
    await target.check()


async def test_no_token_is_taken_for_another_s_and_none_trips_the_check() -> None:
    await tokens.attack(SEED, 4_000)
