"""DELIVERED means that the recipient's client said so: I8."""

from collections.abc import Iterator

from landline_verify.checker.evidence import Evidence
from landline_verify.checker.messages import Message
from landline_verify.checker.verdict import Violation


def honest_receipts(evidence: Evidence) -> Iterator[Violation]:
    """I8: a user who is said to have a message acknowledged it before, in a session that had it.

    A session of the sender is told once, and never more than the store knows in the end.
    """
    for message in evidence.messages.values():
        yield from _unacknowledged(evidence, message)
        yield from _told(evidence, message)


def _unacknowledged(evidence: Evidence, message: Message) -> Iterator[Violation]:
    claims = [(at, status.by) for at, status in message.statuses]
    claims += [
        (at, user)
        for at, receipts in message.receipts
        for user in receipts.users_of(message.id)
        # By the sender's own other mailbox it is no delivery, and needs no acknowledgement here.
        if message.send is None or user != message.send.user or user == message.send.to
    ]
    claims += [(at, row.recipient) for at, row in message.status_rows if row.status == "DELIVERED"]
    for at, user in claims:
        if not _is_recipient(message, user):
            yield message.violates("I8", f"DELIVERED to {user}, who is no recipient", at)
        elif not _has_acknowledged(evidence, message, user, at):
            yield message.violates("I8", f"DELIVERED to {user}, who had not acknowledged it", at)


def _is_recipient(message: Message, user: str) -> bool:
    if message.send is not None:
        return user == message.send.to
    return not message.records or user in message.records[0][1].recipients


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
