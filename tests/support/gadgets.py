"""Devices of users, as real clients have them: a peer, or a program with the Python client."""

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import Any, Self

import landline
from landline.client import Connected, Delivered, Event, Message
from support.peer import Frame, Peer, Visit
from support.waiting import WAIT_SECONDS, until


def device(url: str | list[str], user: str, name: str, **habits: Any) -> Peer:
    """Return a peer on a device."""
    return Peer(url, user, query=f"&device={name}", **habits)


def welcome(peer: Peer) -> Frame:
    """Return the first frame of the peer's last session."""
    return peer.visit.frames[0]


async def come_and_go(url: str, user: str, name: str) -> Frame:
    """Have a device be there until it has caught up. Returns how it was welcomed."""
    peer = device(url, user, name)
    await peer.start(caught_up=True)
    await peer.stop()
    return peer.visits[0].frames[0]


def check_once_and_in_order(visit: Visit, ids: Collection[str]) -> None:
    """A session has had these messages and no other, each once, as they stand in the log."""
    assert Counter(visit.message_ids) == Counter(ids)
    offsets = [frame["offset"] for frame in visit.of("message")]
    assert offsets == sorted(offsets)


def check_statuses(peer: Peer, user: str) -> None:
    """All that it was told of deliveries is about this user. One's own device is no recipient."""
    told = {frame["user"] for visit in peer.visits for frame in visit.of("status")}
    assert told <= {user}


class Program:
    """A program with the Python client, on a device: it notes what comes, and reconnects."""

    def __init__(self, url: str, user: str, name: str | None = None) -> None:
        self.messages: list[Message] = []
        self.delivered: list[str] = []
        self.sessions = 0
        self.chat = landline.connect(
            url, username=user, device=name, on_event=self._hear, connect_timeout=WAIT_SECONDS
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def ids(self) -> list[str]:
        """Return the ids of what came, in order."""
        return [message.id for message in self.messages]

    async def __aenter__(self) -> Self:
        await self.chat.__aenter__()
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.chat.close()
        if self._task is not None:
            await self._task  # raises what went wrong

    async def until_has(self, ids: Collection[str]) -> None:
        """Wait until it has all of these."""
        wanted = set(ids)
        await until(
            lambda: wanted <= set(self.ids),
            lambda: f"{self.chat.username} has {len(wanted)} messages, not {len(self.messages)}",
        )

    async def _read(self) -> None:
        async for message in self.chat:
            self.messages.append(message)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Connected):
            self.sessions += 1
        elif isinstance(event, Delivered):
            self.delivered += event.ids
