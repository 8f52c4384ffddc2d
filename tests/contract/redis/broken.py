"""What the tests of a broken Redis share."""

from collections.abc import Sequence
from typing import Any

from landline.adapters.redis import RedisDirectory
from landline.adapters.redis.connections import Command
from support.directories import until_lookup
from support.waiting import until

HUNDRED = [(f"user{number}", f"session{number}") for number in range(100)]

USERS = [user for user, _session in HUNDRED]

FOUND = dict.fromkeys(USERS, frozenset({"ws-1/run"}))

# The real deadline, for what is about silence.
SHORT_SECONDS = 0.2


async def until_all_found(directory: RedisDirectory) -> None:
    await until_lookup(directory, USERS, lambda answer: answer == FOUND, "all are found")


async def until_unhealthy(directory: RedisDirectory) -> str:
    await until(lambda: directory.health() is not None, "the trouble is noticed")
    return directory.health() or ""


async def until_healthy(directory: RedisDirectory) -> None:
    await until(lambda: directory.health() is None, "the trouble is over")


def count_sends(directory: RedisDirectory) -> list[Sequence[Command]]:
    """Return a list that grows by what is really sent."""
    sent: list[Sequence[Command]] = []
    line = directory._redis
    send = line._send

    async def counted(commands: Sequence[Command]) -> list[Any]:
        sent.append(commands)
        return await send(commands)

    line._send = counted  # type: ignore[method-assign]
    return sent
