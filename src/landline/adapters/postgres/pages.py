"""Makes the arguments of the statements `pending` and `turns`, and answers out of their rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from landline.adapters.statements import statement
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

TURNS: Final = statement("postgres", "turns")


def pending_arguments(queries: Sequence[PendingQuery]) -> Sequence[Any]:
    """Return what `pending` takes; the vectors are padded to the same length."""
    width = 1 + max((max(query.after, default=-1) for query in queries), default=-1)
    return (
        [query.mailbox for query in queries],
        [query.limit for query in queries],
        width,
        [query.after.get(partition, 0) for query in queries for partition in range(width)],
        [query.limit_bytes for query in queries],
    )


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
        [turn.conversation for turn in turns],
        [turn.partition for turn in turns],
        [turns_of(query.limit) for query in queries],
        MESSAGES_A_TURN,
        *([list(column) for column in zip(*cursors, strict=True)] or [[], [], [], []]),
    )


def pending_answers(
    queries: Sequence[PendingQuery], rows: Iterable[Sequence[Any]]
) -> list[Pending]:
    """Return the answers in the rows of `pending`."""
    applied: dict[int, int] = {}
    found: list[list[Sequence[Any]]] = [[] for _ in queries]
    for number, *fields in rows:
        if number < 0:
            applied[fields[0]] = fields[1]
        else:
            found[number].append(fields)
    answers = []
    for query, page in zip(queries, found, strict=True):
        messages = _messages(query, page[: query.limit])
        if len(messages) == len(page):
            answers.append(Pending(messages, True, applied))
        else:
            partition, offset = page[len(messages)][:2]
            until = {each: end for each, end in applied.items() if each < partition}
            answers.append(Pending(messages, False, applied, {**until, partition: offset}))
    return answers


@dataclass
class _Found:
    """The rows of one query of `TURNS`."""

    page: list[Sequence[Any]] = field(default_factory=list)
    stops: dict[int, int] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    below: list[Turn] = field(default_factory=list)
    ahead: list[Sequence[Any]] = field(default_factory=list)


def turns_answers(queries: Sequence[PendingQuery], rows: Iterable[Sequence[Any]]) -> list[Pending]:
    """Return the answers in the rows of `TURNS`."""
    applied: dict[int, int] = {}
    found = [_Found() for _ in queries]
    for number, kind, _sorting, *fields in rows:
        if kind == 0:
            applied[fields[0]] = fields[1]
        elif kind == 1:
            found[number].page.append(fields)
        elif kind == 2:
            found[number].stops[fields[0]] = fields[1]
        elif kind == 3:
            turn = Turn(fields[3], fields[0])
            found[number].turns.append(turn)
            if fields[1]:
                found[number].below.append(turn)
        else:
            found[number].ahead.append(fields)
    return [_in_turns(query, each, applied) for query, each in zip(queries, found, strict=True)]


def _in_turns(query: PendingQuery, found: _Found, applied: Mapping[int, int]) -> Pending:
    messages = _messages(query, found.page)
    stops = found.stops
    for partition, offset, *_rest in reversed(found.page[len(messages) :]):
        stops[partition] = offset
    if not stops:
        return Pending(messages, True, applied)
    until = {**applied, **stops}
    if not found.turns:
        return Pending(messages, False, applied, until)
    ahead = _messages(query, found.ahead[: ahead_of(query.limit)])
    if len(ahead) < len(found.ahead):
        turn = Turn(ahead[-1].conversation, ahead[-1].position.partition)
    else:
        is_end = len(found.turns) <= turns_of(query.limit)  # the first one is the one before
        turn = FIRST_TURN if is_end else found.turns[-1]
    below = frozenset(each for each in found.below if turn == FIRST_TURN or each <= turn)
    return Pending(messages, False, applied, until, ahead, turn, below)


def _messages(query: PendingQuery, rows: Iterable[Sequence[Any]]) -> tuple[Message, ...]:
    """Return the messages up to the first one without content."""
    recipients = (query.mailbox,)
    messages = []
    for partition, offset, id, conversation, sender, content, time_ms in rows:
        if content is None:
            break
        position = Position(partition, offset)
        messages.append(
            Message(str(id), conversation, sender, recipients, content, position, time_ms)
        )
    return tuple(messages)
