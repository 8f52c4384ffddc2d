"""The window of one session: what its client was pushed and has not acknowledged yet.

At most WINDOW messages are in it. As soon as a conversation is not alone in the window, a quarter
of it is kept for the others, so that a flood leaves room for them.

No more is pushed in a turn of the loop than fills the write buffer: only after the turn it is known
whether that has room for more.
"""

from collections.abc import Iterable
from typing import NamedTuple

from landline.ports import Clock
from landline.protocol.limits import WINDOW

# Of the frames that are pushed to a session in one turn of the loop.
BURST_BYTES = 256 * 1024


class Acknowledged(NamedTuple):
    """A message that a client has acknowledged. `is_news`: its sender is to be told."""

    id: str
    conversation: str
    sender: str
    is_news: bool


class Window:
    """The messages that one client has not acknowledged yet."""

    __slots__ = (
        "_burst_bytes",
        "_clock",
        "_counts",
        "_progress_at",
        "_unacknowledged",
        "_unwritable_since",
        "is_shared",
    )

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._unacknowledged: dict[str, Acknowledged] = {}  # once they are
        self._counts: dict[str, int] = {}  # conversation -> how many of them are its own
        self._progress_at = 0.0
        self._burst_bytes = 0  # of the frames of this turn
        self._unwritable_since: float | None = None
        self.is_shared = False  # several conversations have met in it since the session was live

    def __len__(self) -> int:
        return len(self._unacknowledged)

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all messages in the window, the oldest first."""
        return tuple(self._unacknowledged)

    @property
    def is_writable(self) -> bool:
        """Say whether the connection's write buffer has room."""
        return self._unwritable_since is None

    @property
    def room(self) -> int:
        """Return how many more messages may be pushed now."""
        if not self.is_writable or self.is_full_of_bytes:
            return 0
        return WINDOW - len(self._unacknowledged)

    def has_room(self, conversation: str) -> bool:
        """Say whether a message of this conversation may be pushed now."""
        if self.room <= 0:
            return False
        own = self._counts.get(conversation, 0)
        return own < _share() or (own == len(self._unacknowledged) and not self.is_shared)

    def share_left(self, conversation: str) -> int:
        """Return how much of its share a conversation has left."""
        return _share() - self._counts.get(conversation, 0)

    def is_quiet(self, conversation: str) -> bool:
        """Say whether a conversation has little of the window, and others have the rest."""
        own = self._counts.get(conversation, 0)
        return own < WINDOW // 4 and own < len(self._unacknowledged)

    def set_writable(self, is_writable: bool) -> None:
        """The connection's write buffer has filled up, or has drained."""
        self._unwritable_since = None if is_writable else self._clock.monotonic()

    @property
    def is_full_of_bytes(self) -> bool:
        """Say whether no more may be pushed in this turn of the loop."""
        return self._burst_bytes >= BURST_BYTES

    def end_burst(self) -> bool:
        """The turn of the loop is over. Returns whether there was no room for more in it."""
        was_full = self.is_full_of_bytes
        self._burst_bytes = 0
        return was_full

    def add(
        self, id: str, conversation: str, sender: str, size_bytes: int, *, is_news: bool
    ) -> None:
        """Take in a message that is pushed, in a frame of so many bytes. One that is in the window
        already counts once. `is_news`: its sender is to hear of the acknowledgement.
        """
        self._burst_bytes += size_bytes
        if not self._unacknowledged:
            self._progress_at = self._clock.monotonic()
        if id not in self._unacknowledged:
            self._counts[conversation] = self._counts.get(conversation, 0) + 1
        self._unacknowledged[id] = Acknowledged(id, conversation, sender, is_news)

    def acknowledge(self, ids: Iterable[str]) -> list[Acknowledged]:
        """Take ids out of the window. Returns those that were in."""
        acknowledged = []
        for id in ids:
            known = self._unacknowledged.pop(id, None)
            if known is not None:
                acknowledged.append(known)
                self._count_down(known.conversation)
        if acknowledged:
            self._progress_at = self._clock.monotonic()
        return acknowledged

    def overdue(self, now: float, ack_timeout: float, write_timeout: float) -> str | None:
        """Return why the client makes no progress, or None when it does."""
        unwritable_since = self._unwritable_since
        if unwritable_since is not None and now - unwritable_since > write_timeout:
            return f"no write progress for {write_timeout:g} s"
        if self._unacknowledged and now - self._progress_at > ack_timeout:
            return f"no ack for {ack_timeout:g} s"
        return None

    def _count_down(self, conversation: str) -> None:
        self._counts[conversation] -= 1
        if not self._counts[conversation]:
            del self._counts[conversation]


def _share() -> int:
    """Return how much of the window a conversation may have that shares it with others."""
    return WINDOW - WINDOW // 4
