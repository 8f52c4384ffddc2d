"""Correct clients, made from docs/protocol.md alone, that write down all they do and see.

A `User` is a person with a memory that outlives every connection: drafts that have no answer yet,
and the ids of what was stored. A `Connection` is one socket of theirs, from handshake to end.
"""

import asyncio
import itertools
import random
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal
from urllib.parse import quote

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from landline_verify.events import (
    Ack,
    Connect,
    Disconnect,
    Error,
    Event,
    Invoke,
    Live,
    Ok,
    Recv,
    Rejected,
    Status,
    Unknown,
)
from landline_verify.history import History

# A connection that has not answered a send for so long is given up (docs/protocol.md, rule 4).
ANSWER_SECONDS = 15.0
# How often that is looked at. Both together stay below the second that a checker grants.
_LOOK_SECONDS = 0.5
HANDSHAKE_SECONDS = 5.0
# Before a send that was answered `unknown` is repeated in the same session.
_REPEAT_SECONDS = 0.5
# Who is about to drop the connection waits so long for something to be lost with it.
_LAST_SEND_SECONDS = 0.5
# The protocol lets a client wait for 10 s; a short run has to see that users come back.
_LONGEST_PAUSE_SECONDS = 2.0
# What a session may have acknowledged in one frame.
_ACKS_PER_FRAME = 256

_RETRY_AFTER = re.compile(r"retry_after_ms=(\d+)")

Frame = dict[str, Any]


class Recorder:
    """Writes the history of a run down; knows what time it is there."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._start = time.monotonic()
        self._connections = itertools.count(1)

    def now(self) -> float:
        """Return the seconds since the run's start."""
        return round(time.monotonic() - self._start, 6)

    def record(self, event: Event) -> None:
        """Add an event that happened `now`."""
        self.history.record(event)

    def name_connection(self) -> str:
        """Return a name that no other connection of the run has."""
        return f"c{next(self._connections)}"


def digest(content: str) -> str:
    """Return what stands for a content in the history."""
    return blake2b(content.encode(), digest_size=8).hexdigest()


class NotLandline(Exception):
    """Whoever answers does not speak the wire protocol; `str(error)` says what it did."""


@dataclass(slots=True, eq=False)
class Draft:
    """A message without an answer. Made, with its ref, before the first try."""

    to: str
    content: str
    ref: str
    digest: str
    is_tried: bool = False
    carrier: "Connection | None" = None  # who waits for the answer

    def frame(self, *, retry: bool) -> str:
        """Return the `send` frame."""
        frame = {"type": "send", "to": self.to, "content": self.content, "ref": self.ref}
        return orjson.dumps({**frame, "retry": True} if retry else frame).decode()


@dataclass(eq=False)
class User:
    """One user: what they remember across connections."""

    name: str
    behaviour: str
    recorder: Recorder
    chance: random.Random
    acks_by_itself: bool = True  # False: `ack=auto`
    outbox: dict[str, Draft] = field(default_factory=dict)
    inbox: set[str] = field(default_factory=set)
    connections: list["Connection"] = field(default_factory=list)
    accepted: int = 0
    failures: int = 0
    asked_pause: float | None = None

    @property
    def is_online(self) -> bool:
        """Say whether there is a session to send through."""
        return bool(self.connections)

    def send(self, draft: Draft) -> None:
        """Keep the draft, then send it through the newest session, or the next one."""
        self.outbox[draft.ref] = draft
        if self.connections:
            self.connections[-1].carry(draft)

    async def visit(
        self,
        url: str,
        seconds: float | None = None,
        *,
        ack_delay: float | None = 0.0,
        ack_rate: float | None = None,
        leave: Literal["close", "abort"] = "close",
    ) -> None:
        """Be connected for so long, or until the connection ends; before it, wait if one should.

        `ack_delay` is the time between storing and acknowledging; None: never acknowledge.
        `ack_rate` is how many messages a second are acknowledged at the most.
        """
        await asyncio.sleep(self._pause())
        connection = Connection(self, url, ack_delay=ack_delay, ack_rate=ack_rate, leave=leave)
        try:
            await connection.run(seconds)
        finally:
            self.asked_pause = connection.asked_pause
            self.failures = 0 if connection.is_welcome else self.failures + 1

    def _pause(self) -> float:
        if self.asked_pause is not None:
            return self.asked_pause
        # Full jitter: without it all clients of a server come back in one moment.
        longest = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2 ** min(self.failures, 10))
        return self.chance.uniform(0, longest) if self.failures else 0.0


class Connection:
    """One socket of a user."""

    def __init__(
        self,
        user: User,
        url: str,
        *,
        ack_delay: float | None = 0.0,
        ack_rate: float | None = None,
        leave: Literal["close", "abort"] = "close",
    ) -> None:
        self.user = user
        self.url = url
        self.name = user.recorder.name_connection()
        self.is_welcome = False
        self.is_live = False
        self.asked_pause: float | None = None
        self._ack_delay = ack_delay
        self._ack_pause = 0.0 if ack_rate is None else 1 / ack_rate
        self._next_ack = 0.0  # when the next one is due, of who acknowledges so many a second
        self._leave = leave
        self._has_given_up = False
        self._drafts: list[tuple[Draft, bool]] = []
        self._acks: list[str] = []
        self._has_work = asyncio.Event()
        self._has_sent = asyncio.Event()
        self._waiting: dict[str, float] = {}  # ref -> since when
        self._pushes = 0
        self._timers: set[asyncio.TimerHandle] = set()

    # What its user does ------------------------------------------------------------------------

    def carry(self, draft: Draft) -> None:
        """Send a draft, and wait for its answer."""
        draft.carrier = self
        self._put(draft, retry=draft.is_tried)

    def repeat(self, draft: Draft) -> None:
        """Send once more what another connection carries, or had answered."""
        self._put(draft, retry=True)

    async def run(self, seconds: float | None) -> None:
        """Live from the handshake to the end; whatever the network does is no error.

        A server that does not keep to the protocol is written down as an error, `not_landline`.
        """
        try:
            async with connect(
                self._address(), compression=None, max_queue=64, open_timeout=HANDSHAKE_SECONDS,
                close_timeout=2, ping_interval=10, ping_timeout=10, proxy=None,
            ) as socket:  # fmt: skip
                await self._live(socket, seconds)
        except NotLandline as error:
            self._record(Error(self._now(), self.user.name, self.name, "not_landline", str(error)))
        except (
            OSError,
            TimeoutError,
            EOFError,
            InvalidHandshake,
            InvalidMessage,
            ConnectionClosed,
        ):
            return

    # Inside ------------------------------------------------------------------------------------

    def _put(self, draft: Draft, *, retry: bool) -> None:
        self._drafts.append((draft, retry))
        self._has_work.set()

    def _address(self) -> str:
        ack = "" if self.user.acks_by_itself else "&ack=auto"
        return f"{self.url}?username={quote(self.user.name, safe='')}{ack}"

    async def _live(self, socket: ClientConnection, seconds: float | None) -> None:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            welcome = _decode(await socket.recv())
        self._note_welcome(welcome)
        tasks = [asyncio.create_task(self._write(socket)), asyncio.create_task(self._watch(socket))]
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    async for text in socket:
                        self._receive(_decode(text))
            if self._leave == "abort":
                await self._send_last()
        finally:
            self._note_end(socket)
            for timer in self._timers:
                timer.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if self._leave == "abort" or not self.is_welcome:
                socket.transport.abort()

    async def _send_last(self) -> None:
        """Wait for a send to be on its way whose answer nobody will read."""
        self._has_sent.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SEND_SECONDS):
                await self._has_sent.wait()

    def _note_welcome(self, welcome: Frame) -> None:
        check_welcome(welcome)
        self.is_welcome = True
        self._record(
            Connect(
                self._now(), self.user.name, self.name, self.url, _text(welcome, "server"),
                _text(welcome, "session"), _text(welcome, "durability"),
                "client" if self.user.acks_by_itself else "auto", self.user.behaviour,
            )
        )  # fmt: skip
        self.user.connections.append(self)
        for draft in self.user.outbox.values():
            if draft.carrier is None:
                self.carry(draft)

    def _note_end(self, socket: ClientConnection) -> None:
        received = socket.protocol.close_rcvd
        has_left = self._has_given_up or socket.close_code is None
        code = received.code if received is not None else None
        by: Literal["client", "server", "network"] = (
            "client" if has_left else "network" if received is None else "server"
        )
        self._record(Disconnect(self._now(), self.user.name, self.name, code, by))
        if received is not None and (asked := _RETRY_AFTER.search(received.reason)):
            self.asked_pause = int(asked[1]) / 1000
        self.user.connections.remove(self)
        for draft in self.user.outbox.values():
            if draft.carrier is self:
                draft.carrier = None
                if self.user.connections:
                    self.user.connections[-1].carry(draft)

    async def _write(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await self._has_work.wait()
                self._has_work.clear()
                while self._drafts or self._acks:
                    if self._acks:
                        await self._write_acks(socket)
                    if self._drafts:
                        await self._write_draft(socket, *self._drafts.pop(0))

    async def _write_acks(self, socket: ClientConnection) -> None:
        ids, self._acks = self._acks[:_ACKS_PER_FRAME], self._acks[_ACKS_PER_FRAME:]
        self._record(Ack(self._now(), self.user.name, self.name, tuple(ids)))
        await socket.send(orjson.dumps({"type": "ack", "ids": ids}).decode())

    async def _write_draft(self, socket: ClientConnection, draft: Draft, retry: bool) -> None:
        draft.is_tried = True
        self._record(
            Invoke(self._now(), self.user.name, self.name, draft.to, draft.ref, draft.digest, retry)
        )
        self._waiting.setdefault(draft.ref, asyncio.get_running_loop().time())
        await socket.send(draft.frame(retry=retry))
        self._has_sent.set()

    async def _watch(self, socket: ClientConnection) -> None:
        """Give the connection up when a send has no answer in time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            oldest = next(iter(self._waiting.values()), None)
            if oldest is not None and loop.time() - oldest >= ANSWER_SECONDS:
                self._has_given_up = True
                socket.transport.abort()
                return

    def _receive(self, frame: Frame) -> None:
        now, user, c = self._now(), self.user.name, self.name
        match frame.get("type"):
            case "message":
                self._receive_message(frame)
            case "accepted":
                self._receive_accepted(frame)
            case "error":
                self._receive_error(frame)
            case "status":
                by, told = _text(frame, "user"), _text(frame, "time")
                self._record(Status(now, user, c, _texts(frame, "ids"), by, told))
            case "caught_up":
                self.is_live = True
                self._record(Live(now, user, c, _integer(frame, "replayed")))

    def _receive_message(self, frame: Frame) -> None:
        self._pushes += 1
        id = _text(frame, "id")
        self._record(
            Recv(
                self._now(), self.user.name, self.name, self._pushes, id,
                _text(frame, "conversation"), _text(frame, "sender"), _text(frame, "to"),
                digest(_text(frame, "content")), _integer(frame, "offset"), _text(frame, "time"),
                frame.get("replay") is True,
            )
        )  # fmt: skip
        self.user.inbox.add(id)  # stored; only now may it be acknowledged
        if self.user.acks_by_itself and self._ack_delay is not None:
            now = asyncio.get_running_loop().time()
            self._next_ack = max(now, self._next_ack) + self._ack_pause
            delay = max(self._ack_delay, self._next_ack - now)
            self._later(delay, lambda: self._acks.append(id))

    def _receive_accepted(self, frame: Frame) -> None:
        ref = _text(frame, "ref")
        self._record(
            Ok(
                self._now(), self.user.name, self.name, ref, _text(frame, "id"),
                _text(frame, "conversation"), _integer(frame, "offset"), _text(frame, "time"),
            )
        )  # fmt: skip
        self._waiting.pop(ref, None)
        if self.user.outbox.pop(ref, None) is not None:
            self.user.accepted += 1

    def _receive_error(self, frame: Frame) -> None:
        now, user, c, code = self._now(), self.user.name, self.name, _text(frame, "code")
        outcome = frame.get("outcome")
        if outcome not in {"rejected", "unknown"} or "ref" not in frame:
            self._record(Error(now, user, c, code, _text(frame, "message")))
            return
        ref = _text(frame, "ref")
        answer = Rejected if outcome == "rejected" else Unknown
        self._record(answer(now, user, c, ref, code))
        self._waiting.pop(ref, None)
        if outcome == "rejected":
            # Never the same ref again: `busy` would be sent as another message, if at all.
            self.user.outbox.pop(ref, None)
        elif (draft := self.user.outbox.get(ref)) is not None and draft.carrier is self:
            self._later(_REPEAT_SECONDS, lambda: self._repeat_unknown(draft))

    def _repeat_unknown(self, draft: Draft) -> None:
        if draft.ref in self.user.outbox:
            self.repeat(draft)

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
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

    def _record(self, event: Event) -> None:
        self.user.recorder.record(event)

    def _now(self) -> float:
        return self.user.recorder.now()


# Frames, taken at their word only where it has the right type -------------------------------------


def _decode(text: str | bytes) -> Frame:
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotLandline(f"its frames are no JSON: {error}") from None
    if not isinstance(frame, dict):
        raise NotLandline("its frames are no JSON objects")
    return frame


def check_welcome(frame: Frame) -> None:
    """Raises: NotLandline."""
    if frame.get("type") != "welcome" or frame.get("protocol") != 1:
        raise NotLandline(f"its first frame is no welcome of protocol 1: {str(frame)[:60]}")


def _text(frame: Frame, name: str) -> str:
    value = frame.get(name)
    if not isinstance(value, str):
        raise _wrong(frame, name)
    return value


def _texts(frame: Frame, name: str) -> tuple[str, ...]:
    value = frame.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _wrong(frame, name)
    return tuple(value)


def _integer(frame: Frame, name: str) -> int:
    value = frame.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(frame, name)
    return value


def _wrong(frame: Frame, name: str) -> NotLandline:
    return NotLandline(f"a frame of type {frame['type']} with {name} = {frame.get(name)!r:.40}")


async def probe(url: str, user: str) -> Frame:
    """Return the `welcome` of a server. Raises: NotLandline, or OSError when nobody answers."""
    try:
        async with connect(
            f"{url}?username={quote(user, safe='')}", compression=None,
            open_timeout=HANDSHAKE_SECONDS, close_timeout=1, proxy=None,
        ) as socket, asyncio.timeout(HANDSHAKE_SECONDS):  # fmt: skip
            welcome = _decode(await socket.recv())
    except TimeoutError:
        raise NotLandline(f"no welcome within {HANDSHAKE_SECONDS:g} s") from None
    except (InvalidHandshake, InvalidMessage, EOFError, ConnectionClosed, ValueError) as error:
        raise NotLandline(str(error) or type(error).__name__) from None
    check_welcome(welcome)
    return welcome


def unanswered(users: Iterable[User]) -> int:
    """Return how many drafts of all of them wait for an answer."""
    return sum(len(user.outbox) for user in users)
