"""Retention is changed under a server whose clock is days off: sends stop in time, and go on."""

import asyncio
import json
from itertools import count
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from landline.retention import RETENTION_WATCH_SECONDS
from support.faults import KAFKA_SECONDS, MESSAGES, Fleet, admin, paused
from support.stack import alter_topic
from support.waiting import until, until_equal

DAY = 86_400
WEEK = str(7 * DAY * 1000)
SECONDS = 60.0

numbers = count()

# Of the server alone: librdkafka's own waits do not survive libfaketime.
_CLOCK = "import time; real = time.time; time.time = lambda: real() + {}"


async def is_taken(alice: ClientConnection, content: str) -> bool:
    """Say whether a send is accepted now; else it is refused before the log."""
    await alice.send(json.dumps({"type": "send", "to": "bob", "content": content, "ref": content}))
    async with asyncio.timeout(SECONDS):
        async for text in alice:
            answer = json.loads(text)
            if answer["type"] == "accepted":
                return True
            if answer["type"] == "error":
                assert answer["code"] == "busy", answer
                return False
    raise AssertionError("the session has ended")


async def until_taken(alice: ClientConnection, wanted: bool) -> None:
    await until_equal(lambda: is_taken(alice, f"number {next(numbers)}"), wanted)


@pytest.mark.parametrize("days", [6, -6, 0])
async def test_the_guard_goes_by_the_brokers_clock_and_by_the_settings_of_now(
    days: int, fleet: Fleet, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_CLOCK.format(days * DAY))
    server = fleet.server()
    server.environment["PYTHONPATH"] = str(tmp_path)
    await asyncio.to_thread(server.start)
    async with connect(f"{server.ws_url}?username=alice") as alice:
        assert await is_taken(alice, "before")
        async with paused(fleet.stack.postgres):
            assert await is_taken(alice, "what the store lacks")
            # Two looks of the guard. Nobody tells of one that finds nothing.
            await asyncio.sleep(2 * RETENTION_WATCH_SECONDS)
            assert await is_taken(alice, "still"), "a clock that is fast makes nothing old"
            await asyncio.to_thread(alter_topic, admin(fleet.stack), MESSAGES, retention_ms="8000")
            await until_taken(alice, False)
            await asyncio.to_thread(alter_topic, admin(fleet.stack), MESSAGES, retention_ms=WEEK)
            await until_taken(alice, True)
        await until(server.is_ready, "it is ready again", KAFKA_SECONDS)
