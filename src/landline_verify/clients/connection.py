"""One socket of a user, from handshake to end: it writes down all that it does and sees."""

import asyncio
import itertools
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from landline_verify.clients.frames import (
    Frame,
    NotLandline,
    check_welcome,
    decode,
    digest_of,
    integer,
    listed,
    marks,
    paged,
    text,
    texts,
)
from landline_verify.clients.outgoing import Outgoing
from landline_verify.clients.questions import Question, wonder
from landline_verify.clients.user import Draft, User
from landline_verify.history.events import (
    AGAIN_CODES,
    HANDSHAKE_SECONDS,
    Ask,
    Connect,
    Disconnect,
    Error,
    Event,
    Listed,
    Live,
    Mark,
    Marked,
    Ok,
    Recv,
    Rejected,
    Status,
    Unknown,
)
from landline_verify.tokens import headers

# A connection that has not answered a send for so long is given up (docs/protocol.md, rule 4).
ANSWER_SECONDS = 15.0
# How often that is looked at. Both together stay below the second that a checker grants.
_LOOK_SECONDS = 0.5
# Before a send that was answered `unknown` is repeated in the same session.
_REPEAT_SECONDS = 0.5
# The largest frame is a page.
_FRAME_BYTES = 4 * 1024 * 1024
# What is seen by a person, of all that arrives.
_SEEN_SHARE = 0.05
# Marks are written down every 2 s. Some come after that, and are behind those before.
_BEHIND_SHARE = 0.2
_BEHIND_SECONDS = 3.0

_RETRY_AFTER = re.compile(r"retry_after_ms=(\d+)")


@dataclass(frozen=True, slots=True)
class Manners:
    """How a client behaves in a session.

    `ack_delay` is the time between storing and acknowledging; None: never acknowledge.
    `ack_rate` is how many messages a second are acknowledged at the most.
    """

    ack_delay: float | None = 0.0
    ack_rate: float | None = None
    leave: Literal["close", "abort"] = "close"


GOOD = Manners()


async def visit(
    user: User,
    url: str,
    seconds: float | None = None,
    manners: Manners = GOOD,
    *,
    device: str | None = None,
) -> None:
    """Be connected for so long, or until the connection ends; before it, wait if one should."""
    await asyncio.sleep(user.pause())
    connection = Connection(user, url, manners, device)
    try:
        await connection.run(seconds)
    finally:
        user.asked_pause = connection.asked_pause
        user.failures = 0 if connection.is_welcome else user.failures + 1


class Connection:
    """One socket of a user."""

    def __init__(self, user: User, url: str, manners: Manners, device: str | None) -> None:
        self.user = user
        self.url = url
        self.device = device
        self.name = user.recorder.name_connection()
        self.is_welcome = False
        self.is_live = False
        self.asked_pause: float | None = None
        self._manners = manners
        self._outgoing = Outgoing(user, self.name, manners.ack_rate)
        self._has_given_up = False
        self._pushes = 0
        self._answers: dict[str, asyncio.Future[Frame | None]] = {}
        self._requests = itertools.count(1)

    # What its user does ------------------------------------------------------------------------

    def carry(self, draft: Draft) -> None:
        """Send a draft, and wait for its answer."""
        self._outgoing.put(draft, retry=draft.is_tried)

    def repeat(self, draft: Draft) -> None:
        """Send once more what another connection carries, or had answered."""
        self._outgoing.put(draft, retry=True)

    async def ask(self, what: Question, **fields: Any) -> Frame | None:
        """Ask `list` or `history`, with these fields; return the answer. None: there was none."""
        request = f"q{next(self._requests)}"
        conversation, before = fields.get("conversation"), fields.get("before")
        self._outgoing.say(
            lambda now: Ask(now, self.user.name, self.name, what, request, conversation, before),
            {"type": what, "request": request, **fields},
        )
        answer: asyncio.Future[Frame | None] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            return None
        finally:
            self._answers.pop(request, None)

    async def run(self, seconds: float | None) -> None:
        """Live from the handshake to the end; whatever the network does is no error.

        A server that does not keep to the protocol is written down as an error, `not_landline`.
        """
        try:
            async with connect(
                self._address(), compression=None, max_queue=64, open_timeout=HANDSHAKE_SECONDS,
                close_timeout=2, max_size=_FRAME_BYTES, ping_interval=10, ping_timeout=10,
                proxy=None, additional_headers=headers(self.user.tokens, self.user.name),
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

    # From welcome to goodbye -------------------------------------------------------------------

    def _address(self) -> str:
        ack = "" if self.user.acks_by_itself else "&ack=auto"
        device = "" if self.device is None else f"&device={self.device}"
        return f"{self.url}?username={quote(self.user.name, safe='')}{ack}{device}"

    async def _live(self, socket: ClientConnection, seconds: float | None) -> None:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            welcome = decode(await socket.recv())
        self._note_welcome(welcome)
        tasks = [
            asyncio.create_task(self._outgoing.write(socket)),
            asyncio.create_task(self._watch(socket)),
        ]
        if self.user.reads:
            tasks.append(asyncio.create_task(wonder(self, self.user.chance)))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    async for frame in socket:
                        self._receive(decode(frame))
            if self._manners.leave == "abort":
                await self._outgoing.send_last()
        finally:
            self._note_end(socket)
            self._outgoing.end()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result(None)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if self._manners.leave == "abort" or not self.is_welcome:
                socket.transport.abort()

    def _note_welcome(self, welcome: Frame) -> None:
        check_welcome(welcome)
        self.is_welcome = True
        is_new = welcome.get("is_new")
        self._record(
            Connect(
                self._now(), self.user.name, self.name, self.url, text(welcome, "server"),
                text(welcome, "session"), text(welcome, "durability"),
                "client" if self.user.acks_by_itself else "auto", self.user.behaviour,
                self.device, is_new if isinstance(is_new, bool) else None,
            )
        )  # fmt: skip
        self.user.enter(self)
        for conversation, offset in self.user.marks.items():
            self._mark(conversation, offset)

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
        self.user.leave(self)

    async def _watch(self, socket: ClientConnection) -> None:
        """Give the connection up when a send has no answer in time."""
        while self._outgoing.waited() < ANSWER_SECONDS:  # noqa: ASYNC110 - it is a time
            await asyncio.sleep(_LOOK_SECONDS)
        self._has_given_up = True
        socket.transport.abort()

    # What the server says ----------------------------------------------------------------------

    def _receive(self, frame: Frame) -> None:
        now, user, c = self._now(), self.user.name, self.name
        match frame.get("type"):
            case "message" | "member" | "room" as what:
                self._receive_said(frame, what)
            case "accepted":
                self._receive_accepted(frame)
            case "error":
                self._receive_error(frame)
            case "status":
                by, told = text(frame, "user"), text(frame, "time")
                self._record(Status(now, user, c, texts(frame, "ids"), by, told))
            case "read":
                self._receive_marks(frame)
            case "conversations":
                items = listed(frame)
                self._record(Listed(now, user, c, text(frame, "request"), items))
                self._settle_question(frame, frame)
            case "page":
                self._record(paged(frame, now, user, c))
                self._settle_question(frame, frame)
            case "caught_up":
                self.is_live = True
                self._record(Live(now, user, c, integer(frame, "replayed")))

    def _receive_said(self, frame: Frame, what: Literal["message", "member", "room"]) -> None:
        self._pushes += 1
        id, conversation, offset = (
            text(frame, "id"), text(frame, "conversation"), integer(frame, "offset"),
        )  # fmt: skip
        self._record(
            Recv(
                self._now(), self.user.name, self.name, self._pushes, id, conversation,
                text(frame, "sender"), text(frame, "to") if "to" in frame else "",
                digest_of(frame), offset, text(frame, "time"), frame.get("replay") is True, what,
            )
        )  # fmt: skip
        self.user.inbox.add(id)  # stored; only now may it be acknowledged
        if self.user.acks_by_itself and self._manners.ack_delay is not None:
            self._outgoing.acknowledge(id, self._manners.ack_delay)
        if self.user.reads and self.user.chance.random() < _SEEN_SHARE:
            self.user.mark(conversation, offset)
            self._mark(conversation, offset)
            if self.user.chance.random() < _BEHIND_SHARE:  # as a device may be that comes later
                older = max(0, offset - self.user.chance.randrange(1, 100))
                self._outgoing.later(_BEHIND_SECONDS, lambda: self._mark(conversation, older))

    def _mark(self, conversation: str, offset: int) -> None:
        self._outgoing.say(
            lambda now: Mark(now, self.user.name, self.name, conversation, offset),
            {"type": "read", "conversation": conversation, "offset": offset},
        )

    def _receive_marks(self, frame: Frame) -> None:
        conversation, entries = text(frame, "conversation"), marks(frame)
        self._record(Marked(self._now(), self.user.name, self.name, conversation, entries))
        for user, offset in entries:
            if user == self.user.name:
                self.user.marked(conversation, offset)

    def _settle_question(self, frame: Frame, answer: Frame | None = None) -> None:
        waiting = self._answers.get(text(frame, "request"))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _receive_accepted(self, frame: Frame) -> None:
        ref = text(frame, "ref")
        self._record(
            Ok(
                self._now(), self.user.name, self.name, ref, text(frame, "id"),
                text(frame, "conversation"), integer(frame, "offset"), text(frame, "time"),
            )
        )  # fmt: skip
        self._outgoing.settle(ref)
        if (draft := self.user.outbox.pop(ref, None)) is not None:
            self.user.accepted += 1
            if draft.accepted is not None:
                draft.accepted(text(frame, "conversation"))

    def _receive_error(self, frame: Frame) -> None:
        now, user, c, code = self._now(), self.user.name, self.name, text(frame, "code")
        outcome = frame.get("outcome")
        if outcome not in {"rejected", "unknown"} or "ref" not in frame:
            self._record(Error(now, user, c, code, text(frame, "message")))
            if "request" in frame:
                self._settle_question(frame)
            return
        ref = text(frame, "ref")
        answer = Rejected if outcome == "rejected" else Unknown
        self._record(answer(now, user, c, ref, code))
        self._outgoing.settle(ref)
        if outcome == "rejected" or code not in AGAIN_CODES:
            # Never the same ref again: `busy` would be sent as another message, if at all. And what
            # its sender may not ask any more is given up, though an earlier try may be in the log.
            self.user.outbox.pop(ref, None)
        elif (draft := self.user.outbox.get(ref)) is not None and draft.carrier == self.name:
            self._outgoing.later(_REPEAT_SECONDS, lambda: self._repeat_unknown(draft))

    def _repeat_unknown(self, draft: Draft) -> None:
        if draft.ref in self.user.outbox:
            self.repeat(draft)

    def _record(self, event: Event) -> None:
        self.user.recorder.record(event)

    def _now(self) -> float:
        return self.user.recorder.now()
