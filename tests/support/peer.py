"""A client for tests, made from the wire protocol alone: it shares no code with Landline.

It keeps a journal of all it saw, and it behaves as a correct client does: a ref made before the
first try, unanswered sends repeated with `retry`, every message acknowledged. Each habit can be
switched off.
"""

import asyncio
import itertools
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from support.waiting import WAIT_SECONDS, until

RETRY_SECONDS = 0.1  # after an answer that leaves it open
RECONNECT_SECONDS = 0.01
Frame = dict[str, Any]


@dataclass
class Visit:
    """One session: what arrived in it, in order."""

    frames: list[Frame] = field(default_factory=list)
    close_code: int | None = None
    close_reason: str = ""

    def of(self, kind: str) -> list[Frame]:
        """Return the frames of one type."""
        return [frame for frame in self.frames if frame["type"] == kind]

    @property
    def message_ids(self) -> list[str]:
        """Return the ids of all messages of this session, in order of arrival."""
        return [frame["id"] for frame in self.of("message")]


class Peer:
    """A user's client. Use as a context manager, or `start` and `stop` it.

    It connects to the first of its addresses, and to the next one whenever a session ends or
    cannot begin.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        user: str,
        *,
        acks: bool = True,
        reads: bool = True,
        reconnects: bool = True,
        query: str = "",
    ) -> None:
        self.user = user
        self.acks = acks
        self.reads = reads
        self.reconnects = reconnects
        self.visits: list[Visit] = []
        self.accepted: dict[str, Frame] = {}
        self.rejected: dict[str, str] = {}  # ref -> content of what was answered `rejected`
        self.errors: list[Frame] = []
        self.unanswered: dict[str, tuple[str, str, int]] = {}
        self.statuses: list[str] = []
        self.socket: ClientConnection | None = None
        # One that comes once has one try.
        self._open_seconds = 5.0 if reconnects else WAIT_SECONDS
        urls = [url] if isinstance(url, str) else url
        self._urls = itertools.cycle(f"{each}?username={quote(user)}{query}" for each in urls)
        self._task: asyncio.Task[None] | None = None
        self._retries: set[asyncio.Task[None]] = set()
        name = uuid.uuid4().hex[:8]
        self._refs = (f"{name}-{number}" for number in itertools.count())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self, *, caught_up: bool = False) -> None:
        """Connect; return when there is a session (or it has caught up)."""
        self._task = asyncio.create_task(self._run())
        kind = "caught_up" if caught_up else "welcome"
        await until(
            lambda: bool(self.visits and self.visits[-1].of(kind)) or not self.reads,
            f"{self.user} has {kind}",
        )
        if not self.reads:
            await until(lambda: self.socket is not None, f"{self.user} is connected")

    async def stop(self) -> None:
        """Leave, cleanly."""
        self.reconnects = False
        if self.socket is not None:
            await self.socket.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def cut(self) -> None:
        """Drop the TCP connection without a word."""
        if self.socket is not None:
            self.socket.transport.abort()

    # What was seen ---------------------------------------------------------------------------

    @property
    def visit(self) -> Visit:
        """Return the current or last session."""
        return self.visits[-1]

    @property
    def messages(self) -> list[Frame]:
        """Return every message of every session."""
        return [frame for visit in self.visits for frame in visit.of("message")]

    @property
    def received(self) -> set[str]:
        """Return the ids of every message ever received."""
        return {frame["id"] for frame in self.messages}

    @property
    def accepted_ids(self) -> set[str]:
        """Return the ids of every message accepted."""
        return {frame["id"] for frame in self.accepted.values()}

    # Doing -----------------------------------------------------------------------------------

    async def send(self, to: str, content: str, ref: str | None = None) -> str:
        """Send a message; the answer is noted when it comes. Returns the ref."""
        ref = ref or next(self._refs)
        self.unanswered[ref] = (to, content, 0)
        await self._try(ref)
        return ref

    async def send_and_wait(self, to: str, content: str, ref: str | None = None) -> Frame:
        """Send a message and return its `accepted`."""
        ref = await self.send(to, content, ref)
        await until(lambda: ref in self.accepted, f"{ref} is accepted")
        return self.accepted[ref]

    async def repeat(self, to: str, content: str, ref: str) -> None:
        """Repeat a send whose answer an earlier run of this client never saw."""
        self.unanswered[ref] = (to, content, 1)
        await self._try(ref)

    async def raw(self, frame: Frame | str | bytes) -> None:
        """Write a frame as it is."""
        assert self.socket is not None
        await self.socket.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def _try(self, ref: str) -> None:
        to, content, tries = self.unanswered[ref]
        if self.socket is None:
            return
        self.unanswered[ref] = (to, content, tries + 1)
        frame: Frame = {"type": "send", "to": to, "content": content, "ref": ref}
        if tries:
            frame["retry"] = True
        try:
            await self.raw(frame)
        except ConnectionClosed:
            return

    async def _try_later(self, ref: str) -> None:
        await asyncio.sleep(RETRY_SECONDS)
        if ref in self.unanswered:
            await self._try(ref)

    async def _run(self) -> None:
        while True:
            try:
                await self._visit()
            except (OSError, InvalidHandshake, TimeoutError, EOFError):
                await asyncio.sleep(RECONNECT_SECONDS)
            if not self.reconnects:
                return
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _visit(self) -> None:
        async with connect(
            next(self._urls), compression=None, max_queue=None if self.reads else 1,
            ping_interval=None, close_timeout=1, open_timeout=self._open_seconds,
        ) as socket:  # fmt: skip
            visit = Visit()
            self.visits.append(visit)
            self.socket = socket
            if not self.reads:
                await asyncio.Event().wait()
            # Of earlier sessions: what is sent on this one needs no repeat.
            repeats = asyncio.create_task(self._repeat(list(self.unanswered)))
            try:
                async for text in socket:
                    await self._receive(visit, json.loads(text))
            except ConnectionClosed:
                pass
            finally:
                for task in (repeats, *self._retries):
                    task.cancel()
                self.socket = None
                visit.close_code = socket.close_code
                visit.close_reason = socket.close_reason or ""

    async def _repeat(self, refs: Iterable[str]) -> None:
        for ref in refs:
            if ref in self.unanswered:
                await self._try(ref)

    async def _receive(self, visit: Visit, frame: Frame) -> None:
        visit.frames.append(frame)
        kind = frame["type"]
        if kind in ("message", "member", "room") and self.acks and self.socket is not None:
            try:
                await self.raw({"type": "ack", "ids": [frame["id"]]})
            except ConnectionClosed:
                return
        elif kind == "accepted" and "ref" in frame:
            self.accepted[frame["ref"]] = frame
            self.unanswered.pop(frame["ref"], None)
        elif kind == "status":
            self.statuses += frame["ids"]
        elif kind == "error":
            self.errors.append(frame)
            ref = frame.get("ref")
            if ref in self.unanswered and frame.get("outcome") == "rejected":
                self.rejected[ref] = self.unanswered.pop(ref)[1]
            elif ref in self.unanswered and frame.get("outcome") == "unknown":
                retry = asyncio.create_task(self._try_later(ref))
                self._retries.add(retry)
                retry.add_done_callback(self._retries.discard)


async def until_caught_up(peer: Peer) -> None:
    """Wait until the session has got what was owed to it at its beginning."""
    await until(lambda: bool(peer.visit.of("caught_up")), f"{peer.user} has caught up")


async def until_applied(url: str) -> None:
    """Wait until the store has all that is in the log now: a session that begins waits for that."""
    async with Peer(url, "nobody") as nobody:
        await until_caught_up(nobody)
