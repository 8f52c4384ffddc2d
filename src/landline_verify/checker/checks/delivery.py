"""An accepted message arrives, in time and once, and nothing else does: I2, I2b, I3, I5."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, TypeAlias

from landline_verify.checker.audience import Audience, called
from landline_verify.checker.checks.calm import HEALING_SECONDS, HINTS_ONLY, unhealthy
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.excuses import FaultSpan
from landline_verify.checker.fold import Mailbox
from landline_verify.checker.messages import Message, Send
from landline_verify.checker.sessions import Session
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import HANDSHAKE_SECONDS

# T_strand: the sweep interval, and as much again as the writer may lag and the sweep may jitter.
STRANDED_SLACK_SECONDS: Final = 5.0
# A full window does not excuse a session that had so many times the turns that a message needs, and
# a window of turns more.
TURNS_NEEDED: Final = 2
WINDOW: Final = 256

# By mailbox and conversation.
_Times: TypeAlias = defaultdict[Mailbox, defaultdict[str, list[float]]]


def delivered(evidence: Evidence) -> Iterator[Violation]:
    """I2: what was accepted was received by whoever it is owed to, if they were there in the end.

    They received it again if they had not acknowledged it, and before they were told that they are
    caught up. Each device of theirs received it; one that stays away is owed it still.
    """
    audience = Audience(evidence)
    here: dict[str, bool] = {}
    for message, send, at, _ in evidence.accepted:
        for user in audience.users(message, send):
            if user not in here:
                here[user] = evidence.is_live_at_last(user)
            if here[user] and not _was_lost_by_auto(evidence, message, send, user):
                yield from _received(evidence, message, at, Mailbox(user, None))
        for mailbox in audience.mailboxes(message, send):
            if not audience.has_devices(mailbox.user):
                continue  # it is the user's only one
            through = audience.names_of(mailbox)
            if audience.is_live_at_last(mailbox):
                yield from _received(evidence, message, at, mailbox, through)
            elif evidence.has_store and message.acknowledged_by(mailbox.user, through) is None:
                yield from _waits(message, send, at, mailbox)
    yield from _caught_up_too_soon(evidence)


def _received(
    evidence: Evidence,
    message: Message,
    at: int,
    mailbox: Mailbox,
    through: frozenset[str] | None = None,
) -> Iterator[Violation]:
    sent = () if message.send is None else (message.send.at,)
    final = evidence.phases.get("final", 0.0)
    received = message.received_by(mailbox.user, through)
    if received is None:
        yield message.violates(
            "I2", f"accepted, but {called(mailbox)} never received it", *sent, at
        )
    elif message.acknowledged_by(mailbox.user, through) is None and not any(
        evidence.sessions[recv.c].ends > final
        for _, recv in message.recvs
        if recv.user == mailbox.user
        and recv.c in evidence.sessions
        and (through is None or recv.c in through)
    ):
        yield message.violates(
            "I2",
            f"{called(mailbox)} did not acknowledge it and was not given it again",
            *sent,
            received,
        )


def _waits(message: Message, send: Send, at: int, mailbox: Mailbox) -> Iterator[Violation]:
    if not any(Mailbox(row.user, row.device or None) == mailbox for _, row in message.pending_rows):
        yield message.violates(
            "I2",
            f"{called(mailbox)} stayed away without it, and the store does not owe it to them",
            send.at,
            at,
        )


def _was_lost_by_auto(evidence: Evidence, message: Message, send: Send, user: str) -> bool:
    """Say whether it may be gone with a connection whose server took the write for the delivery."""
    if not evidence.had_auto_session(user, send.at, None):
        return False
    if send.what != "send":  # the store does not say who has received an event of a room
        return True
    return not evidence.has_store or any(
        row.status == "DELIVERED" for _, row in message.status_rows if row.recipient == user
    )


def _caught_up_too_soon(evidence: Evidence) -> Iterator[Violation]:
    accepted = {message.id: (at, ok) for message, _, at, ok in evidence.accepted}
    for session in evidence.sessions.values():
        if session.live is None:
            continue
        live_at, live = session.live
        # The session began before we read its welcome.
        began = session.connect.t - HANDSHAKE_SECONDS
        if any(
            each.start <= live.t and each.stop + HEALING_SECONDS >= began
            for each in evidence.faults
        ):
            continue  # it may be live for the partitions that can be read
        for at, recv in session.recvs:
            accepted_at, ok = accepted.get(recv.id, (0, None))
            if at > live_at and ok is not None and ok.t < began:
                yield evidence.messages[recv.id].violates(
                    "I2",
                    f"{recv.user} was caught up before it was pushed, though it was accepted "
                    "before the session began",
                    accepted_at,
                    live_at,
                    at,
                )


def not_stranded(evidence: Evidence) -> Iterator[Violation]:
    """I2b: a user who stays connected receives within T_strand, while log and store are healthy."""
    audience = Audience(evidence)
    turns = _Turns(evidence, audience)
    for message, send, mailbox, at, until, session in _watched(evidence, audience):
        received = message.received_by(mailbox.user, audience.names_of(mailbox))
        if received is not None and evidence.events[received].t <= until:
            continue
        if (
            not session.is_nearly_full(evidence.events[at].t, until)
            or turns.were_its(message, mailbox, session, evidence.events[at].t, until)
        ) and not _may_have_missed(evidence, send, mailbox, received):
            late = 0.0 if received is None else evidence.events[received].t - evidence.events[at].t
            when = "never" if received is None else f"{late:.1f} s"
            yield message.violates(
                "I2b",
                f"{called(mailbox)} was connected for {strand_seconds(evidence):.0f} s after the"
                f" ok; it took: {when}",
                *(each for each in (send.at, at, session.at, received) if each is not None),
            )


def can_be_stranded(evidence: Evidence) -> bool:
    """Say whether anybody was connected for so long while nothing was wrong."""
    return next(_watched(evidence, Audience(evidence)), None) is not None


def _watched(
    evidence: Evidence, audience: Audience
) -> Iterator[tuple[Message, Send, Mailbox, int, float, Session]]:
    """Yield what was accepted while a mailbox that is owed it was read for T_strand and nothing was
    wrong.
    """
    limit = strand_seconds(evidence)
    steady: defaultdict[Mailbox, list[Session]] = defaultdict(list)
    for session in evidence.sessions.values():
        if session.ends - session.connect.t >= limit:
            steady[audience.mailbox_of(session)].append(session)
    for message, send, at, ok in evidence.accepted:
        until = evidence.stalls.after(ok.t, limit)
        if until > evidence.end:
            continue
        for mailbox in audience.mailboxes(message, send):
            for session in steady.get(mailbox, ()):
                if (
                    session.at < at
                    and session.ends >= until
                    and not any(_disturbs(each, session, ok.t, until) for each in evidence.faults)
                ):
                    yield message, send, mailbox, at, until, session
                    break


def strand_seconds(evidence: Evidence) -> float:
    """Return T_strand: 15 s with the usual sweep interval."""
    return STRANDED_SLACK_SECONDS + (10.0 if evidence.run is None else evidence.run.sweep_interval)


class _Turns:
    """Which sessions had room for a message although their window was full.

    Conversations take turns. So a message is due, at the latest, when as many were acknowledged as
    its conversation owed before it, times the conversations that owed anything.
    """

    def __init__(self, evidence: Evidence, audience: Audience) -> None:
        self._accepted: _Times = defaultdict(lambda: defaultdict(list))
        self._received: _Times = defaultdict(lambda: defaultdict(list))
        for message, send, _, ok in evidence.accepted:
            for mailbox in audience.mailboxes(message, send):
                self._accepted[mailbox][message.conversation].append(ok.t)
                received = message.received_by(mailbox.user, audience.names_of(mailbox))
                if received is not None:
                    self._received[mailbox][message.conversation].append(
                        evidence.events[received].t
                    )
        for conversations in (*self._accepted.values(), *self._received.values()):
            for times in conversations.values():
                times.sort()

    def were_its(
        self, message: Message, mailbox: Mailbox, session: Session, since: float, until: float
    ) -> bool:
        """Say whether the session's acknowledgements between two times made room for it."""
        before = self._owed(mailbox, message.conversation, since, since)
        conversations = sum(
            self._owed(mailbox, each, since, until) > 0 for each in self._accepted[mailbox]
        )
        room = sum(len(ack.ids) for _, ack in session.acks if since <= ack.t <= until)
        return room >= WINDOW + TURNS_NEEDED * before * conversations

    def _owed(self, mailbox: Mailbox, conversation: str, since: float, until: float) -> int:
        """Return how many that were accepted until then had not been received at first."""
        return bisect_right(self._accepted[mailbox][conversation], until) - bisect_left(
            self._received[mailbox][conversation], since
        )


def _disturbs(fault: FaultSpan, session: Session, start: float, end: float) -> bool:
    """Say whether a fault excuses a session's server for being late between two times."""
    begin, stop = unhealthy(fault)
    if begin > end or stop + HEALING_SECONDS < start:
        return False
    if fault.name.startswith("server"):  # another server's death is no excuse
        return fault.detail == session.connect.server or not fault.detail
    return not fault.name.startswith(HINTS_ONLY)


def _may_have_missed(evidence: Evidence, send: Send, mailbox: Mailbox, until: int | None) -> bool:
    """Say whether a session with `ack=auto` may have been given it: that is best effort."""
    return evidence.had_auto_session(mailbox.user, send.at, until)


def no_phantom(evidence: Evidence) -> Iterator[Violation]:
    """I3: what arrives, or stands in the log, was sent, and was not rejected."""
    for message in evidence.messages.values():
        for at, recv in message.recvs:
            meant = "" if message.send is None else message.send.to * message.send.is_direct
            if message.send is not None and recv.to != meant:
                yield message.violates(
                    "I3",
                    f"it claims to be to {recv.to or 'a room'}, but was sent to"
                    f" {message.send.to or 'make one'}",
                    message.send.at,
                    at,
                )
        seen = [(at, recv.sender, recv.conversation) for at, recv in message.recvs]
        seen += [
            (at, record.sender, record.conversation)
            for at, record in message.records
            if record.sender in evidence.users
        ]
        for at, sender, conversation in seen:
            fault = _phantom(message.send, at, sender, conversation)
            if fault is not None:
                events = (at,) if message.send is None else (message.send.at, at)
                yield message.violates("I3", fault, *events)


def _phantom(send: Send | None, at: int, sender: str, conversation: str) -> str | None:
    if send is None:
        return f"nobody sent this: it claims to be from {sender} in {conversation}"
    if send.at > at:
        return "it is there before it was sent"
    if sender != send.user:
        return f"it claims to be from {sender}, but {send.user} sent it"
    if conversation != send.conversation:
        return f"it stands in {conversation}, but was sent to {send.to or send.room}"
    if send.is_rejected:
        return "every try was rejected, yet it is there"
    return None


def no_duplicates(evidence: Evidence) -> Iterator[Violation]:
    """I5: a session is given a message once at most; a send is one message, however repeated, and
    no other send is the same one.
    """
    for at, send, message in evidence.shared_ids:
        yield message.violates(
            "I5", f"ref {send.ref} of {send.user} was accepted with the id of another send", at
        )
    for message in evidence.messages.values():
        first: dict[str, int] = {}
        for at, recv in message.recvs:
            if recv.c in first:
                yield message.violates(
                    "I5", f"pushed to {recv.user} twice in session {recv.c}", first[recv.c], at
                )
            first.setdefault(recv.c, at)
        if message.oks and message.send is not None and message.send.id != message.id:
            yield message.violates(
                "I5",
                f"one send became two messages: the other is {message.send.id}",
                message.send.at,
                message.oks[0][0],
            )
