"""A user, with a memory that outlives every connection: unanswered drafts, and what was stored."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson

from landline_verify.history.recorder import Recorder
from landline_verify.tokens import TokenMaker

# The protocol lets a client wait for 10 s; a short run has to see that users come back.
_LONGEST_PAUSE_SECONDS = 2.0
_MARKS = 32


@dataclass(slots=True, eq=False)
class Draft:
    """A message, or another request for the log, without an answer. Made, with its ref, before the
    first try.

    `fields` are those of its frame, but for type and ref. `people`: whom it names. `accepted` is
    told its conversation once it is accepted.
    """

    to: str
    ref: str
    digest: str
    fields: dict[str, Any]
    what: Literal["send", "create", "member", "room"] = "send"
    people: tuple[str, ...] = ()
    accepted: Callable[[str], None] | None = None
    is_tried: bool = False
    device: str | None = None  # what it is tried from
    carrier: str | None = None  # the name of the connection that waits for the answer

    def frame(self, *, retry: bool) -> str:
        """Return its frame."""
        frame = {"type": self.what, **self.fields, "ref": self.ref}
        return orjson.dumps({**frame, "retry": True} if retry else frame).decode()


class Carrier(Protocol):
    """A session of a user, through which drafts are sent."""

    name: str
    url: str
    device: str | None
    is_live: bool

    def carry(self, draft: Draft) -> None:
        """Send a draft, and wait for its answer."""

    def repeat(self, draft: Draft) -> None:
        """Send once more what another session carries, or had answered."""

    async def ask(self, what: Literal["list", "history"], **fields: Any) -> dict[str, Any] | None:
        """Ask, and return the answer; None, if there was none."""


@dataclass(eq=False)
class User:
    """One user: what they remember across connections.

    `acks_by_itself`: False with `ack=auto`. `tokens` makes theirs, where servers check them.
    `failures`: how many connections in a row had no welcome. `asked_pause`: how many seconds the
    server wants them to wait. `devices`: what they may connect with; `lost`: the one that stays
    away from some time on. `mailboxes`: what they have connected with, None without a device.
    `reads`: whether they ask what there is, and say what they have seen; `marks`: what was said and
    has not come back.
    """

    name: str
    behaviour: str
    recorder: Recorder
    chance: random.Random
    acks_by_itself: bool = True
    tokens: TokenMaker | None = None
    devices: tuple[str, ...] = ()
    lost: str | None = None
    reads: bool = False
    mailboxes: dict[str | None, None] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    outbox: dict[str, Draft] = field(default_factory=dict)
    inbox: set[str] = field(default_factory=set)
    sessions: list[Carrier] = field(default_factory=list)
    accepted: int = 0
    failures: int = 0
    asked_pause: float | None = None

    @property
    def is_online(self) -> bool:
        """Say whether there is a session to send through."""
        return bool(self.sessions)

    @property
    def present(self) -> list[str | None]:
        """What they come back with in the end."""
        return [
            each for each in self.mailboxes or {None: None} if each is None or each != self.lost
        ]

    def send(self, draft: Draft) -> None:
        """Keep the draft, then send it through the newest session, or the next one."""
        self.outbox[draft.ref] = draft
        self._hand_over(draft)

    def enter(self, session: Carrier) -> None:
        """Have a session; it carries what no other one does."""
        self.sessions.append(session)
        self.mailboxes[session.device] = None
        for draft in self.outbox.values():
            if draft.carrier is None:
                self._hand_over(draft)

    def leave(self, session: Carrier) -> None:
        """Have it no more; another one carries what it left unanswered."""
        self.sessions.remove(session)
        for draft in self.outbox.values():
            if draft.carrier == session.name:
                draft.carrier = None
                self._hand_over(draft)

    def mark(self, conversation: str, offset: int) -> None:
        """Have seen a conversation up to an offset; say so again until the server has it."""
        self.marks[conversation] = max(offset, self.marks.pop(conversation, 0))
        if len(self.marks) > _MARKS:  # of rooms that they are in no more nothing comes back
            del self.marks[next(iter(self.marks))]

    def marked(self, conversation: str, offset: int) -> None:
        """The server has a mark."""
        if self.marks.get(conversation, offset + 1) <= offset:
            del self.marks[conversation]

    def pause(self) -> float:
        """Return for how many seconds to wait before the next connection."""
        if self.asked_pause is not None:
            return self.asked_pause
        # Full jitter: without it all clients of a server come back in one moment.
        longest = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2 ** min(self.failures, 10))
        return self.chance.uniform(0, longest) if self.failures else 0.0

    def _hand_over(self, draft: Draft) -> None:
        """Give it to the newest session; what was tried on a device, to one of the same."""
        for session in reversed(self.sessions):
            is_lost = self.lost is not None and session.device == self.lost
            if not is_lost and (not draft.is_tried or session.device == draft.device):
                draft.carrier, draft.device = session.name, session.device
                session.carry(draft)
                return


def unanswered(users: Iterable[User]) -> int:
    """Return how many drafts of all of them wait for an answer."""
    return sum(len(user.outbox) for user in users)
