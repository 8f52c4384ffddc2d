"""Makes the arguments of the statements `pending` and `turns`, and answers out of their rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from landline.adapters.postgres.batch_rows import device_of
from landline.adapters.statements import statement
from landline.model import (
    FIRST_TURN,
    MESSAGES_A_TURN,
    EventKind,
    Message,
    Pending,
    PendingQuery,
    Position,
    Turn,
    ahead_of,
    turns_of,
)

PENDING: Final = statement("postgres", "pending")
TURNS: Final = statement("postgres", "turns")

Row = Sequence[Any]


def pending_arguments(queries: Sequence[PendingQuery]) -> Sequence[Any]:
    """Return what `PENDING` takes."""
    return (
        [query.mailbox.user for query in queries],
        [device_of(query.mailbox.device) for query in queries],
        [query.limit for query in queries],
        *vectors(queries),
        [query.limit_bytes for query in queries],
    )


def vectors(queries: Sequence[PendingQuery]) -> tuple[int, list[int]]:
    """Return how long each vector `after` is (all are padded to that), and all in a row."""
    width = 1 + max((max(query.after, default=-1) for query in queries), default=-1)
    return width, [query.after.get(each, 0) for query in queries for each in range(width)]


def turns_arguments(queries: Sequence[PendingQuery]) -> Sequence[Any]:
    """Return what `TURNS` takes."""
    turns = [query.turn or FIRST_TURN for query in queries]
    cursors = [
        (number, *turn, offset)
        for number, query in enumerate(queries)
        for turn, offset in query.cursors.items()
    ]
    return (
        *pending_arguments(queries),
        [turn.conversation_id for turn in turns],
        [turn.partition for turn in turns],
        [turns_of(query.limit) for query in queries],
        MESSAGES_A_TURN,
        *([list(column) for column in zip(*cursors, strict=True)] or [[], [], [], []]),
    )


def pending_answers(queries: Sequence[PendingQuery], rows: Iterable[Row]) -> list[Pending]:
    """Return the answers in the rows of `PENDING`."""
    applied: dict[int, int] = {}
    found: list[list[Row]] = [[] for _ in queries]
    closed: dict[int, frozenset[int]] = {}
    for number, *fields in rows:
        if number < 0:
            applied[fields[0]] = fields[1]
        elif fields[0] is None:
            closed[number] = frozenset(fields[-1])
        else:
            found[number].append(fields)
    return [
        in_order_of_log(query, page, applied, closed.get(number, frozenset()))
        for number, (query, page) in enumerate(zip(queries, found, strict=True))
    ]


def in_order_of_log(
    query: PendingQuery,
    page: Sequence[Row],
    applied: Mapping[int, int],
    closed: frozenset[int] = frozenset(),
) -> Pending:
    """Return the answer of a page, which has one row more than asked for if there are more."""
    messages = _messages(query, page[: query.limit])
    if len(messages) == len(page):
        return Pending(messages, True, applied, closed=closed)
    partition, offset = page[len(messages)][:2]
    until = {each: end for each, end in applied.items() if each < partition}
    return Pending(messages, False, applied, {**until, partition: offset}, closed=closed)


@dataclass
class _Found:
    """The rows of one query of `TURNS`."""

    page: list[Row] = field(default_factory=list)
    stops: dict[int, int] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    below: list[Turn] = field(default_factory=list)
    ahead: list[Row] = field(default_factory=list)
    closed: frozenset[int] = frozenset()

    def add(self, kind: int, row: Row) -> None:
        if kind == 0:
            self.closed = frozenset(row[-1])
        elif kind == 1:
            self.page.append(row)
        elif kind == 2:
            self.stops[row[0]] = row[1]
        elif kind == 3:
            turn = Turn(row[9], row[0])
            self.turns.append(turn)
            if row[1]:
                self.below.append(turn)
        else:
            self.ahead.append(row)


def turns_answers(queries: Sequence[PendingQuery], rows: Iterable[Row]) -> list[Pending]:
    """Return the answers in the rows of `TURNS`."""
    applied: dict[int, int] = {}
    found = [_Found() for _ in queries]
    for number, kind, _sorting, *fields in rows:
        if number < 0:
            applied[fields[0]] = fields[1]
        else:
            found[number].add(kind, fields)
    return [_in_turns(query, each, applied) for query, each in zip(queries, found, strict=True)]


def _in_turns(query: PendingQuery, found: _Found, applied: Mapping[int, int]) -> Pending:
    messages = _messages(query, found.page)
    stops, closed = found.stops, found.closed
    for partition, offset, *_rest in reversed(found.page[len(messages) :]):
        stops[partition] = offset
    if not stops:
        return Pending(messages, True, applied, closed=closed)
    until = {**applied, **stops}
    ahead = _messages(query, found.ahead[: ahead_of(query.limit)])
    if len(ahead) < len(found.ahead):
        turn = Turn(ahead[-1].conversation_id, ahead[-1].position.partition)
    else:
        is_end = len(found.turns) <= turns_of(query.limit)  # the first one is the one before
        turn = FIRST_TURN if is_end else found.turns[-1]
    below = frozenset(each for each in found.below if turn == FIRST_TURN or each <= turn)
    return Pending(messages, False, applied, until, ahead, turn, below, closed)


def _messages(query: PendingQuery, rows: Iterable[Row]) -> tuple[Message, ...]:
    """Return the messages up to the first one without content."""
    recipients = (query.mailbox.user,)
    messages = []
    for partition, offset, id, conversation, sender, content, time_ms, *more in rows:
        if content is None:
            break
        kind, data, conversation_id, is_received = more[:4]
        messages.append(
            Message(
                str(id),
                conversation,
                sender,
                recipients,
                content,
                Position(partition, offset),
                time_ms,
                EventKind(kind),
                data,
                conversation_id=conversation_id,
                is_received=is_received,
            )
        )
    return tuple(messages)
