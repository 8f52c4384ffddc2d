"""A stand-in of the wire protocol, in memory: a correct one, or one that is broken in one way.

It shows that a checker bites: each fault is one that some careless chat server has had.
"""

import asyncio
import json
import random
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Frame = dict[str, Any]
Fault = Literal["lose", "double", "forge", "swap", "leak", "alter", "forget"]

TIME = "2026-01-02T03:04:05.678Z"
CONTENT_BYTES = 16_384
LIMITS = {"content_bytes": CONTENT_BYTES, "frame_bytes": 65_536, "window": 256}


@dataclass(eq=False)
class Session:
    """One connection of a user; frames leave it in the order in which they were put."""

    user: str
    is_auto: bool
    frames: "asyncio.Queue[Frame]" = field(default_factory=asyncio.Queue)
    pushed: set[str] = field(default_factory=set)


class Standin:
    """A server on a free port of the loopback. `broken` are the ids that its fault has struck."""

    def __init__(self, fault: Fault | None = None, *, every: int = 50, seed: int = 1) -> None:
        self.broken: set[str] = set()
        self._fault = fault
        self._every = every
        self._chance = random.Random(seed)
        self._messages: dict[str, Frame] = {}
        self._pending: defaultdict[str, dict[str, Frame]] = defaultdict(dict)
        self._sessions: defaultdict[str, list[Session]] = defaultdict(list)
        self._held: dict[str, Frame] = {}  # by conversation: what the next one overtakes
        self._server: Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Return the address of the WebSocket."""
        return f"ws://127.0.0.1:{self._port}/ws/chat"

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close every connection and the listener."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def restart(self) -> None:
        """Stop and start; a broken one forgets what had not been delivered."""
        await self.stop()
        if self._fault == "forget":
            for messages in self._pending.values():
                self.broken.update(messages)
                messages.clear()
        await self._start()

    async def _start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", self._port, ping_interval=None)
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    # One connection --------------------------------------------------------------------------

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        query = parse_qs(urlsplit(socket.request.path).query)
        session = Session(query["username"][0], query.get("ack") == ["auto"])
        writer = asyncio.create_task(self._write(socket, session))
        self._welcome(session)
        try:
            async for text in socket:
                self._receive(session, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self._sessions[session.user].remove(session)
            writer.cancel()

    async def _write(self, socket: ServerConnection, session: Session) -> None:
        try:
            while True:
                frame = await session.frames.get()
                await socket.send(json.dumps(frame))
                if session.is_auto and frame["type"] == "message":
                    self._deliver(session.user, [frame["id"]])
        except ConnectionClosed:
            return

    def _welcome(self, session: Session) -> None:
        session.frames.put_nowait(
            {"type": "welcome", "user": session.user, "server": "standin", "protocol": 1,
             "session": str(uuid.uuid4()), "durability": "none", "limits": LIMITS}
        )  # fmt: skip
        self._sessions[session.user].append(session)
        owed = list(self._pending[session.user].values())
        for message in owed:
            self._push(session, {**message, "replay": True})
        session.frames.put_nowait({"type": "caught_up", "replayed": len(owed)})

    def _receive(self, session: Session, frame: Frame) -> None:
        if frame["type"] == "send":
            self._accept(session, frame)
        elif frame["type"] == "ack":
            self._deliver(session.user, [id for id in frame["ids"] if id in session.pushed])

    # Messages --------------------------------------------------------------------------------

    def _accept(self, session: Session, frame: Frame) -> None:
        sender, to, content, ref = session.user, frame["to"], frame["content"], frame["ref"]
        if len(content.encode()) > CONTENT_BYTES:
            error = {"type": "error", "code": "content_too_large", "message": "too large"}
            session.frames.put_nowait({**error, "outcome": "rejected", "ref": ref})
            return
        id = str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([sender, ref, to, content])))
        is_new = id not in self._messages
        message = self._messages.setdefault(
            id,
            {"type": "message", "id": id, "conversation": f"dm:{':'.join(sorted([sender, to]))}",
             "sender": sender, "to": to, "content": content, "time": TIME,
             "offset": len(self._messages)},
        )  # fmt: skip
        fields = ("id", "conversation", "offset", "time")
        answer = {"type": "accepted", "ref": ref, **{name: message[name] for name in fields}}
        session.frames.put_nowait(answer)
        if is_new:
            self._fan_out(message)

    def _fan_out(self, message: Frame) -> None:
        if self._is_struck(message):
            self._strike(message)
            return
        self._pending[message["to"]][message["id"]] = message
        self._push_live(message)
        if held := self._held.pop(message["conversation"], None):
            self.broken |= {held["id"], message["id"]}
            self._push_live(held)

    def _is_struck(self, message: Frame) -> bool:
        if self._fault in {None, "forget"}:
            return False
        if self._fault == "lose" and any(each.is_auto for each in self._sessions[message["to"]]):
            return False  # what is lost on the way to them counts as delivered
        if self._fault == "forge" and self._sessions[message["to"]]:
            return False  # somebody who is away has certainly acknowledged nothing
        return self._chance.randrange(self._every) == 0

    def _strike(self, message: Frame) -> None:
        id, to = message["id"], message["to"]
        if self._fault != "swap":
            self.broken.add(id)
        if self._fault == "lose":
            return
        if self._fault == "alter":
            message = {**message, "content": message["content"][:-1] + "?"}
        self._pending[to][id] = message
        if self._fault == "forge":
            self._tell_sender([id], to)
        elif self._fault == "swap" and message["conversation"] not in self._held:
            self._held[message["conversation"]] = message
        else:
            self._push_live(message)
        if self._fault == "double":
            for session in self._sessions[to]:
                session.frames.put_nowait(message)
        elif self._fault == "leak":
            strangers = [user for user in self._sessions if user not in {to, message["sender"]}]
            for session in self._sessions[self._chance.choice(strangers)]:
                session.frames.put_nowait(message)

    def _push_live(self, message: Frame) -> None:
        for session in self._sessions[message["to"]]:
            self._push(session, message)

    def _push(self, session: Session, message: Frame) -> None:
        if message["id"] not in session.pushed:
            session.pushed.add(message["id"])
            session.frames.put_nowait(message)

    def _deliver(self, user: str, ids: list[str]) -> None:
        for id in ids:
            if self._pending[user].pop(id, None) is not None:
                self._tell_sender([id], user)

    def _tell_sender(self, ids: list[str], by: str) -> None:
        status = {"type": "status", "ids": ids, "user": by, "status": "DELIVERED", "time": TIME}
        for session in self._sessions[self._messages[ids[0]]["sender"]]:
            session.frames.put_nowait(status)
