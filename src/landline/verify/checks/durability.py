"""What was accepted is there, and is what was sent: I1, I4, I11."""

from collections.abc import Iterator

from landline.verify.evidence import Evidence, Message, Send
from landline.verify.fold import conversation_of
from landline.verify.verdict import Violation


def durable(evidence: Evidence) -> Iterator[Violation]:
    """I1: what was accepted is in the log, and in the store as one row."""
    for message, send, at, _ in evidence.accepted:
        if evidence.has_log and not message.records:
            yield message.violates("I1", "accepted, but the log does not hold it", send.at, at)
        if evidence.has_store:
            yield from _stored(message, send, at)


def _stored(message: Message, send: Send, ok_at: int) -> Iterator[Violation]:
    rows = [at for at, _ in message.rows]
    if not rows:
        yield message.violates("I1", "accepted, but the store does not hold it", send.at, ok_at)
    elif len(rows) > 1:
        yield message.violates("I1", "the store holds it more than once", *rows)
    for at, row in message.rows:
        whose = (row.sender, row.conversation)
        if whose != (send.user, conversation_of(send.user, send.to)):
            yield message.violates(
                "I1", f"stored as {row.sender}'s in {row.conversation}", send.at, at
            )
    if rows and not any(delivery.recipient == send.to for _, delivery in message.deliveries):
        yield message.violates("I1", f"stored, but owed to {send.to} nowhere", send.at, *rows)


def unaltered(evidence: Evidence) -> Iterator[Violation]:
    """I4: the content is the same in the send, the log, the store, and wherever it arrived."""
    for message in evidence.messages.values():
        send = message.send
        if send is not None:
            for at, _, _, digest in message.contents():
                if digest != send.digest:
                    where = evidence.events[at].kind
                    yield message.violates(
                        "I4", f"the content is another in its `{where}` than as sent", send.at, at
                    )


def honest_ok(evidence: Evidence) -> Iterator[Violation]:
    """I11: whoever said ok had a record in the log, and that very one."""
    for message in evidence.messages.values():
        offsets = {record.offset for _, record in message.records}
        for at, ok in message.oks:
            if offsets and ok.offset not in offsets:
                yield message.violates(
                    "I11", f"ok names offset {ok.offset}, where the log does not hold it", at
                )
            elif not offsets and not message.recvs and not message.rows:
                yield message.violates("I11", "ok, but it was never anywhere", at)
