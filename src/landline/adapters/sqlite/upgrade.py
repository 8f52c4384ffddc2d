"""A file of version 1 becomes one of version 2 when it is opened, before its server serves.

In one transaction, so that it is the one or the other whenever the process is killed. What the old
table of deliveries still holds is removed later (see `tidying`).
"""

import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from landline.adapters.sqlite.conversations import (
    NewMember,
    add_conversations,
    add_mailboxes,
    add_members,
)
from landline.adapters.sqlite.rows import given, statements_of, taken
from landline.adapters.statements import statement
from landline.model import Role
from landline.observability.logging import get_logger
from landline.protocol.identity import is_room, participants

_IS_VERSION_1: Final = statement("sqlite", "is_version_1")
_HAS_CONVERSATION_COLUMN: Final = statement("sqlite", "has_conversation_column")
_COLUMN: Final = statement("sqlite", "upgrade_column")
_TABLES: Final = statements_of(
    statement("sqlite", "upgrade")
    + statement("sqlite", "conversations")
    + statement("sqlite", "revocations")
)
_COUNT: Final = statement("sqlite", "upgrade_count")
_CONVERSATIONS: Final = statement("sqlite", "upgrade_conversations")
_FIRST_EVENTS: Final = statement("sqlite", "upgrade_first_events")
_MAILBOXES: Final = statement("sqlite", "upgrade_mailboxes")
_PENDING: Final = statement("sqlite", "upgrade_pending")
_READS: Final = statement("sqlite", "upgrade_reads")

log = get_logger(__name__)


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the file up to version 2, if it is of version 1. Raises: sqlite3.Error."""
    if not connection.execute(_IS_VERSION_1).fetchone()[0]:
        return
    began = time.monotonic()
    [messages] = connection.execute(_COUNT).fetchone()
    log.info("upgrade_begins", version=2, messages=messages)
    try:
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute(_HAS_CONVERSATION_COLUMN).fetchone()[0]:
            connection.execute(_COLUMN)
        for each in _TABLES:
            connection.execute(each)
        conversations = _fill_conversations(connection)
        pending = connection.execute(_PENDING).rowcount
        connection.execute(_READS)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise
    log.info(
        "upgrade_ends",
        version=2,
        messages=messages,
        conversations=conversations,
        pending=pending,
        seconds=round(time.monotonic() - began, 3),
    )


def _fill_conversations(connection: sqlite3.Connection) -> int:
    """Make the rows of all conversations, their members, and default mailboxes for those and for
    whoever is owed something. Returns how many conversations there are.
    """
    found = connection.execute(_CONVERSATIONS).fetchall()
    numbers = add_conversations(connection, found)
    members = _members(connection, [name for name, _offset, _time_ms in found])
    owed = {user for (user,) in connection.execute(_MAILBOXES)}
    add_mailboxes(connection, owed.union(*members.values()))
    add_members(
        connection,
        [
            # They have seen everything: what they have not is corrected afterwards.
            NewMember(numbers[name], user, Role.MEMBER, 0, number, last_offset)
            for name, last_offset, _time_ms in found
            for number, user in enumerate(members.get(name, ()), start=1)
        ],
    )
    return len(found)


def _members(connection: sqlite3.Connection, names: Sequence[str]) -> Mapping[str, Collection[str]]:
    """Return the members of those conversations that are direct: by its name, and where that says
    nothing, by the first message.
    """
    direct = [name for name in names if not is_room(name)]
    members: dict[str, Collection[str]] = {name: participants(name) for name in direct}
    foreign = [name for name in direct if not members[name]]
    if foreign:
        rows: list[Any] = connection.execute(
            _FIRST_EVENTS, {"conversations": given(foreign)}
        ).fetchall()
        for name, sender, recipients in rows:
            members[name] = dict.fromkeys((sender, *taken(recipients)))
    return members
