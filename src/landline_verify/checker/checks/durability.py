"""An accepted message is there, and is what was sent: I1, I4, I11."""

from collections.abc import Iterator
from typing import Final

from landline_verify.checker.evidence import Evidence
from landline_verify.checker.messages import Message, Send
from landline_verify.checker.verdict import Violation

# In that time a server has to notice that the log's settings break the promise.
NOTICING_SECONDS: Final = 10.0
# Settings that break it, and after how many seconds: with the store away, a log that keeps 20 s may
# by then delete what is not stored.
_UNSAFE: Final = {"settings-unsafe": 0.0, "settings-retention": 20.0}


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
        if whose != (send.user, send.conversation):
            yield message.violates(
                "I1", f"stored as {row.sender}'s in {row.conversation}", send.at, at
            )
    if (
        rows
        and send.is_direct
        and not any(row.recipient == send.to for _, row in message.status_rows)
    ):
        yield message.violates("I1", f"stored, but owed to {send.to} nowhere", send.at, *rows)


def unaltered(evidence: Evidence) -> Iterator[Violation]:
    """I4: the content is the same in the send, the log, the store, and wherever it arrived."""
    for message in evidence.messages.values():
        send = message.send
        if send is not None:
            said = [(at, digest) for at, _, _, digest in message.contents()]
            for at, digest in [*said, *((at, digest) for at, _, digest in message.paged)]:
                if digest != send.digest:
                    where = evidence.events[at].kind
                    yield message.violates(
                        "I4", f"the content is another in its `{where}` than as sent", send.at, at
                    )


def honest_ok(evidence: Evidence) -> Iterator[Violation]:
    """I11: an ok names a record that is in the log, and that very one.

    There is no ok while the log is set so that it may lose what it acknowledged.
    """
    yield from _promised_too_much(evidence)
    for message in evidence.messages.values():
        offsets = {record.offset for _, record in message.records}
        for at, ok in message.oks:
            if offsets and ok.offset not in offsets:
                yield message.violates(
                    "I11", f"ok names offset {ok.offset}, where the log does not hold it", at
                )
            elif not offsets and not message.recvs and not message.rows:
                yield message.violates("I11", "ok, but it was never anywhere", at)


def _promised_too_much(evidence: Evidence) -> Iterator[Violation]:
    unsafe = [each for each in evidence.faults if each.name.startswith(tuple(_UNSAFE))]
    for message, send, at, ok in evidence.accepted if unsafe else ():
        # A message tried before may have been in the log by then, and a repeat is told so.
        invoked = send.tries[0].invoke.t
        for fault in unsafe:
            grace = _UNSAFE[fault.name] + NOTICING_SECONDS
            if evidence.stalls.after(fault.start, grace) < invoked and ok.t < fault.stop:
                yield message.violates(
                    "I11",
                    f"accepted {ok.t - fault.start:.0f} s after the log was set to"
                    f" {fault.detail}, which does not keep the promise",
                    fault.at,
                    at,
                )
