"""How users live: what the clients of a run do with their connections, one function each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from landline_verify.clients.connection import Manners, visit
from landline_verify.clients.user import Draft, User

Life = Callable[[User, Sequence[str]], Awaitable[None]]


async def steady(user: User, urls: Sequence[str], device: str | None = None) -> None:
    """Stay on one server; come back when the connection is gone."""
    url = user.chance.choice(urls)
    while True:
        await visit(user, url, device=device)
        if user.failures:  # the server is not there: a client that knows several tries another
            url = user.chance.choice(urls)


async def hopping(user: User, urls: Sequence[str], device: str | None = None) -> None:
    """Go from server to server."""
    while True:
        for url in user.chance.sample(urls, len(urls)):
            await visit(user, url, user.chance.uniform(0.5, 3), device=device)


async def offline(user: User, urls: Sequence[str], device: str | None = None) -> None:
    """Be there for a while, be away for a while."""
    while True:
        stay = user.chance.uniform(0.5, 3)
        await visit(user, user.chance.choice(urls), stay, device=device)
        await asyncio.sleep(user.chance.uniform(0.5, 3))


async def silent(user: User, urls: Sequence[str], device: str | None = None) -> None:
    """Acknowledge nothing in one session, and everything in the next."""
    while True:
        for ack_delay in (None, 0.0):
            stay = user.chance.uniform(0.5, 3)
            manners = Manners(ack_delay=ack_delay)
            await visit(user, user.chance.choice(urls), stay, manners, device=device)


async def slow(user: User, urls: Sequence[str]) -> None:
    """Acknowledge late."""
    while True:
        delay = user.chance.uniform(0.1, 1)
        await visit(
            user, user.chance.choice(urls), user.chance.uniform(3, 10), Manners(ack_delay=delay)
        )


async def dropping(user: User, urls: Sequence[str]) -> None:
    """Drop the TCP connection without a word, with sends and acknowledgements on their way."""
    while True:
        stay = user.chance.uniform(0.2, 3)
        await visit(user, user.chance.choice(urls), stay, Manners(leave="abort"))


async def repeating(user: User, urls: Sequence[str]) -> None:
    """Have two sessions, and repeat through the other one what was answered already."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(several(user, urls))
        tasks.create_task(_repeat(user))


async def several(user: User, urls: Sequence[str]) -> None:
    """Have two sessions at once, on different servers where there are several."""
    first = user.chance.randrange(len(urls))
    async with asyncio.TaskGroup() as tasks:
        for number in range(2):
            tasks.create_task(_stay(user, urls[(first + number) % len(urls)]))


async def absent(user: User, urls: Sequence[str]) -> None:  # noqa: ARG001 - a life like the others
    """Be written to, and do not come before the end."""
    await asyncio.Event().wait()


async def devices(user: User, urls: Sequence[str]) -> None:
    """Have several devices, each with a life of its own."""
    lives = (steady, offline, hopping, silent)
    async with asyncio.TaskGroup() as tasks:
        for number, device in enumerate(user.devices):
            tasks.create_task(lives[number % len(lives)](user, urls, device))


async def changing(user: User, urls: Sequence[str]) -> None:
    """Begin without a device, get some, and go on beside them; one of them is never seen again."""
    if len(user.devices) > 1:
        user.lost = user.devices[-1]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(steady(user, urls))
        await asyncio.sleep(user.chance.uniform(0.5, 3))
        for device in user.devices:
            if device == user.lost:
                tasks.create_task(_get_lost(user, urls, device))
            else:
                tasks.create_task(offline(user, urls, device))


async def _get_lost(user: User, urls: Sequence[str], device: str) -> None:
    while device not in user.mailboxes:
        await visit(user, user.chance.choice(urls), user.chance.uniform(1, 3), device=device)


async def flooded(user: User, urls: Sequence[str]) -> None:
    """Stay on one server, and acknowledge steadily, but less than one is sent during a flood."""
    url = user.chance.choice(urls)
    while True:
        await visit(user, url, manners=Manners(ack_rate=FLOODED_ACKS))


async def _stay(user: User, url: str) -> None:
    while True:
        await visit(user, url, user.chance.uniform(5, 15))


async def _repeat(user: User) -> None:
    known: dict[str, Draft] = {}
    while True:
        await asyncio.sleep(user.chance.uniform(0.02, 0.2))
        answered = [draft for ref, draft in known.items() if ref not in user.outbox]
        others = user.sessions[:-1]
        if answered and others:
            user.chance.choice(others).repeat(user.chance.choice(answered))
        known = {**dict(list(known.items())[-20:]), **user.outbox}


# How many messages a second a flooded user acknowledges, and is sent by one other user.
FLOODED_ACKS: Final = 100.0
FLOODER_RATE: Final = 300.0

# In this order they are given to users, round and round, so that few users try much.
BEHAVIOURS: Final[dict[str, Life]] = {
    "steady": steady,
    "dropping": dropping,
    "hopping": hopping,
    "offline": offline,
    "several": several,
    "repeating": repeating,
    "silent": silent,
    "slow": slow,
    "plain": steady,  # with `ack=auto`
    "absent": absent,
}
# Among them, where users are to have devices.
DEVICE_LIVES: Final[dict[str, Life]] = {"devices": devices, "changing": changing}
# Beside them, where a fault asks for it.
FLOOD_LIVES: Final[dict[str, Life]] = {"flooder": steady, "flooded": flooded}
# The rest of the users.
_MORE: Final = ("steady", "dropping", "hopping", "steady", "offline", "several")


def behaviour_of(number: int, *, has_devices: bool) -> str:
    """Return the behaviour of the n-th user."""
    order = [*BEHAVIOURS, *(DEVICE_LIVES if has_devices else ()), *_MORE]
    behaviour: str = order[number % len(order)]
    return behaviour
