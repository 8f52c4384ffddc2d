"""DELIVERED means that the recipient's client said so: I8."""

from collections.abc import Iterator
from typing import Final

from landline_verify.checker.audience import Audience, was_ever_in
from landline_verify.checker.checks.calm import HEALING_SECONDS
from landline_verify.checker.evidence import Evidence
from landline_verify.checker.fold import Mailbox, is_room
from landline_verify.checker.messages import Message
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import Ack, MessageRecord, ReceiptsRecord

# An acknowledgement is in the log and in the store by then, while all is well.
TAKEN_SECONDS: Final = 5.0


def honest_receipts(evidence: Evidence) -> Iterator[Violation]:
    """I8: a user who is said to have a message acknowledged it before, in a session that had it;
    where a receipt names a device, in a session of that one.

    A session of the sender is told once, never of what their own other devices have, and never more
    than the store knows in the end. Of rooms nobody is told. What a mailbox has acknowledged is
    owed to it no more.
    """
    audience = Audience(evidence)
    for message in evidence.messages.values():
        yield from _unacknowledged(evidence, message)
        yield from _told(evidence, message)
        for at, receipts in message.receipts:
            yield from _receipts_of_nobody(audience, message, at, receipts)
        yield from _in_vain(evidence, audience, message)


def _unacknowledged(evidence: Evidence, message: Message) -> Iterator[Violation]:
    claims = [(at, status.by) for at, status in message.statuses]
    claims += [(at, row.recipient) for at, row in message.status_rows if row.status == "DELIVERED"]
    for at, receipts in message.receipts:
        for user in receipts.users_of(message.id):
            # By the sender's own other mailbox it is no delivery.
            if not _is_own(message, user):
                claims.append((at, user))
    for at, user in claims:
        if not _is_recipient(evidence, message, user):
            yield message.violates("I8", f"DELIVERED to {user}, who is no recipient", at)
        elif not _has_acknowledged(evidence, message, user, at):
            yield message.violates("I8", f"DELIVERED to {user}, who had not acknowledged it", at)


def _receipts_of_nobody(
    audience: Audience, message: Message, at: int, receipts: ReceiptsRecord
) -> Iterator[Violation]:
    """Find receipts of devices that acknowledged nothing, of users who have any."""
    for user, device, ids in receipts.entries:
        if not device or message.id not in ids or not audience.has_devices(user):
            continue
        acknowledged = message.acknowledged_by(user, audience.names_of(Mailbox(user, device)))
        if acknowledged is None or acknowledged > at:
            yield message.violates(
                "I8", f"the log has a receipt of {user}'s {device!r}, which gave none", at
            )


def _in_vain(evidence: Evidence, audience: Audience, message: Message) -> Iterator[Violation]:
    """Find what a mailbox is still owed although it acknowledged it, and stayed for a while."""
    for row_at, row in message.pending_rows:
        through = audience.names_of(Mailbox(row.user, row.device or None))
        at = message.acknowledged_by(row.user, through)
        ack = None if at is None else evidence.events[at]
        if at is None or not isinstance(ack, Ack):
            continue
        until = evidence.stalls.after(ack.t, TAKEN_SECONDS)
        if evidence.sessions[ack.c].ends >= until and not any(
            each.start <= until and each.stop + HEALING_SECONDS >= ack.t for each in evidence.faults
        ):
            yield message.violates(
                "I8", f"{row.user} acknowledged it and is owed it still", at, row_at
            )


def _is_own(message: Message, user: str) -> bool:
    send = message.send
    return send is not None and user == send.user and not (send.is_direct and send.to == user)


def _is_recipient(evidence: Evidence, message: Message, user: str) -> bool:
    if is_room(message.conversation):
        # Whoever is removed hears of that, and may acknowledge it.
        room = evidence.dumped.fold.conversations.get(message.conversation)
        return room is None or was_ever_in(room, user)
    if message.send is not None:
        return user == message.send.to
    named = [each for _, each in message.records if isinstance(each, MessageRecord)]
    return not named or user in named[0].recipients


def _has_acknowledged(evidence: Evidence, message: Message, user: str, before: int) -> bool:
    if user not in evidence.users:
        return True  # not one of ours: nobody recorded what they did
    acknowledged = message.acknowledged_by(user)
    if acknowledged is not None and acknowledged < before:
        return True
    since = 0 if message.send is None else message.send.at
    return evidence.had_auto_session(user, since, before)


def _told(evidence: Evidence, message: Message) -> Iterator[Violation]:
    told: dict[tuple[str, str], int] = {}
    for at, status in message.statuses:
        key = (status.c, status.by)
        if key in told:
            yield message.violates("I8", f"DELIVERED was told twice in {status.c}", told[key], at)
        told.setdefault(key, at)
        if is_room(message.conversation):
            yield message.violates("I8", "DELIVERED was told of what was said in a room", at)
        if message.send is not None and status.user != message.send.user:
            yield message.violates("I8", f"DELIVERED was told to {status.user}, no sender", at)
    if not evidence.has_store:
        return
    for at, row in message.status_rows:
        for (_, by), told_at in told.items():
            if by == row.recipient and row.status != "DELIVERED":
                yield message.violates(
                    "I8", "DELIVERED was told, but the store has it UNDELIVERED", told_at, at
                )
                break
