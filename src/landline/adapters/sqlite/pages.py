"""What mailboxes are owed, a page for each: read in one transaction."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from landline.adapters.sqlite.rows import given, stored_device, taken
from landline.adapters.statements import statement
from landline.model import (
    FIRST_TURN,
    MESSAGES_A_TURN,
    EventKind,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Turn,
    ahead_of,
    turns_of,
)

_PENDING: Final = statement("sqlite", "pending")
_TURNS: Final = statement("sqlite", "turns")

# The log has one partition.
_HERE: Final = frozenset({0})
_NOWHERE: Final[frozenset[int]] = frozenset()


def read_pending(
    connection: sqlite3.Connection, queries: Sequence[PendingQuery]
) -> Sequence[Pending]:
    """Answer all queries from one snapshot. Raises: sqlite3.Error."""
    limit = max(query.limit for query in queries)
    asked = [
        (user, stored_device(device), query.after.get(0, 0), query.limit_bytes)
        for query in queries
        for user, device in (query.mailbox,)
    ]
    connection.execute("BEGIN")
    try:
        found = connection.execute(_PENDING, {"asked": given(asked), "limit": limit + 1}).fetchone()
        applied: Positions = dict(taken(found[0]))
        return [
            _answer(connection, query, answer, applied)
            for query, answer in zip(queries, taken(found[1]), strict=True)
        ]
    finally:
        connection.execute("COMMIT")


def _answer(
    connection: sqlite3.Connection, query: PendingQuery, answer: list[Any], applied: Positions
) -> Pending:
    own_id, home_id, is_closed, rows = answer
    closed = _HERE if is_closed else _NOWHERE
    fitting = [fields for fields in rows[: query.limit] if fields[3] is not None]
    messages = tuple(_message(fields, query) for fields in fitting)
    if len(fitting) == len(rows):
        return Pending(messages, True, applied, closed=closed)
    offset = rows[len(fitting)][5]
    until = {**applied, 0: offset}
    if query.turn is None:
        return Pending(messages, False, applied, until, closed=closed)
    ahead, turn, below = _read_turns(connection, query, query.turn, (own_id, home_id))
    return Pending(messages, False, applied, until, ahead, turn, below, closed)


def _read_turns(
    connection: sqlite3.Connection,
    query: PendingQuery,
    turn: Turn,
    mailbox_ids: tuple[int | None, int | None],
) -> tuple[tuple[Message, ...], Turn, frozenset[Turn]]:
    cursors = [(each.conversation_id, offset) for each, offset in query.cursors.items()]
    own_id, home_id = mailbox_ids
    arguments = {
        "own": own_id,
        "home": home_id,
        "offset": query.after.get(0, 0),
        "behind": turn.conversation_id,
        "count": turns_of(query.limit),
        "rows": MESSAGES_A_TURN,
        "cursors": given(cursors),
    }
    [turns] = connection.execute(_TURNS, arguments).fetchone()
    messages: list[Message] = []
    below: list[Turn] = []
    size_bytes = 0
    for conversation_id, is_below, rows in taken(turns):
        if conversation_id is None:
            return tuple(messages), FIRST_TURN, frozenset(below)
        turn = Turn(conversation_id, 0)
        if is_below:
            below.append(turn)
        for fields in rows:
            if size_bytes >= query.limit_bytes or len(messages) == ahead_of(query.limit):
                last = Turn(messages[-1].conversation_id, 0)
                return tuple(messages), last, frozenset(each for each in below if each <= last)
            messages.append(_message(fields, query))
            size_bytes += len(messages[-1].content.encode())
    return tuple(messages), turn, frozenset(below)


def _message(fields: list[Any], query: PendingQuery) -> Message:
    id, conversation, sender, content, partition, offset, time_ms, kind, data, *owed = fields
    conversation_id, is_received = owed
    return Message(
        id,
        conversation,
        sender,
        (query.mailbox.user,),
        content,
        Position(partition, offset),
        time_ms,
        EventKind(kind),
        data,
        conversation_id=conversation_id,
        is_received=bool(is_received),
    )
