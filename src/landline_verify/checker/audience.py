"""Which mailboxes an accepted message is owed to, and through which sessions each is read.

A mailbox is a user's device, or all their sessions without one. Where a user has no device the
mailbox is all they have. Otherwise it is owed what was sent after one of its sessions had caught up
for the first time. What is older is owed to whichever of the devices acknowledges it first.

Who is in a room is known from the log alone. Whoever is removed later on is owed nothing of it.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from math import inf

from landline_verify.checker.evidence import Evidence
from landline_verify.checker.fold import Conversation, Mailbox
from landline_verify.checker.messages import Message, Send
from landline_verify.checker.sessions import Session


class Audience:
    """Who is to receive what."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._names: dict[Mailbox, frozenset[str]] = {}

    def users(self, message: Message, send: Send) -> list[str]:
        """Return who is owed a message to the end, but for its sender's own other devices."""
        if send.is_direct:
            return [send.to]
        fold = self._evidence.dumped.fold
        record = fold.messages.get(message.id)
        if record is None or not self._evidence.has_log:
            return []
        room = fold.conversations[record.conversation]
        return sorted(
            user
            for user, each in room.members.items()
            if user != send.user and each.joined <= record.offset and user in self._evidence.users
        )

    def mailboxes(self, message: Message, send: Send) -> Iterator[Mailbox]:
        """Yield the mailboxes that are owed a message."""
        recipients = self.users(message, send)
        for user in recipients:
            for mailbox, since in self._begins[user].items():
                if since < send.at:
                    yield mailbox
        if send.user in recipients or not self.has_devices(send.user):
            return
        if self._is_in_still(message, send):
            sent_from = self._devices_of(message, send)
            for mailbox, since in self._begins[send.user].items():
                if since < send.at and mailbox.device not in sent_from:
                    yield mailbox

    def _is_in_still(self, message: Message, send: Send) -> bool:
        if send.is_direct:
            return True
        fold = self._evidence.dumped.fold
        record = fold.messages.get(message.id)
        if record is None or not self._evidence.has_log:
            return False
        member = fold.conversations[record.conversation].members.get(send.user)
        return member is not None and member.joined <= record.offset

    def _devices_of(self, message: Message, send: Send) -> set[str | None]:
        """Return what a message was sent from: by the log, or it may be any that tried."""
        if message.records:
            first = min(message.records, key=lambda each: (each[1].partition, each[1].offset))
            return {first[1].device or None}
        tried = (self._evidence.sessions.get(each.invoke.c) for each in send.tries)
        return {None if each is None else each.connect.device for each in tried}

    def has_begun(self, mailbox: Mailbox, at: int) -> bool:
        """Say whether a mailbox was owed what came, at an event."""
        return self._begins[mailbox.user].get(mailbox, inf) < at

    def has_devices(self, user: str) -> bool:
        """Say whether a user has any."""
        return user in self._owners

    @cached_property
    def _owners(self) -> frozenset[str]:
        sessions = self._evidence.sessions.values()
        return frozenset(each.connect.user for each in sessions if each.connect.device)

    def mailbox_of(self, session: Session) -> Mailbox:
        """Return the mailbox that a session reads."""
        return Mailbox(session.connect.user, session.connect.device or None)

    def names_of(self, mailbox: Mailbox) -> frozenset[str]:
        """Return the connections of a mailbox."""
        names = self._names.get(mailbox)
        if names is None:
            names = frozenset(each.connect.c for each in self.sessions_of(mailbox))
            self._names[mailbox] = names
        return names

    def sessions_of(self, mailbox: Mailbox) -> list[Session]:
        """Return the sessions of a mailbox."""
        sessions = self._evidence.sessions_of.get(mailbox.user, ())
        return [each for each in sessions if self.mailbox_of(each) == mailbox]

    def is_live_at_last(self, mailbox: Mailbox) -> bool:
        """Say whether a mailbox had a session that was live in the final phase."""
        final = self._evidence.phases.get("final", inf)
        return any(
            each.live is not None and each.ends > final for each in self.sessions_of(mailbox)
        )

    @cached_property
    def _begins(self) -> defaultdict[str, dict[Mailbox, int]]:
        """Return since when each mailbox of a user is owed what is sent."""
        begins: defaultdict[str, dict[Mailbox, int]] = defaultdict(dict)
        for user in self._evidence.users:
            if not self.has_devices(user):
                begins[user] = {Mailbox(user, None): -1}
                continue
            live = [(each.live[0], each) for each in self._sessions(user) if each.live is not None]
            live.sort(key=lambda each: each[0])
            first = next((at for at, each in live if each.connect.device), None)
            for at, session in live:
                # One without a device has a mailbox of its own once there is another device.
                if session.connect.device or (first is not None and session.at > first):
                    begins[user].setdefault(self.mailbox_of(session), at)
        return begins

    def _sessions(self, user: str) -> list[Session]:
        return self._evidence.sessions_of.get(user, [])


def called(mailbox: Mailbox) -> str:
    """Return a mailbox as people name it."""
    return mailbox.user if mailbox.device is None else f"{mailbox.user}, device {mailbox.device!r}"


def was_ever_in(conversation: Conversation, user: str) -> bool:
    """Say whether a user is a member, or was one."""
    return bool(conversation.memberships(user))
