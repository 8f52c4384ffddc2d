"""The writing half of a connection: drafts, acknowledgements, and the answers it waits for."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from landline_verify.clients.user import Draft, User
from landline_verify.history.events import Ack, Event, Invoke

# What a session may have acknowledged in one frame.
_ACKS_PER_FRAME = 256
# A connection that is about to be dropped waits so long for something to be lost with it.
_LAST_SEND_SECONDS = 0.5


class Outgoing:
    """What the connection `name` of a user writes. It is recorded before it leaves.

    `ack_rate` is how many messages a second are acknowledged at the most.
    """

    def __init__(self, user: User, name: str, ack_rate: float | None) -> None:
        self._user = user
        self._name = name
        self._ack_pause = 0.0 if ack_rate is None else 1 / ack_rate
        self._next_ack = 0.0  # when the next one is due, with a rate
        self._drafts: list[tuple[Draft, bool]] = []
        self._acks: list[str] = []
        self._others: list[tuple[Callable[[float], Event], dict[str, Any]]] = []
        self._waiting: dict[str, float] = {}  # ref -> since when
        self._timers: set[asyncio.TimerHandle] = set()
        self._has_work = asyncio.Event()
        self._has_sent = asyncio.Event()

    def put(self, draft: Draft, *, retry: bool) -> None:
        """Write a draft, once its turn has come."""
        self._drafts.append((draft, retry))
        self._has_work.set()

    def say(self, make: Callable[[float], Event], frame: dict[str, Any]) -> None:
        """Write another frame; `make` returns its event, from the time."""
        self._others.append((make, frame))
        self._has_work.set()

    def acknowledge(self, id: str, delay: float) -> None:
        """Acknowledge a message after so many seconds, and not before the rate allows it."""
        now = asyncio.get_running_loop().time()
        self._next_ack = max(now, self._next_ack) + self._ack_pause
        self.later(max(delay, self._next_ack - now), lambda: self._acks.append(id))

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something that gives work, after so many seconds, unless it is over by then."""

        def act() -> None:
            if timer is not None:
                self._timers.discard(timer)
            do()
            self._has_work.set()

        timer = asyncio.get_running_loop().call_later(seconds, act) if seconds else None
        if timer is None:
            act()
        else:
            self._timers.add(timer)

    def settle(self, ref: str) -> None:
        """Wait no longer for the answer of a send."""
        self._waiting.pop(ref, None)

    def waited(self) -> float:
        """Return for how many seconds the oldest send has had no answer; 0 without any."""
        now = asyncio.get_running_loop().time()
        return now - next(iter(self._waiting.values()), now)

    async def send_last(self) -> None:
        """Wait for a send to be on its way whose answer nobody will read."""
        self._has_sent.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SEND_SECONDS):
                await self._has_sent.wait()

    def end(self) -> None:
        """Do nothing more later."""
        for timer in self._timers:
            timer.cancel()

    async def write(self, socket: ClientConnection) -> None:
        """Write what there is, until the connection ends."""
        with suppress(ConnectionClosed):
            while True:
                await self._has_work.wait()
                self._has_work.clear()
                while self._drafts or self._acks or self._others:
                    if self._acks:
                        await self._write_acks(socket)
                    if self._others:
                        make, frame = self._others.pop(0)
                        self._user.recorder.record(make(self._user.recorder.now()))
                        await socket.send(orjson.dumps(frame).decode())
                    if self._drafts:
                        await self._write_draft(socket, *self._drafts.pop(0))

    async def _write_acks(self, socket: ClientConnection) -> None:
        ids, self._acks = self._acks[:_ACKS_PER_FRAME], self._acks[_ACKS_PER_FRAME:]
        recorder = self._user.recorder
        recorder.record(Ack(recorder.now(), self._user.name, self._name, tuple(ids)))
        await socket.send(orjson.dumps({"type": "ack", "ids": ids}).decode())

    async def _write_draft(self, socket: ClientConnection, draft: Draft, retry: bool) -> None:
        draft.is_tried = True
        recorder, user = self._user.recorder, self._user.name
        recorder.record(
            Invoke(
                recorder.now(), user, self._name, draft.to, draft.ref, draft.digest, retry,
                draft.what, draft.people,
            )
        )  # fmt: skip
        self._waiting.setdefault(draft.ref, asyncio.get_running_loop().time())
        await socket.send(draft.frame(retry=retry))
        self._has_sent.set()
