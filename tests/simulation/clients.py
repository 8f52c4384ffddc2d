"""Clients as the contract wants them.

A client makes a `ref` for each message and keeps it until it is answered, repeats with `retry`,
stores what it receives and then acknowledges. Everything it sees goes into the history.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from landline.protocol.client_frames import Ack, BadFrame, LogRequest, Ping, Send
from landline.protocol.codes import CloseCode, ErrorCode, Outcome
from simulation.asking import Asking
from simulation.link import Link
from simulation.outgoing import Outgoing, digest, digest_of
from simulation.process import Process
from simulation.surroundings import Surroundings
from simulation.weather import OUTSIDE

# A client that sips acknowledges one message in so many seconds.
SIP_SECONDS = 0.25
# Ends after which a client comes back at once, and with another token.
_SIGN_IN_AGAIN = (CloseCode.NOT_AUTHENTICATED, CloseCode.FORBIDDEN)


# What a repeat may be told that nobody allows; it may be in the log all the same.
_NOT_ALLOWED = frozenset(
    {
        ErrorCode.BAD_RECIPIENT,
        ErrorCode.BAD_REF,
        ErrorCode.FORBIDDEN,
        ErrorCode.NO_SUCH_CONVERSATION,
        ErrorCode.ROOM_FULL,
    }
)
_REFUSALS = 3


@dataclass
class Client:
    """A user, with all connections and devices."""

    world: Surroundings
    user: str
    come_back: Callable[["Client", str | None], None]  # with this device
    is_auto: bool = False
    devices: tuple[str | None, ...] = (None,)  # what its sessions may be
    used: set[str | None] = field(default_factory=set)  # devices that have had a session
    outbox: dict[str, Outgoing] = field(default_factory=dict)
    answered: list[Outgoing] = field(default_factory=list)
    composed: set[tuple[str, str, str]] = field(default_factory=set)
    links: list[Link] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.asking = Asking(self.world, self.user)

    def connect(self, process: Process, device: str | None = None) -> Link:
        """Open one more session, and repeat there what has no answer."""
        self.used.add(device)
        link = Link(self.world, self, process, self.world.next_name("c"), device)
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
            self.outbox[ref] = Outgoing.text(to, content, ref)
            self.repeat()

    def request(self, request: LogRequest) -> None:
        """Ask for something of a room, as soon as there is a connection."""
        outgoing = Outgoing.of(self.user, request)
        if outgoing.ref not in self.outbox:
            self.outbox[outgoing.ref] = outgoing
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
        now = asyncio.get_running_loop().time()
        for outgoing in self.outbox.values():
            is_under_way = outgoing.link is not None and outgoing.link.is_open
            if not is_under_way and outgoing.not_before <= now:
                self.send(self.world.rng.choice(links), outgoing)

    def send(self, link: Link, outgoing: Outgoing) -> None:
        """Send, with `retry` when it was sent before."""
        outgoing.link = link
        frame = outgoing.frame()
        outgoing.tries += 1
        self.world.note(
            "invoke",
            user=self.user,
            c=link.session,
            to=outgoing.to,
            ref=outgoing.ref,
            digest=outgoing.digest,
            retry=frame.retry,
        )
        link.send(frame)

    def send_once(self, link: Link, to: str, content: str, room: str = "") -> None:
        """Send without a ref: the answer can name the message, but nobody can repeat it."""
        self.world.note(
            "invoke",
            user=self.user,
            c=link.session,
            to=room or to,
            ref=None,
            digest=digest(content),
            retry=False,
        )
        link.send(Send(to, content, conversation=room))

    def lost(self, link: Link, code: int | None) -> None:
        """A connection is gone: repeat elsewhere."""
        self.links.remove(link)
        self.asking.lost(link)
        is_ended = code == CloseCode.RESTARTING and self.devices != (None,)
        if code in _SIGN_IN_AGAIN or is_ended:
            self.world.happened[f"closed with {code}"] += 1
            delay = self.world.weather.delay()
            asyncio.get_running_loop().call_later(
                delay, self.come_back, self, link.device, context=OUTSIDE
            )
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
            device=link.device,
            is_new=frame.get("is_new"),
        )
        link.is_welcome = True
        self._renew_later(link)
        self.repeat()

    def _renew_later(self, link: Link) -> None:
        """Some clients see to it that their session goes on. A few of these do it too late."""
        expires_at = link.principal.expires_at
        if expires_at is not None and self.world.rng.random() < 0.5:
            loop = asyncio.get_running_loop()
            later = (expires_at - loop.time()) * self.world.rng.random() * 1.2
            loop.call_later(later, self._renew, link, context=OUTSIDE)

    def _renew(self, link: Link) -> None:
        if link.is_open:
            self.world.happened["renewed"] += 1
            link.renew()

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
        self.world.note(
            "recv",
            user=self.user,
            c=link.session,
            n=link.pushes,
            id=frame["id"],
            conversation=frame["conversation"],
            sender=frame["sender"],
            what=frame["type"],
            to=frame.get("to", frame["conversation"]),
            digest=digest_of(frame),
            offset=frame["offset"],
            time=frame["time"],
            replay=frame.get("replay", False),
            pushed_at=link.pushed_at,
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

    _take_member = _take_room = _take_message

    def _take_read(self, link: Link, frame: dict[str, Any]) -> None:
        self.asking.seen(link, frame)

    def _take_page(self, link: Link, frame: dict[str, Any]) -> None:
        self.asking.answered(link, frame)

    _take_conversations = _take_member_list = _take_deliveries = _take_page

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
        if "request" in frame:
            self.asking.refused(link, frame)
            return
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
        if frame["code"] == ErrorCode.TOO_FAST:
            self._wait_as_told(outgoing, outcome, frame["retry_after_ms"] / 1000)
        elif outcome == "rejected":
            del self.outbox[outgoing.ref]
        elif frame["code"] in _NOT_ALLOWED and outgoing.refusals == _REFUSALS:
            del self.outbox[outgoing.ref]  # it gives up
        else:
            outgoing.refusals += frame["code"] in _NOT_ALLOWED
            outgoing.link = None
            later = self.world.rng.random()
            asyncio.get_running_loop().call_later(later, self.repeat, context=OUTSIDE)

    def _wait_as_told(self, outgoing: Outgoing, outcome: str, seconds: float) -> None:
        """Send again, and not too early. What was rejected is then as if it had never been sent."""
        self.world.happened[f"too fast, {outcome}"] += 1
        loop = asyncio.get_running_loop()
        outgoing.link = None
        outgoing.not_before = loop.time() + seconds
        if outcome == "rejected":
            outgoing.tries = 0
        loop.call_at(outgoing.not_before, self.repeat, context=OUTSIDE)

    def _take_pong(self, link: Link, frame: dict[str, Any]) -> None:
        """It lives."""


BAD = BadFrame(ErrorCode.BAD_FRAME, "not JSON")
EMPTY = BadFrame(ErrorCode.CONTENT_EMPTY, "nothing to send", Outcome.REJECTED, "empty")
PING = Ping()
