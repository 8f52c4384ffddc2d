"""What `MessageStore.pending` has to answer, written down once, the slow way."""

from collections.abc import Iterable, Mapping
from itertools import groupby

from landline.model import (
    FIRST_TURN,
    MESSAGES_A_TURN,
    Message,
    Pending,
    PendingQuery,
    Position,
    Turn,
    ahead_of,
    turns_of,
)


def answer(
    owed: Iterable[Message],
    query: PendingQuery,
    applied: Mapping[int, int],
    closed: frozenset[int] = frozenset(),
) -> Pending:
    """Return the answer when `owed` is all that the mailbox is owed, and `closed` where it gets
    nothing new.
    """
    everything = sorted(owed, key=lambda each: each.position)
    rows = [each for each in everything if _is_after(each.position, query)]
    if query.turn is not None:
        rows = _in_turns(rows)
    taken = fitting(rows[: query.limit], query.limit_bytes)
    left = rows[len(taken) :]
    if not left:
        return Pending(tuple(rows), True, applied, closed=closed)
    if query.turn is None:
        partition, offset = left[0].position
        until = {each: end for each, end in applied.items() if each < partition}
        return Pending(tuple(taken), False, applied, {**until, partition: offset}, closed=closed)
    until = dict(applied)
    for message in reversed(left):  # of a partition the first one stays
        until[message.position.partition] = message.position.offset
    return Pending(tuple(taken), False, applied, until, *_ahead(everything, query), closed)


def _is_after(position: Position, query: PendingQuery) -> bool:
    return position.offset >= query.after.get(position.partition, 0)


def _in_turns(rows: list[Message]) -> list[Message]:
    places = []
    for partition, those in groupby(rows, key=lambda each: each.position.partition):
        places += [(place, partition, each) for place, each in enumerate(those)]
    return [each for _place, _partition, each in sorted(places, key=lambda item: item[:2])]


def fitting(rows: list[Message], limit_bytes: int) -> list[Message]:
    """Return the first rows: none is begun when the contents before it come to the limit."""
    taken, size = [], 0
    for message in rows:
        if size >= limit_bytes:
            break
        taken.append(message)
        size += len(message.content.encode())
    return taken


def turn_of(message: Message) -> Turn:
    """Return whose turn brings a message."""
    return Turn(message.conversation_id, message.position.partition)


def _ahead(
    everything: list[Message], query: PendingQuery
) -> tuple[tuple[Message, ...], Turn, frozenset[Turn]]:
    assert query.turn is not None
    turns = sorted({turn_of(each) for each in everything if turn_of(each) > query.turn})
    having = turns[: turns_of(query.limit)]
    rows: list[Message] = []
    below: set[Turn] = set()
    for turn in having:
        cursor = query.cursors.get(turn, 0)
        own = [each for each in everything if turn_of(each) == turn]
        own = [each for each in own if _is_after(each.position, query)]
        rows += [each for each in own if each.position.offset >= cursor][:MESSAGES_A_TURN]
        if any(each.position.offset < cursor for each in own):
            below.add(turn)
    taken = fitting(rows[: ahead_of(query.limit)], query.limit_bytes)
    if len(taken) < len(rows):
        last = turn_of(taken[-1])
    else:
        last = having[-1] if len(having) == turns_of(query.limit) else FIRST_TURN
    had = (turn for turn in below if last == FIRST_TURN or turn <= last)
    return tuple(taken), last, frozenset(had)
