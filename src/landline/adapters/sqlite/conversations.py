"""Rows of conversations and of the mailboxes of whoever is in them."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from landline.adapters.sqlite.rows import NO_ROWS, given, taken
from landline.adapters.statements import statement
from landline.model import Message, Role
from landline.protocol.identity import is_room, participants

# The store's own number of each conversation.
Numbers = Mapping[str, int]


_KNOWN_NAMES: Final = statement("sqlite", "known_names")
_ADD_CONVERSATIONS: Final = statement("sqlite", "add_conversations")
_MOVE_CONVERSATIONS: Final = statement("sqlite", "move_conversations")
_ADD_MEMBERS: Final = statement("sqlite", "add_members")
_ADD_MAILBOXES: Final = statement("sqlite", "add_mailboxes")


class NewMember(NamedTuple):
    """A row of `members`. `number` says who came first of those who joined at the same offset."""

    conversation_id: int
    user: str
    role: Role
    joined_offset: int
    number: int
    read_offset: int


def enter_conversations(connection: sqlite3.Connection, events: Sequence[Message]) -> Numbers:
    """Note new events in the rows of their conversations, and make what is missing: conversations
    that are seen for the first time, and default mailboxes of those who are named.
    """
    last: dict[str, Message] = {}
    users: set[str] = set()
    for event in events:
        last[event.conversation] = event
        users.add(event.sender)
        users.update(event.recipients)
    numbers, strangers = _known(connection, last, users)
    if strangers != NO_ROWS:
        connection.execute(_ADD_MAILBOXES, {"users": strangers})
    if len(numbers) < len(last):
        unknown = [each for each in events if each.conversation not in numbers]
        numbers |= _begin(connection, unknown)
    moved = [(numbers[name], event.position.offset, event.time_ms) for name, event in last.items()]
    connection.execute(_MOVE_CONVERSATIONS, {"conversations": given(moved)})
    return numbers


def add_mailboxes(connection: sqlite3.Connection, users: Collection[str]) -> None:
    """Make the default mailboxes that are missing."""
    connection.execute(_ADD_MAILBOXES, {"users": given(users)})


def _members_of(event: Message) -> Collection[str]:
    """Return who is in a conversation from its first event on."""
    if is_room(event.conversation):
        return ()
    return participants(event.conversation) or dict.fromkeys((event.sender, *event.recipients))


def add_members(connection: sqlite3.Connection, members: Sequence[NewMember]) -> None:
    """Enter members of conversations that had none."""
    connection.execute(_ADD_MEMBERS, {"members": given(map(tuple, members))})


def add_conversations(
    connection: sqlite3.Connection, events: Iterable[tuple[str, int, int]]
) -> Numbers:
    """Make rows of conversations: name, offset and time of the last event; return their numbers."""
    rows = [
        (name, "room" if is_room(name) else "direct", offset, time_ms)
        for name, offset, time_ms in events
    ]
    connection.execute(_ADD_CONVERSATIONS, {"conversations": given(rows)})
    return _known(connection, [name for name, *_rest in rows], ())[0]


def _begin(connection: sqlite3.Connection, events: Sequence[Message]) -> Numbers:
    """Make what conversations need that are seen for the first time."""
    first: dict[str, Message] = {}
    for event in events:
        first.setdefault(event.conversation, event)
    numbers = add_conversations(
        connection, [(name, event.position.offset, event.time_ms) for name, event in first.items()]
    )
    members = [
        NewMember(numbers[name], user, Role.MEMBER, 0, number, -1)
        for name, event in first.items()
        for number, user in enumerate(_members_of(event), start=1)
    ]
    add_members(connection, members)
    return numbers


def _known(
    connection: sqlite3.Connection, names: Collection[str], users: Collection[str]
) -> tuple[dict[str, int], str]:
    """Return the numbers of those conversations that are known, and who has no default mailbox."""
    asked = {"conversations": given(names), "users": given(users)}
    known: Any = connection.execute(_KNOWN_NAMES, asked).fetchone()
    return dict(taken(known[0])), known[1]
