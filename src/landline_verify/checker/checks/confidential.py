"""Only those who are to have it receive it, or may read it: I13.

Who is in a room is folded from the log.
"""

from collections.abc import Iterator
from functools import cached_property
from math import inf
from typing import Final

from landline_verify.checker.audience import Audience, was_ever_in
from landline_verify.checker.checks.calm import HEALING_SECONDS, unhealthy
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.fold import Conversation, Membership, is_room
from landline_verify.checker.messages import Message
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import MessageRecord, Recv, RoomRecord, Said

# Until then pushes to somebody who was removed have ended, and a second for what is on its way.
REMOVED_SECONDS: Final = 2.0 + 1.0


def confidential(evidence: Evidence) -> Iterator[Violation]:
    """I13: only a recipient of the record, whom the sender meant, or a member, receives it.

    Whoever was removed receives nothing of the room 2 s later, and is shown nothing of it. A
    device does not receive what was sent from it.
    """
    rooms, audience = _Rooms(evidence), Audience(evidence)
    for message in evidence.messages.values():
        for at, recv in message.recvs:
            if _is_in_room(message):
                why = rooms.bar(message, at, recv)
            else:
                why = _bar_direct(audience, message, recv)
            why = why or _bar_own(evidence, audience, message, recv)
            if why is not None:
                yield message.violates("I13", why, *_start(message), at)
        for at, record in message.records:
            if message.send is not None:
                yield from _logged(message, at, record)
        if _is_in_room(message):
            yield from rooms.written(message)
    for at, page in evidence.paged:
        yield from rooms.shown(page.user, page.c, page.request, page.conversation, at)
    for at, listed in evidence.listed:
        for conversation, *_ in listed.items:
            yield from rooms.shown(listed.user, listed.c, listed.request, conversation, at)


def _is_in_room(message: Message) -> bool:
    return is_room(message.conversation)


def _bar_direct(audience: Audience, message: Message, recv: Recv) -> str | None:
    sender = recv.sender if message.send is None else message.send.user
    is_own = recv.user == sender and audience.has_devices(sender)
    if is_own or recv.user in _recipients(message, recv.to):
        return None
    return f"{recv.user} received it and is no recipient"


def _bar_own(evidence: Evidence, audience: Audience, message: Message, recv: Recv) -> str | None:
    """Return why it should not have come back to a device, which had begun when it was sent."""
    send, session = message.send, evidence.sessions.get(recv.c)
    first = min(message.records, key=lambda each: each[1].offset, default=None)
    if send is None or session is None or first is None:
        return None
    device, is_to_oneself = session.connect.device, send.is_direct and send.to == send.user
    if recv.user != send.user or is_to_oneself or not device or device != first[1].device:
        return None
    if not audience.has_begun(audience.mailbox_of(session), send.at):
        return None  # then it was owed to the mailbox that was there before
    return f"{recv.user} received on {device!r} what they sent from there"


def _recipients(message: Message, named: str) -> tuple[str, ...]:
    if message.send is not None:
        return (message.send.to,)
    for _, record in message.records:
        if isinstance(record, MessageRecord):
            return record.recipients
    return (named,)


def _logged(message: Message, at: int, record: Said) -> Iterator[Violation]:
    """Compare whom a record names with whom its sender meant."""
    send = message.send
    assert send is not None, "the caller has looked"
    meant = {send.to} if send.is_direct else set()
    if isinstance(record, MessageRecord) and set(record.recipients) != meant:
        yield message.violates(
            "I13",
            f"the log owes it to {', '.join(record.recipients)}, not to {send.to}",
            send.at,
            at,
        )
    first = {send.user, *send.people} if send.what == "create" else set()
    if isinstance(record, RoomRecord) and set(record.members) != first:
        yield message.violates(
            "I13", f"the room begins with {', '.join(record.members)} in it", send.at, at
        )


def _start(message: Message) -> tuple[int, ...]:
    return () if message.send is None else (message.send.at,)


class _Rooms:
    """Who may receive and see what of rooms, as far as the log was read."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def record_of(self, message: Message) -> Said | None:
        """Return where a message stands in the log, if the log was read."""
        return (
            self._evidence.dumped.fold.messages.get(message.id) if self._evidence.has_log else None
        )

    def room(self, record: Said) -> Conversation:
        """Return the room of a record."""
        return self._evidence.dumped.fold.conversations[record.conversation]

    def written(self, message: Message) -> Iterator[Violation]:
        """Judge that somebody wrote into a room."""
        record = self.record_of(message)
        if record is not None and not was_ever_in(self.room(record), record.sender):
            yield message.violates(
                "I13",
                f"{record.sender} wrote into a room and never was in it",
                *(at for at, _ in message.records),
            )

    def bar(self, message: Message, at: int, recv: Recv) -> str | None:
        """Return why a user must not have received it, if so."""
        record = self.record_of(message)
        if record is None:
            return None  # that it is nowhere in the log is told as I1
        memberships = self.room(record).memberships(recv.user)
        if not memberships:
            return f"{recv.user} received it and never was in the room"
        membership = next((each for each in memberships if each.has(record.offset)), None)
        if membership is None and (why := self._bar_outside(record, memberships, at, recv)):
            return why
        last = memberships[-1] if membership is None else membership
        removed_at = self._removed_at(record.conversation, last, memberships)
        if recv.t > removed_at and self._is_calm(removed_at - REMOVED_SECONDS, recv.t):
            late = recv.t - removed_at + REMOVED_SECONDS
            return f"{recv.user} received it {late:.1f} s after they were removed from the room"
        return None

    def _bar_outside(
        self, record: Said, memberships: list[Membership], at: int, recv: Recv
    ) -> str | None:
        """Return why somebody who was not in the room at an offset must not have received it."""
        if any(each.left <= record.offset for each in memberships):
            return None  # they were in it before, and their removal is not known everywhere at once
        # Whoever is added sees what was before, where members may read everything.
        if self.room(record).history == "joined":
            return f"{recv.user} received it and was not in the room then"
        if self._is_added_after(record.conversation, memberships[0], at):
            return f"{recv.user} received it before anybody added them to the room"
        return None

    def shown(
        self, user: str, c: str, request: str, conversation: str, at: int
    ) -> Iterator[Violation]:
        """Judge that a user was shown something of a conversation."""
        known = self._evidence.dumped.fold.conversations.get(conversation)
        asked = self._evidence.asks.get((c, request))
        if not self._evidence.has_log or known is None or asked is None:
            return
        asked_at, ask = asked
        memberships = known.memberships(user)
        if not memberships:
            why = f"{user} was shown {conversation} and never was in it"
            yield Violation("I13", why, (asked_at, at))
            return
        removed_at = self._removed_at(conversation, memberships[-1], memberships)
        if ask.t > removed_at and self._is_calm(removed_at - REMOVED_SECONDS, ask.t):
            why = f"{user} was shown {conversation} after they were removed from it"
            yield Violation("I13", why, (asked_at, at))

    def _is_added_after(self, conversation: str, membership: Membership, at: int) -> bool:
        """Say whether nobody had asked for a membership yet."""
        send = self._evidence.messages[self._events[conversation, membership.joined].id].send
        return send is not None and send.at > at

    @cached_property
    def _events(self) -> dict[tuple[str, int], Said]:
        conversations = self._evidence.dumped.fold.conversations.items()
        return {
            (name, event.offset): event
            for name, conversation in conversations
            for event in conversation.events
        }

    def _removed_at(
        self, conversation: str, membership: Membership, memberships: list[Membership]
    ) -> float:
        """Return until when pushes may come: never-ending where they are in it, or come back."""
        if membership.left == inf or memberships[-1].left == inf:
            return inf
        removal = self._events[conversation, int(memberships[-1].left)]
        oks = self._evidence.messages[removal.id].oks
        if not oks:
            return inf
        return self._evidence.stalls.after(oks[0][1].t, REMOVED_SECONDS)

    def _is_calm(self, since: float, until: float) -> bool:
        """Say whether nothing that is near may have kept a server from asking the store."""
        for fault in self._evidence.faults:
            begin, stop = unhealthy(fault)
            if begin <= until and stop + HEALING_SECONDS >= since:
                return False
        return True
