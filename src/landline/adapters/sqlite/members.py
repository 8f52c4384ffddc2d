"""What a room's own events do: it is made, has another title, or other members."""

import sqlite3
from typing import Final, assert_never

from landline.adapters.sqlite.conversations import NewMember, add_mailboxes, add_members
from landline.adapters.statements import statement
from landline.model import MemberChange, MemberStep, Message, Role, RoomChange

_MAKE_ROOM: Final = statement("sqlite", "make_room")
_SET_TITLE: Final = statement("sqlite", "set_title")
_ADD_MEMBER: Final = statement("sqlite", "add_member")
_NOTE_FORMER_MEMBER: Final = statement("sqlite", "note_former_member")
_REMOVE_MEMBER: Final = statement("sqlite", "remove_member")
_REMOVE_PENDING_OF_MEMBER: Final = statement("sqlite", "remove_pending_of_member")
_SET_ROLE: Final = statement("sqlite", "set_role")
_NAME_AN_ADMIN: Final = statement("sqlite", "name_an_admin")


def change_room(
    connection: sqlite3.Connection,
    change: RoomChange | MemberChange,
    conversation_id: int,
    event: Message,
) -> None:
    """Carry out what `event` says, as far as it can be."""
    offset = event.position.offset
    if isinstance(change, MemberChange):
        _change_member(connection, change, conversation_id, offset)
    elif change.members is None:
        connection.execute(_SET_TITLE, {"title": change.title, "conversation": conversation_id})
    else:
        facts = {
            "history": change.history,
            "title": change.title,
            "conversation": conversation_id,
        }
        if connection.execute(_MAKE_ROOM, facts).rowcount:
            add_mailboxes(connection, change.members)
            members = [
                NewMember(
                    conversation_id,
                    user,
                    Role.MEMBER if number > 1 else Role.ADMIN,
                    offset,
                    number,
                    offset - 1,
                )
                for number, user in enumerate(change.members, start=1)
            ]
            add_members(connection, members)


def _change_member(
    connection: sqlite3.Connection, change: MemberChange, conversation_id: int, offset: int
) -> None:
    facts = {
        "conversation": conversation_id,
        "user": change.user,
        "role": change.role,
        "offset": offset,
    }
    match change.step:
        case MemberStep.ADD:
            add_mailboxes(connection, (change.user,))
            connection.execute(_ADD_MEMBER, facts)
        case MemberStep.REMOVE:
            if connection.execute(_NOTE_FORMER_MEMBER, facts).rowcount:
                connection.execute(_REMOVE_MEMBER, facts)
                connection.execute(_REMOVE_PENDING_OF_MEMBER, facts)
        case MemberStep.ROLE:
            connection.execute(_SET_ROLE, facts)
        case _:
            assert_never(change.step)
    connection.execute(_NAME_AN_ADMIN, facts)
