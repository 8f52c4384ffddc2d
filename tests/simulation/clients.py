"""Clients as the contract wants them, and the connections that the seed gives them.

A client makes a `ref` for each message and keeps it until it is answered, repeats with `retry`,
stores what it receives and then acknowledges. Everything it sees goes into the history.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from landline.protocol.client_frames import Ack, BadFrame, ClientFrame, Ping, Send
from landline.protocol.codes import CloseCode, ErrorCode, Outcome
from simulation.weather import OUTSIDE

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.world import World

# Frames that a connection holds before its server is told that it is full.
HIGH_FRAMES = 4
# How long a server takes to notice that nobody is there any more.
SILENCE_SECONDS = 3.0
CLOSE_SECONDS = 0.5
# Who sips acknowledges one message in so many seconds.
SIP_SECONDS = 0.25


def digest(content: str) -> str:
    """Return what stands for a content in a history."""
    return blake2b(content.encode()).hexdigest()[:16]


class Link:
    """One connection: in the place of `gateway.connection.Connection`, and its client's end."""

    def __init__(self, world: "World", client: "Client", process: "Process", session: str) -> None:
        self._world = world
        self._weather = world.weather
        self._loop = asyncio.get_running_loop()
        self.client = client
        self.process = process
        self.session = session
        self.user = client.user
        self.auto_ack = client.is_auto
        self.began = self._loop.time()
        self.behaviour = "steady"  # `silent`: it acknowledges nothing; `sipping`: slowly
        self.is_open = True  # as the client sees it
        self.is_welcome = False
        self.is_live = False
        self.unacked: list[str] = []
        self.pushes = 0
        self._is_reading = True
        self._is_black_hole = False
        self._down: deque[bytes | tuple[int, str]] = deque()
        self._up: deque[ClientFrame | BadFrame] = deque()
        self._is_down_due = self._is_up_due = False
        self._is_server_reading = True
        self._end: int | None = None  # has come, behind frames that the server does not read yet
        self._unread_since: float | None = None
        self._is_full = False
        self._is_server_open = True
        self._is_closing = False

    # What the hub asks of a connection -----------------------------------------------------------

    def transmit(self, frame: bytes) -> None:
        """Put a frame on its way to the client."""
        if self.process.is_alive:
            self._send_down(frame)

    def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye; the client answers, or the connection is cut."""
        if self._is_closing or not self.process.is_alive:
            return
        self._is_closing = True
        self._send_down((int(code), reason))
        self._later_at_server(CLOSE_SECONDS, self._close_at_server, int(code))

    def abort(self) -> None:
        """Cut it, from the server's side."""
        self._close_at_server(1006)
        self.lose("server", None)

    def is_flushed(self) -> bool:
        """Say whether everything has left the process."""
        return not self._is_closing and not self._down

    def pause_reading(self) -> None:
        """Take no more frames from the client."""
        self._is_server_reading = False
        if self._unread_since is None:
            self._unread_since = self.process.hub.clock.monotonic()

    def resume_reading(self) -> None:
        """Take frames again."""
        self._is_server_reading = True
        self._move_up()
        if self._end is not None:
            self._later_at_server(0.0, self._read_end, self._end)

    def beat(self, now: float) -> None:
        """A black hole is noticed by itself, see `fall_into_black_hole`."""

    # What happens to it ---------------------------------------------------------------------------

    def send(self, frame: ClientFrame | BadFrame) -> None:
        """The client sends a frame."""
        if self.is_open and not self._is_black_hole:
            self._up.append(frame)
            self._move_up()

    def read(self, is_reading: bool) -> None:
        """The client stops reading, or reads again."""
        self._is_reading = is_reading
        self._move_down()

    def fall_into_black_hole(self) -> None:
        """Nothing arrives any more, in either direction; both ends take a while to notice."""
        self._is_black_hole = True
        self._later_at_server(SILENCE_SECONDS, self._close_at_server, 1006)
        self._loop.call_later(SILENCE_SECONDS, self.lose, "network", None, context=OUTSIDE)

    def lose(self, by: str, code: int | None) -> None:
        """The client's end is gone: what was on its way to it is lost."""
        if not self.is_open:
            return
        self.is_open = False
        self._down.clear()
        self._world.note("disconnect", user=self.user, c=self.session, code=code, by=by)
        self.client.lost(self)
        if not self._is_black_hole:
            is_cut = by != "client" or self._weather.strikes("network", 0.5)
            if is_cut:
                self._up.clear()
            close = self._close_at_server if is_cut else self._read_end
            self._later_at_server(self._weather.delay(), self._end_comes, close, code or 1006)

    def _end_comes(self, close: Callable[[int], None], code: int) -> None:
        """The client's end has reached the server."""
        self._later_at_server(self._weather.delay(), close, code)

    def _read_end(self, code: int) -> None:
        """The server reads the end after the frames before it. While it reads nothing, as where
        too many sends are in flight, it does not see the end either.
        """
        self._end = None
        self._arrive_up()
        if self._is_server_reading:
            self._close_at_server(code)
        else:
            self._end = code

    def _send_down(self, item: bytes | tuple[int, str]) -> None:
        if not self.is_open:
            return
        self._down.append(item)
        is_stuck = not self._is_reading or self._is_black_hole
        if is_stuck and not self._is_full and len(self._down) >= HIGH_FRAMES:
            self._is_full = True
            self._later_at_server(0, self._tell_writable, False)
        self._move_down()

    def _move_down(self) -> None:
        if self._down and not self._is_down_due:
            self._is_down_due = True
            self._loop.call_later(self._weather.delay(), self._arrive_down, context=OUTSIDE)

    def _arrive_down(self) -> None:
        self._is_down_due = False
        while self._down and self.is_open and self._is_reading and not self._is_black_hole:
            item = self._down.popleft()
            if isinstance(item, tuple):
                self.lose("server", item[0])
            else:
                self.client.receive(self, orjson.loads(item))
        if self._is_full and not self._down:
            self._is_full = False
            self._later_at_server(0, self._tell_writable, True)

    def _move_up(self) -> None:
        if self._up and not self._is_up_due:
            self._is_up_due = True
            self._later_at_server(self._weather.delay(), self._arrive_up)

    def _arrive_up(self) -> None:
        self._is_up_due = False
        while self._up and self._is_server_reading and self._is_server_open:
            frame = self._up.popleft()
            if self._is_closing or self._is_black_hole:
                continue
            if isinstance(frame, BadFrame):
                self.process.hub.received_bad(self.process.as_connection(self), frame)
            else:
                self.process.hub.received(self.process.as_connection(self), frame)
        if self._unread_since is not None:
            self.process.hub.left_unread(self.process.as_connection(self), self._unread_since)
            if not self._up:
                self._unread_since = None

    def _tell_writable(self, is_writable: bool) -> None:
        if self._is_server_open:
            self.process.hub.writable(self.process.as_connection(self), is_writable)

    def _close_at_server(self, code: int) -> None:
        if self._is_server_open and self.process.is_alive:
            self._arrive_up()
            self._is_server_open = False
            self.process.hub.closed(self.process.as_connection(self), code)

    def _later_at_server(self, delay: float, act: Any, *args: Any) -> None:
        self._loop.call_later(delay, self._at_server, act, *args, context=self.process.context)

    def _at_server(self, act: Any, *args: Any) -> None:
        if self.process.is_alive:
            act(*args)


@dataclass
class Outgoing:
    """A send as the client keeps it until it is answered."""

    to: str
    content: str
    ref: str
    tries: int = 0
    link: Link | None = None


@dataclass
class Client:
    """A user, with all connections and devices."""

    world: "World"
    user: str
    is_auto: bool = False
    outbox: dict[str, Outgoing] = field(default_factory=dict)
    answered: list[Outgoing] = field(default_factory=list)
    composed: set[tuple[str, str, str]] = field(default_factory=set)
    inbox: set[str] = field(default_factory=set)
    links: list[Link] = field(default_factory=list)

    def connect(self, process: "Process") -> Link:
        """Open one more session, and repeat there what has no answer."""
        link = Link(self.world, self, process, self.world.next_name("c"))
        self.links.append(link)
        delay = self.world.weather.delay()
        asyncio.get_running_loop().call_later(delay, process.opened, link, context=process.context)
        return link

    def open_links(self) -> list[Link]:
        """Return the connections that can be used."""
        return [link for link in self.links if link.is_open and link.is_welcome]

    def compose(self, to: str, content: str, ref: str) -> None:
        """Write a message, and send it when there is a connection. Never the same one twice."""
        if ref not in self.outbox and (to, content, ref) not in self.composed:
            self.composed.add((to, content, ref))
            self.outbox[ref] = Outgoing(to, content, ref)
            self.repeat()

    def ask_again(self, outgoing: Outgoing) -> bool:
        """Repeat what was answered already. Returns whether it is on its way now."""
        if outgoing.ref in self.outbox or not self.open_links():
            return False
        self.outbox[outgoing.ref] = outgoing
        outgoing.link = None
        self.repeat()
        return True

    def is_waiting_for(self, outgoing: Outgoing) -> bool:
        """Say whether this send of its own has no answer."""
        return self.outbox.get(outgoing.ref) is outgoing

    def repeat(self) -> None:
        """Send everything that no open connection has been given."""
        links = self.open_links()
        if not links:
            return
        for outgoing in self.outbox.values():
            if outgoing.link is None or not outgoing.link.is_open:
                self.send(self.world.rng.choice(links), outgoing)

    def send(self, link: Link, outgoing: Outgoing) -> None:
        """Send, with `retry` when it was sent before."""
        outgoing.link = link
        retry = outgoing.tries > 0
        outgoing.tries += 1
        self.world.note(
            "invoke",
            user=self.user,
            c=link.session,
            to=outgoing.to,
            ref=outgoing.ref,
            digest=digest(outgoing.content),
            retry=retry,
        )
        link.send(Send(outgoing.to, outgoing.content, outgoing.ref, retry))

    def send_once(self, link: Link, to: str, content: str) -> None:
        """Send without a ref: the answer can name the message, but nobody can repeat it."""
        self.world.note(
            "invoke",
            user=self.user,
            c=link.session,
            to=to,
            ref=None,
            digest=digest(content),
            retry=False,
        )
        link.send(Send(to, content))

    def lost(self, link: Link) -> None:
        """A connection is gone: repeat elsewhere."""
        self.links.remove(link)
        self.repeat()

    def receive(self, link: Link, frame: dict[str, Any]) -> None:
        """Take a frame."""
        handle = getattr(self, f"_take_{frame['type']}")
        handle(link, frame)

    def acknowledge(self, link: Link, only: str | None = None) -> None:
        """Acknowledge what is stored and not acknowledged yet: all of it, or one message."""
        if link.behaviour == "silent" or not link.unacked or not link.is_open:
            return
        ids = tuple(link.unacked) if only is None else (only,)
        link.unacked = [id for id in link.unacked if id not in ids]
        self.send_ack(link, ids)

    def _sip_later(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(SIP_SECONDS, self._sip, link, context=OUTSIDE)

    def _sip(self, link: Link) -> None:
        if link.unacked and link.is_open and link.behaviour == "sipping":
            self.acknowledge(link, link.unacked[0])
        if link.unacked:
            self._sip_later(link)

    def send_ack(self, link: Link, ids: tuple[str, ...]) -> None:
        """Acknowledge these messages, whatever they are."""
        self.world.note("ack", user=self.user, c=link.session, ids=ids)
        link.send(Ack(ids))

    def _take_welcome(self, link: Link, frame: dict[str, Any]) -> None:
        self.world.note(
            "connect",
            user=self.user,
            c=link.session,
            url="",
            server=frame["server"],
            session=frame["session"],
            durability=frame["durability"],
            ack="auto" if link.auto_ack else "client",
            behaviour=link.behaviour,
            began=link.began,
        )
        link.is_welcome = True
        self.repeat()

    def _take_caught_up(self, link: Link, frame: dict[str, Any]) -> None:
        link.is_live = True
        self.world.note("live", user=self.user, c=link.session, replayed=frame["replayed"])

    def _take_accepted(self, link: Link, frame: dict[str, Any]) -> None:
        outgoing = self.outbox.pop(frame["ref"], None) if "ref" in frame else None
        if outgoing is not None:
            self.answered.append(outgoing)
        self.world.note(
            "ok",
            user=self.user,
            c=link.session,
            ref=frame.get("ref"),
            id=frame["id"],
            conversation=frame["conversation"],
            offset=frame["offset"],
            time=frame["time"],
        )

    def _take_message(self, link: Link, frame: dict[str, Any]) -> None:
        link.pushes += 1
        self.inbox.add(frame["id"])
        self.world.note(
            "recv",
            user=self.user,
            c=link.session,
            n=link.pushes,
            id=frame["id"],
            conversation=frame["conversation"],
            sender=frame["sender"],
            to=frame["to"],
            digest=digest(frame["content"]),
            offset=frame["offset"],
            time=frame["time"],
            replay=frame.get("replay", False),
        )
        if self.is_auto:
            return
        link.unacked.append(frame["id"])
        if link.behaviour == "sipping":
            if len(link.unacked) == 1:
                self._sip_later(link)
            return
        chance = self.world.rng.random()
        if chance < 0.6:
            self.acknowledge(link)
        else:
            if chance < 0.7:  # stored sooner than what came before it
                self.acknowledge(link, frame["id"])
            later = self.world.rng.random() * self.world.plan.ack_seconds
            loop = asyncio.get_running_loop()
            loop.call_later(later, self.acknowledge, link, context=OUTSIDE)

    def _take_status(self, link: Link, frame: dict[str, Any]) -> None:
        self.world.note(
            "status",
            user=self.user,
            c=link.session,
            ids=frame["ids"],
            by=frame["user"],
            time=frame["time"],
        )

    def _take_error(self, link: Link, frame: dict[str, Any]) -> None:
        outcome, ref = frame.get("outcome"), frame.get("ref")
        outgoing = self.outbox.get(ref) if ref is not None else None
        if outcome is None or outgoing is None:
            self.world.note(
                "error",
                user=self.user,
                c=link.session,
                code=frame["code"],
                message=frame["message"],
            )
            return
        self.world.note(outcome, user=self.user, c=link.session, ref=ref, code=frame["code"])
        if outcome == "rejected":
            del self.outbox[outgoing.ref]
        else:
            outgoing.link = None
            later = self.world.rng.random()
            asyncio.get_running_loop().call_later(later, self.repeat, context=OUTSIDE)

    def _take_pong(self, link: Link, frame: dict[str, Any]) -> None:
        """It lives."""


BAD = BadFrame(ErrorCode.BAD_FRAME, "not JSON")
EMPTY = BadFrame(ErrorCode.CONTENT_EMPTY, "nothing to send", Outcome.REJECTED, "empty")
PING = Ping()
