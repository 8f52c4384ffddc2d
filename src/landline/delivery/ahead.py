"""The conversations of one session that were served ahead of its cursor.

A flood must not keep other messages waiting behind it. So once a page was cut off, pulls ask in
turns: of some conversations the page also brings the oldest rows *ahead* of the cursor. They are
pushed first. What was pushed ahead is remembered as a cursor of that conversation alone:

    every message of the conversation below it that the mailbox was owed has been pushed.

A pull names these cursors, because what was pushed stays pending until it is acknowledged: the next
turn brings what comes after. A cursor is forgotten when that of the session has passed it. It is
also forgotten when the store shows that nothing of the conversation below it is pending any more,
so that no page can bring it again. A hint that comes late still could. So nothing is taken from a
hint that is below a cursor which was forgotten: the store has all of that, and a page brings what
is pending.
"""

from collections.abc import Mapping
from heapq import nsmallest
from typing import NamedTuple

from landline.delivery.memory import HeldMessage
from landline.model import (
    FIRST_TURN,
    NO_CURSORS,
    NOWHERE,
    Message,
    Pending,
    PendingQuery,
    Positions,
    Turn,
    join,
)

# Conversations with a cursor of their own. While there are so many, no further one is served ahead;
# those that have been acknowledged are forgotten as their turns come round.
AHEAD_CONVERSATIONS = 1_024
# So many of them a pull names: more than have their turn, for some have nothing pending any more.
NAMED_CONVERSATIONS = 32


class Place(NamedTuple):
    """A conversation in a partition. Usually it is in one alone: a log that grew has it in two."""

    conversation: str
    partition: int


class Ahead:
    """Whose turn it is, and how far each conversation was served ahead."""

    __slots__ = ("_cursors", "_forgotten", "_turns", "turn")

    def __init__(self) -> None:
        self.turn: Turn | None = None  # None: a page in the order of the log is enough
        self._cursors: dict[Place, int] = {}
        self._turns: dict[Turn, Place] = {}  # what the store calls them: of each that has a cursor
        self._forgotten: Positions = NOWHERE  # partition -> the highest of those that were

    def __contains__(self, place: Place) -> bool:
        return place in self._cursors

    def has_room(self) -> bool:
        """Say whether one more conversation may be served ahead."""
        return len(self._cursors) < AHEAD_CONVERSATIONS

    def has(self, message: Message | HeldMessage) -> bool:
        """Say whether a message was served ahead."""
        if not self._cursors:
            return False
        return message.position.offset < self._cursors.get(place_of(message), 0)

    def may_have_had(self, message: Message | HeldMessage) -> bool:
        """Say whether it may have been served ahead, which is forgotten. Else a page brings it."""
        if not self._forgotten:
            return False
        partition, offset = message.position
        return offset < self._forgotten.get(partition, 0)

    def note(self, message: Message) -> None:
        """A message out of the store is pushed ahead of the session's cursor."""
        place = place_of(message)
        self._turns[Turn(message.conversation_id, place.partition)] = place
        self._cursors[place] = message.position.offset + 1

    def next_cursors(self) -> Mapping[Turn, int]:
        """Return the cursors of conversations that may be among the next to have their turn."""
        behind = self.turn
        if behind is None or not self._cursors:
            return NO_CURSORS
        turns = nsmallest(NAMED_CONVERSATIONS, (each for each in self._turns if each > behind))
        return {turn: self._cursors[self._turns[turn]] for turn in turns}

    def served_out(self, query: PendingQuery, pending: Pending) -> list[Turn]:
        """Return the turns of a query that are over and have nothing pending below their cursor."""
        last = pending.turn
        if last is None:
            return []
        return [
            turn
            for turn in query.cursors
            if (last == FIRST_TURN or turn <= last) and turn not in pending.below
        ]

    def forget(self, turns: list[Turn]) -> None:
        """Forget the cursors of these conversations."""
        for turn in turns:
            offset = self._cursors.pop(self._turns.pop(turn))
            self._forgotten = join(self._forgotten, {turn.partition: offset})

    def forget_passed(self, cursor: Positions) -> None:
        """Forget what the session's cursor has passed."""
        if self._cursors:
            self._cursors = {
                place: offset
                for place, offset in self._cursors.items()
                if offset > cursor.get(place.partition, 0)
            }
            self._turns = {
                turn: place for turn, place in self._turns.items() if place in self._cursors
            }
        if self._forgotten:
            self._forgotten = {
                partition: offset
                for partition, offset in self._forgotten.items()
                if offset > cursor.get(partition, 0)
            }


def place_of(message: Message | HeldMessage) -> Place:
    """Return where a message's conversation is in the log."""
    return Place(message.conversation, message.position.partition)
