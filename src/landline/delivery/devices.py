"""The device of one session: which mailbox it uses, and whether that gets what is to come.

A session is owed what its mailbox is owed. A device has a mailbox from its record on, in each
partition by itself. So a session begins like this, and what is in brackets may take its time:

    connect ── in the directory ──────────────────────────┐
        └───── recognised ── (record in every partition) ──┴── the log's ends are read ── pull

The record of a device that is new is in the log before the ends are read, so the ends cover it, and
what comes after it is found like all that a mailbox is owed.

A session without a device uses the default mailbox, or once its user has devices the device with
the empty name. What it uses does not change while it lasts. If another session of its user brings
the first device meanwhile, the default mailbox gets nothing more; the store says so with the next
page, and the session has to come again. The same where its device has ended, that is, was open in a
partition and is not any more: it ends in each by itself. To open it there again would hide from the
client that it has lost its place. When it comes again it is told that it is new.

Where the store does not answer soon, nobody knows whether the device is new. The session goes on,
and the first page says whether the record is still to be appended. It is asked for once: the edge
tries for as long as the session is there. Until the record is in every partition the session hears
what is live, and has no `caught_up`: what passes it by is owed to it from then on only.
"""

from enum import Enum
from typing import NamedTuple

from landline.model import NOWHERE, Mailbox, Pending, Positions, join


class Recognition(NamedTuple):
    """What the store says of a session's device.

    `mailbox`: which one the session uses. `closed`: partitions in which its device has not begun;
    nothing where it is the default mailbox. `opened`: those in which it has. `with_nameless`: it is
    the first of its user, who may have sessions without a device now: the one with the empty name
    is to begin as well, or what comes until they have come again would be owed to none of them.
    """

    mailbox: Mailbox
    closed: frozenset[int] = frozenset()
    opened: frozenset[int] = frozenset()
    with_nameless: bool = False

    @property
    def is_new(self) -> bool:
        """Say whether the device is new somewhere: it may have been ended there."""
        return bool(self.closed)


class Answer(Enum):
    """What to do about a page that says where the mailbox gets nothing new."""

    NOTHING = "nothing"
    OPEN = "open"
    LEAVE = "leave"
    ASK = "ask"  # whether it is the default mailbox at all: nobody has said


class DeviceState:
    """How far a session's device has come."""

    __slots__ = (
        "_asked",
        "_is_known",
        "_seen_open",
        "is_asking",
        "is_entered",
        "is_opening",
        "is_recognised",
        "opened",
    )

    def __init__(self) -> None:
        self.is_entered = False
        self.is_recognised = False  # or nobody has said in time
        self.is_asking = False  # once more
        self._is_known = False  # somebody has
        self.is_opening = False  # the first answer to `OpenDevice` has not come
        self.opened: Positions = NOWHERE  # behind the records that were appended for this session
        self._asked: frozenset[int] = frozenset()  # where such a record is still to come
        self._seen_open: frozenset[int] = frozenset()  # where the store has said that it is open

    @property
    def may_read_ends(self) -> bool:
        """Say whether the ends may be read: it is known to the directory, and its record is in the
        log, as far as it could be appended in good time.
        """
        return self.is_entered and self.is_recognised and not self.is_opening

    @property
    def is_complete(self) -> bool:
        """Say whether no record of the device is still to come: from here on it is owed all."""
        return not self.is_opening and not self._asked

    def recognise(self, recognition: Recognition | None) -> None:
        """The store has said what it knows; None: not in time."""
        self.is_recognised = True
        self.is_asking = False
        if recognition is not None:
            self._is_known = True
            self._seen_open = recognition.opened

    def open(self, partitions: frozenset[int]) -> None:
        """Records are to be appended to these partitions."""
        self.is_opening = True
        self._asked |= partitions

    def note_opened(self, opened: Positions) -> None:
        """Records of the device are in the log, up to these offsets."""
        self.is_opening = False
        self.opened = join(self.opened, opened)
        self._asked = self._asked.difference(opened)

    def judge(self, mailbox: Mailbox, pending: Pending) -> tuple[Answer, frozenset[int]]:
        """Return what to do about a page, and in which partitions its device is to be opened."""
        closed = self._closed(pending)
        if mailbox.device is None:
            if not closed or self.is_asking:
                return Answer.NOTHING, closed
            return (Answer.LEAVE if self._is_known else Answer.ASK), closed
        is_open = pending.applied.keys() - pending.closed
        if not is_open <= self._seen_open:
            self._seen_open |= is_open
        if not closed.isdisjoint(self._seen_open) or not closed.isdisjoint(self.opened):
            return Answer.LEAVE, closed  # the device has ended
        missing = closed - self._asked
        return (Answer.OPEN if missing else Answer.NOTHING), missing

    def _closed(self, pending: Pending) -> frozenset[int]:
        """Return in which partitions the mailbox gets nothing new although our own record, if
        there was one, has been applied.
        """
        if not pending.closed or not self.opened:
            return pending.closed
        return frozenset(
            partition
            for partition in pending.closed
            if pending.applied.get(partition, 0) >= self.opened.get(partition, 0)
        )
