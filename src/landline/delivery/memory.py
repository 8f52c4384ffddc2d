"""What sessions keep in memory: by count and by bytes, each for itself and all of them together.

A session that has to wait for the store keeps two things: live messages that it cannot push yet
(`Held`), and which messages it has been pushed beyond its cursor (`Pushed`). A thousand sessions
may wait for the same store at the same time, so a bound for each of them is not enough. All
sessions of a process share two budgets. A session may take no more than it leaves. So one that
comes late, or acknowledges what it is pushed, still has room beside any number that do not. A
session that finds no room keeps nothing, and reads from the store later.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from landline.model import Message, Position, Positions
from landline.protocol.limits import WINDOW

# What may arrive live while a pull runs and still be pushed from memory, per session.
HELD_MESSAGES = WINDOW
HELD_BYTES = 1024 * 1024
# The same for all sessions of the process: four thousand of the largest messages.
ALL_HELD_BYTES = 64 * 1024 * 1024
# A held message beside its frame: id, names, position, and their places in the list. Measured
# 450 bytes with names of 20 bytes.
HELD_ENTRY_BYTES = 512

# A repeated record has another offset, so below the cursor only the id can tell it: the last
# ids are remembered for that.
REMEMBERED_IDS = 1_024
# Ids pushed beyond the cursor cannot be forgotten before the writer has applied them. When it is
# away for long the session goes over to pulling instead of remembering more.
PUSHED_IDS = 8_192
# So many ids every session may remember, whatever the others do: one window, some 80 KiB.
OWN_IDS = WINDOW
# What all sessions of the process remember beyond that: 200,000 ids.
ALL_PUSHED_BYTES = 64 * 1024 * 1024
# One id with its position. Measured 260 bytes; a table that has just grown is larger.
PUSHED_ENTRY_BYTES = 320


class Budget:
    """Bytes that all owners in a process share. What was taken is given back to the last byte."""

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def has(self, size_bytes: int, own_bytes: int) -> bool:
        """Say whether an owner of `own_bytes` may take so much: no more than it leaves to others.

        So a session that comes late still finds room: of n that take what they get, each has an
        (n+1)th.
        """
        return own_bytes + size_bytes <= self.limit_bytes - self.used_bytes - size_bytes

    def take(self, size_bytes: int) -> None:
        """Take so much, left or not. Callers that can do without have asked `has` first."""
        self.used_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Give back what was taken."""
        self.used_bytes -= size_bytes


class Memory:
    """The budgets of one process."""

    __slots__ = ("held", "pushed")

    def __init__(self) -> None:
        self.held = Budget(ALL_HELD_BYTES)
        self.pushed = Budget(ALL_PUSHED_BYTES)


class HeldMessage(NamedTuple):
    """What is needed to push a message later. Its content is in the frame alone."""

    position: Position
    id: str
    conversation: str
    sender: str
    is_news: bool
    frame: bytes


class Held:
    """Live messages of one session that wait, in the order of the log."""

    __slots__ = ("_bytes", "_messages", "_shared")

    def __init__(self, shared: Budget) -> None:
        self._shared = shared
        self._messages: list[HeldMessage] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: "Message | HeldMessage", frame: bytes, *, is_news: bool) -> bool:
        """Keep a message and its frame. Returns False where there is no room for it.

        Sessions of the same user share the frame; it counts for each of them.
        """
        messages = self._messages
        place = bisect_left(messages, message.position, key=lambda each: each.position)
        if place < len(messages) and messages[place].position == message.position:
            return True
        size_bytes = _held_bytes(frame)
        is_full = len(messages) >= HELD_MESSAGES or self._bytes + size_bytes > HELD_BYTES
        if is_full or not self._shared.has(size_bytes, self._bytes):
            return False
        self._shared.take(size_bytes)
        self._bytes += size_bytes
        messages.insert(
            place,
            HeldMessage(
                message.position,
                message.id,
                message.conversation,
                message.sender,
                is_news,
                frame,
            ),
        )
        return True

    def drop(self, is_done: Callable[[HeldMessage], bool]) -> None:
        """Keep no longer what is done with. Each is asked for once, in the order of the log."""
        kept = []
        for message in self._messages:
            if is_done(message):
                self._give_back(_held_bytes(message.frame))
            else:
                kept.append(message)
        self._messages = kept

    def take_all(self) -> list[HeldMessage]:
        """Return all, in the order of the log, and keep none."""
        messages, self._messages = self._messages, []
        self._give_back(self._bytes)
        return messages

    def _give_back(self, size_bytes: int) -> None:
        self._bytes -= size_bytes
        self._shared.give_back(size_bytes)


def _held_bytes(frame: bytes) -> int:
    return len(frame) + HELD_ENTRY_BYTES


class Pushed:
    """Ids and positions of what one session was pushed, the oldest first."""

    __slots__ = ("_look_at", "_positions", "_shared")

    def __init__(self, shared: Budget) -> None:
        self._shared = shared
        self._positions: OrderedDict[str, Position] = OrderedDict()  # quick at its front
        self._look_at = REMEMBERED_IDS + OWN_IDS  # with so many ids, behind the first ones too

    def __contains__(self, id: object) -> bool:
        return id in self._positions

    def has_room(self) -> bool:
        """Say whether one more may be pushed beyond the cursor."""
        return len(self._positions) < PUSHED_IDS and not self._is_short()

    def add(self, id: str, position: Position) -> None:
        """Note a push. A page is noted whatever there is room for: the cursor passes it at once,
        and `forget_oldest` makes up for it.
        """
        before = self._shared_bytes()
        self._positions[id] = position
        self._shared.take(self._shared_bytes() - before)

    def forget_oldest(self, cursor: Positions) -> None:
        """Forget what is below the cursor, except the last ones: few, where memory is short.

        Then it goes down to half of what every session may have, so that there is room again.
        """
        before = self._shared_bytes()
        positions = self._positions
        remembered = min(OWN_IDS // 2, REMEMBERED_IDS) if self._is_short() else REMEMBERED_IDS
        while len(positions) > remembered and _is_below(next(iter(positions.values())), cursor):
            positions.popitem(last=False)
        if len(positions) >= self._look_at or (len(positions) > remembered and not self.has_room()):
            self._forget_behind(cursor, remembered)
        self._shared.give_back(before - self._shared_bytes())

    def _forget_behind(self, cursor: Positions, remembered: int) -> None:
        """Look behind what the cursor does not pass: a partition that stands still keeps its ids,
        and must not keep those of the others. Each look takes as long as there are ids, so there
        is one for so many new ids, or when there is no room.
        """
        below = [id for id, position in self._positions.items() if _is_below(position, cursor)]
        for id in below[: max(0, len(below) - remembered)]:
            del self._positions[id]
        self._look_at = max(REMEMBERED_IDS, len(self._positions)) + OWN_IDS

    def forget_below(self, cursor: Positions) -> None:
        """Forget all that is below this cursor."""
        if not self._positions:
            return
        before = self._shared_bytes()
        self._positions = OrderedDict(
            (id, position)
            for id, position in self._positions.items()
            if not _is_below(position, cursor)
        )
        self._shared.give_back(before - self._shared_bytes())

    def clear(self) -> None:
        """Forget everything."""
        self._shared.give_back(self._shared_bytes())
        self._positions.clear()

    def _shared_bytes(self) -> int:
        return max(0, len(self._positions) - OWN_IDS) * PUSHED_ENTRY_BYTES

    def _is_short(self) -> bool:
        """Say whether it could take no more of what all share."""
        own_bytes = self._shared_bytes()
        is_own = len(self._positions) < OWN_IDS
        return not is_own and not self._shared.has(PUSHED_ENTRY_BYTES, own_bytes)


def _is_below(position: Position, cursor: Positions) -> bool:
    return position.offset < cursor.get(position.partition, 0)
