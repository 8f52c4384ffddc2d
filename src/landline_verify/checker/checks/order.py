"""Everybody agrees on one order, and it is the right one: I6, I7.

I6d (an inbox sorted by offset is in the order of the log) is not judged on its own: it follows from
I7, which compares every offset that was received with the log's.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from landline_verify.checker.evidence import Evidence
from landline_verify.checker.messages import Message, Send, Try
from landline_verify.checker.verdict import Violation
from landline_verify.history.events import MessageRow, Ok, Recv, Said


def in_order(evidence: Evidence) -> Iterator[Violation]:
    """I6: within a session live messages of one sender's session, and replayed ones, keep the
    order of the log (a, b); and what was sent after an ok stands after it (c).
    """
    for session in evidence.sessions.values():
        yield from _rising(evidence, session.recvs)
    yield from _after_ok(evidence)


def _rising(evidence: Evidence, recvs: Iterable[tuple[int, Recv]]) -> Iterator[Violation]:
    # By conversation, and for live messages by the sender's connection.
    highest: dict[tuple[str, str | None], tuple[int, int]] = {}
    seen: set[str] = set()
    for at, recv in recvs:
        message = evidence.messages[recv.id]
        sent_through = None if recv.replay else _only_connection(message.send)
        if recv.id in seen or (sent_through is None and not recv.replay):
            continue
        seen.add(recv.id)
        position, key = message.position, (message.conversation, sent_through)
        assert position is not None  # it was received
        before = highest.get(key)
        if before is not None and position < before[0]:
            how = "replayed" if recv.replay else "pushed live"
            yield message.violates(
                "I6", f"{how} after offset {before[0]}, but stands at {position}", before[1], at
            )
        else:
            highest[key] = (position, at)


def _only_connection(send: Send | None) -> str | None:
    """Return the connection that a message was sent through, if it was sent once. No order is
    promised for one that was repeated.
    """
    return send.tries[0].invoke.c if send is not None and len(send.tries) == 1 else None


def _after_ok(evidence: Evidence) -> Iterator[Violation]:
    positions: list[tuple[int, bool, Message]] = []
    for message in evidence.messages.values():
        if message.send is not None and message.is_confirmed:
            positions.append((message.send.at, True, message))
            if message.oks:
                positions.append((message.oks[0][0], False, message))
    highest: dict[str, tuple[int, int]] = {}
    for at, is_sent, message in sorted(positions, key=lambda each: each[0]):
        position, conversation = message.position, message.conversation
        assert position is not None  # it is confirmed
        before = highest.get(conversation)
        if not is_sent:
            if before is None or position > before[0]:
                highest[conversation] = (position, at)
        elif before is not None and position <= before[0]:
            yield message.violates(
                "I6",
                f"sent after the ok of what stands at offset {before[0]}, but stands at {position}",
                before[1],
                at,
            )


def agreed(evidence: Evidence) -> Iterator[Violation]:
    """I7: a message has one position and a position one message, in every place that names them."""
    yield from _one_partition(evidence)
    holders: dict[tuple[str, int], tuple[Message, int]] = {}
    for message in evidence.messages.values():
        position = message.position
        claims = list(_claims(message))
        for at, offset in claims:
            if offset != position:
                witness = next((each for each, said in claims if said == position), at)
                yield message.violates(
                    "I7", f"stands at offset {position}, but is said to be at {offset}", witness, at
                )
        yield from _oks(message)
        if position is None or not message.is_confirmed:
            continue
        other, at = holders.setdefault((message.conversation, position), (message, claims[0][0]))
        if other is not message:
            yield message.violates(
                "I7", f"stands at offset {position}, where {other.id} stands", at, claims[0][0]
            )


def _claims(message: Message) -> Iterator[tuple[int, int]]:
    """Yield (index, offset) of each place that must have the message's one position."""
    if message.records:
        yield min(((at, each.offset) for at, each in message.records), key=lambda claim: claim[1])
    for at, recv in message.recvs:
        yield at, recv.offset
    for at, row in message.rows:
        yield at, row.offset
    for at, pending in message.pending_rows:
        yield at, pending.offset
    for at, offset, _ in message.paged:
        yield at, offset
    if message.send is not None:
        for attempt in message.send.tries:
            ok = attempt.answer
            if isinstance(ok, Ok) and ok.id == message.id and _is_bound(message.send, attempt):
                assert attempt.answered_at is not None  # it has an answer
                yield attempt.answered_at, ok.offset


def _is_bound(send: Send, attempt: Try) -> bool:
    """Say whether an ok must name the first record: where the server was told to look, or where
    there can be only one. The ok of another repeat may name a later one.
    """
    return attempt.is_retry or len(send.tries) == 1


def _oks(message: Message) -> Iterator[Violation]:
    position = message.position
    for at, ok in message.oks:
        if position is not None and ok.offset < position:
            yield message.violates(
                "I7", f"ok names offset {ok.offset}, before its place {position}", at
            )
        if message.send is not None and ok.conversation != message.conversation:
            yield message.violates(
                "I7", f"ok names {ok.conversation}, but it was sent in {message.conversation}", at
            )


def _one_partition(evidence: Evidence) -> Iterator[Violation]:
    homes: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for message in evidence.messages.values():
        places: list[tuple[int, Said | MessageRow]] = [*message.records, *message.rows]
        for at, record in places:
            home = homes[record.conversation]
            if record.partition not in home and home:
                yield message.violates(
                    "I7",
                    f"{record.conversation} stands in partitions {min(home)} and "
                    f"{record.partition}",
                    *home.values(),
                    at,
                )
            home.setdefault(record.partition, at)
