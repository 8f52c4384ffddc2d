"""Questions about what a mailbox is owed, and the answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from landline.model.messages import Mailbox, Message
from landline.model.positions import Positions


class Turn(NamedTuple):
    """Conversations of a mailbox take turns in this order, that of the store's own numbers; in
    another partition it is another.
    """

    conversation_id: int
    partition: int


FIRST_TURN = Turn(0, -1)  # before all
# A conversation brings so many messages at the most when it is its turn.
MESSAGES_A_TURN = 4


def turns_of(limit: int) -> int:
    """Return how many conversations may have their turn in a page of `limit` messages."""
    return max(1, limit // 4)


def ahead_of(limit: int) -> int:
    """Return how many messages they bring with such a page at the most.

    That is half of it, so that the session's cursor moves on as well.
    """
    return max(2, limit // 2)


NO_CURSORS: Mapping[Turn, int] = {}


class PendingQuery(NamedTuple):
    """Ask for what `mailbox` is owed at or beyond `after`, at most `limit` messages.

    A device is also owed what the default mailbox of its user still owes.

    `turn`: None asks in the order of the log, which costs least. Otherwise partitions take turns
    in the answer; and so do conversations, from behind `turn` on, each with its oldest messages.
    `cursors`: of these conversations nothing below the offset is wanted in their turn.
    `limit_bytes`: no further message is begun when the contents before it come to this.
    """

    mailbox: Mailbox
    after: Positions
    limit: int
    turn: Turn | None = None
    limit_bytes: int = 1024 * 1024
    cursors: Mapping[Turn, int] = NO_CURSORS


@dataclass(frozen=True, slots=True)
class Pending:
    """Answer to one `PendingQuery`.

    `messages` are, of each partition, the first ones in the order of their offsets. `complete`
    says that they are all; otherwise they are all below `until`. `applied` was read in the same
    snapshot as the messages.

    `ahead`, when turns were asked for and not all was answered: messages of the conversations
    between the turn of the query and `turn`. Of each they are the `MESSAGES_A_TURN` oldest at or
    beyond `after` and its own cursor, in their order, those among `messages` too. All together
    they are at most `ahead_of(limit)`. `turn` is what to ask from next; the end is followed by the
    start. None: no conversation had a turn.

    `below`: conversations that had a turn and have something pending between `after` and their own
    cursor.

    `closed`: partitions in which the mailbox gets nothing new, in the same snapshot: its device has
    not begun there, or has ended; or it is the default mailbox and a device is open there.
    """

    messages: tuple[Message, ...]
    complete: bool
    applied: Positions
    until: Positions = field(default_factory=dict)
    ahead: tuple[Message, ...] = ()
    turn: Turn | None = None
    below: frozenset[Turn] = frozenset()
    closed: frozenset[int] = frozenset()
