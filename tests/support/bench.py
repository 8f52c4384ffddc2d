"""The heart on a bench: every event by hand, every decision in the open."""

from collections.abc import Callable, Collection
from typing import Any

import orjson

from landline import ports
from landline.config.limits import NO_LIMITS, Limits
from landline.delivery import Delivery
from landline.delivery import decisions as d
from landline.delivery.devices import Recognition
from landline.delivery.unread import PULSE_SECONDS
from landline.model import Appended, Mailbox, Message, NotAppended, Pending, Position, Positions
from landline.protocol.client_frames import Ack, Send
from landline.protocol.hints import MessageHint
from support.clock import Clock

APPENDS = d.AppendMessage | d.AppendReceipts
ASKS = d.FindOriginal | d.ConfirmPosition


def make_heart(
    clock: ports.Clock,
    new_id: Callable[[], str] = str,
    *,
    ack_timeout: float = 60.0,
    has_others: bool = True,
    limits: Limits = NO_LIMITS,
    record_version: Callable[[], int] = lambda: 2,
) -> Delivery:
    """Return a heart with nobody connected."""
    return Delivery(
        clock=clock,
        new_id=new_id,
        server_id="ws-1",
        durability="model",
        ack_timeout=ack_timeout,
        has_others=has_others,
        limits=limits,
        record_version=record_version,
    )


class Bench:
    """A heart with its decisions sorted: frames per session, and the rest in order."""

    def __init__(self, *, has_others: bool = True, limits: Limits = NO_LIMITS) -> None:
        self.clock = Clock()
        self.record_version = 2
        ids = iter(f"00000000-0000-4000-8000-{n:012}" for n in range(10_000))
        self.heart = make_heart(
            self.clock,
            lambda: next(ids),
            has_others=has_others,
            limits=limits,
            record_version=lambda: self.record_version,
        )
        self.frames: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[d.Decision] = []
        self.end = 0

    def take(self) -> None:
        """Take decisions: frames go to the clients, the rest waits in `asked`."""
        self.heart.end_turn()
        for decision in self.heart.take_decisions():
            if isinstance(decision, d.Transmit):
                frame = orjson.loads(decision.frame)
                self.frames.setdefault(decision.session, []).append(frame)
            else:
                self.asked.append(decision)

    def pop(self, kind: Any) -> Any:
        """Return the oldest decision of a kind that waits."""
        self.take()
        for index, decision in enumerate(self.asked):
            if isinstance(decision, kind):
                return self.asked.pop(index)
        raise AssertionError(f"no {kind} in {self.asked}")

    def has(self, kind: Any) -> bool:
        """Say whether a decision of a kind waits."""
        self.take()
        return any(isinstance(decision, kind) for decision in self.asked)

    def join(
        self,
        session: str,
        user: str,
        *,
        auto_ack: bool = False,
        device: str | None = None,
        closed: Collection[int] = (),
    ) -> None:
        """Connect a session and bring it to LIVE. `closed`: where its device has still to begin."""
        self.heart.connect(session, user, auto_ack=auto_ack, device=device)
        self.enter()
        if self.record_version > 1:
            mailbox = Mailbox(user, device)
            opened = frozenset() if closed else frozenset({0})
            self.recognise(Recognition(mailbox, frozenset(closed), opened))
        if closed:
            self.open_device()
        self.read_ends()
        self.page(session)

    def enter(self) -> None:
        """Have the directory take in the oldest session that waits for it."""
        self.heart.entered(self.pop(d.Register).session)

    def recognise(self, recognition: Recognition | None = None) -> None:
        """Tell the oldest session that waits for it what the store knows; None: no answer."""
        self.heart.recognised(self.pop(d.Recognise).session, recognition)

    def open_device(self, opened: Positions | None = None) -> None:
        """Let the log take the oldest records of a device: all of them, or these."""
        asked = self.pop(d.OpenDevice)
        if opened is None:
            self.end += 1
            opened = dict.fromkeys(asked.partitions, self.end)
        self.heart.opened(asked.session, opened)

    def read_ends(self) -> None:
        """Tell the oldest session that asks where the log ends."""
        self.heart.registered(self.pop(d.ReadEnds).session, {0: self.end})

    def page(
        self,
        session: str,
        *messages: Message,
        complete: bool = True,
        closed: Collection[int] = (),
        applied: Positions | None = None,
    ) -> None:
        """Answer the session's page. `closed`: where its mailbox gets nothing new."""
        asked = self.pop(d.ReadPending)
        assert asked.session == session
        until = {0: messages[-1].position.offset + 1} if messages else {}
        applied = {0: self.end} if applied is None else applied
        pending = Pending(messages, complete, applied, until, closed=frozenset(closed))
        self.heart.page(session, asked.query, pending)
        self.take()

    def send(self, session: str, to: str, content: str = "text", **fields: Any) -> None:
        """Have a session send."""
        self.heart.receive(session, Send(to, content, **fields))
        self.take()

    def append(self, result: NotAppended | None = None) -> Appended | NotAppended:
        """Let the log answer the oldest append."""
        append = self.pop(APPENDS)
        answer: Appended | NotAppended
        if result is None:
            answer = Appended(Position(0, self.end), self.clock.wall_ms())
            self.end += 1
        else:
            answer = result
        if isinstance(append, d.AppendMessage):
            self.heart.message_appended(append.flight, answer)
        else:
            self.heart.receipts_appended(append.batch, answer)
        self.take()
        return answer

    def deliver(self, session: str, to: str, *, seconds: float = 0.0, **fields: Any) -> Any:
        """Have a session send, and the log take it after some seconds."""
        self.send(session, to, **fields)
        self.wait(seconds)
        return self.append()

    def wait(self, seconds: float) -> None:
        """Let time pass in a process that does not stand still."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now = min(self.clock.now + PULSE_SECONDS, until)
            self.heart.pulse()

    def find(self, offset: int | None) -> None:
        """Tell a repeat where its original is, if anywhere."""
        found = None if offset is None else Appended(Position(0, offset), 0)
        self.heart.original_found(self.pop(d.FindOriginal).flight, found)

    def confirm(self, offset: int | None) -> None:
        """Tell what waits for it which position won; None: the store is away."""
        flight = self.pop(d.ConfirmPosition).flight
        if offset is None:
            self.heart.position_unknown(flight, "the store is away")
        else:
            self.heart.position_confirmed(flight, Appended(Position(0, offset), 0))

    def ack(self, session: str, *ids: str) -> None:
        """Have a client acknowledge."""
        self.heart.receive(session, Ack(ids))

    def got(self, session: str, field: str, kind: str = "message") -> list[Any]:
        """Return a field of all frames of one type that a session got."""
        return [frame[field] for frame in self.of(session, kind)]

    def of(self, session: str, kind: str) -> list[dict[str, Any]]:
        """Return the frames of one type that a session got."""
        self.take()
        return [frame for frame in self.frames.get(session, []) if frame["type"] == kind]


def message(number: int, to: str = "bob") -> Message:
    """Return a stored message."""
    id = f"11111111-0000-4000-8000-{number:012}"
    return Message(id, f"dm:alice:{to}", "alice", (to,), f"m{number}", Position(0, number), 0)


def hint(message: Message, *users: str) -> MessageHint:
    """Return what another server says of a message: it is for these, or for its recipients."""
    return MessageHint(message, users or message.recipients)


def alice_and_bob(*, has_others: bool = True, limits: Limits = NO_LIMITS) -> Bench:
    """Return a heart with a live session of each, `a` and `b`."""
    bench = Bench(has_others=has_others, limits=limits)
    bench.join("a", "alice")
    bench.join("b", "bob")
    return bench
