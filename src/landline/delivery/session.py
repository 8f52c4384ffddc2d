"""One session: which messages it has been given, and which it still has to be given.

Theory of operation. A session has a *cursor*, a vector of offsets with this meaning:

    every message below the cursor that the mailbox was owed has been pushed in this session.

A *pull* reads pending rows at or beyond the cursor from the store, pushes them, and moves the
cursor on; when a page comes back complete, the cursor moves to the `applied` of that same
snapshot, for there is nothing else below it. `pushed` remembers what went out beyond the cursor,
so a pull never repeats the fast path and the fast path never repeats a pull.

The fast path (`offer`) may push directly only while the session is LIVE. In the other states a
message goes to the short `held` list while a pull is running, and otherwise is only noted in
`missed`: the vector that the cursor has to reach before the session may be LIVE again. Nothing
else is kept, so a session that lags behind costs the same whether it misses one message or a
million.

    CATCHING_UP ── cursor covers barrier and missed ──▶ LIVE
    LIVE ── no room, or a message was missed ──▶ LAGGING
    LAGGING ── cursor covers missed ──▶ LIVE

Catching up, lagging and the sweep are the same pull; they differ in when it starts.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum

from landline.delivery.decisions import AwaitApplied, Decision, ReadPending, Transmit
from landline.model import (
    NOWHERE,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    covers,
    join,
)
from landline.ports import Clock
from landline.protocol import frames
from landline.protocol.limits import WINDOW

# Rows of one page: at 16 KiB of content each, a page is 1 MiB at the most.
PAGE_ROWS = 64
# What may arrive live while a pull runs and still be pushed from memory.
HELD_MESSAGES = WINDOW
# A repeated record has another offset, so below the cursor only the id can tell it: the last
# ids are remembered for that.
REMEMBERED_IDS = 1_024
# Ids pushed beyond the cursor cannot be forgotten before the writer has applied them. When it is
# away for long the session goes over to pulling instead of remembering more.
PUSHED_IDS = 8_192


class State(Enum):
    """Where a session stands; see the top of this file."""

    CATCHING_UP = "catching_up"
    LIVE = "live"
    LAGGING = "lagging"


class Session:
    """The delivery state of one session. Decisions go to `out`."""

    __slots__ = (
        "_clock",
        "_held",
        "_missed",
        "_out",
        "_swept_cursor",
        "auto_ack",
        "bad_frames",
        "barrier",
        "cursor",
        "id",
        "in_flight",
        "in_flight_bytes",
        "is_caught_up",
        "outstanding",
        "progress_at",
        "pulling",
        "pushed",
        "reading_paused",
        "replayed",
        "state",
        "unwritable_since",
        "user",
    )

    def __init__(
        self, id: str, user: str, *, auto_ack: bool, out: list[Decision], clock: Clock
    ) -> None:
        self.id = id
        self.user = user
        self.auto_ack = auto_ack
        self.state = State.CATCHING_UP
        self.barrier: Positions | None = None
        self.cursor: Positions = NOWHERE
        self.pushed: OrderedDict[str, Position] = OrderedDict()  # quick at its front
        # id -> (conversation, sender) of what the client has not acknowledged yet
        self.outstanding: dict[str, tuple[str, str]] = {}
        self.pulling = True
        self.replayed = 0
        self.is_caught_up = False
        self.progress_at = 0.0
        self.unwritable_since: float | None = None
        self.in_flight = 0
        self.in_flight_bytes = 0
        self.reading_paused = False
        self.bad_frames = 0
        self._missed: Positions = NOWHERE
        self._held: list[tuple[Message, bytes]] = []
        self._swept_cursor: Positions = NOWHERE
        self._out = out
        self._clock = clock

    @property
    def room(self) -> int:
        """Return how many more messages may be pushed now."""
        if self.unwritable_since is not None:
            return 0
        return WINDOW - len(self.outstanding)

    # The fast path ---------------------------------------------------------------------------

    def offer(self, message: Message, frame: bytes) -> bool:
        """Push a message that has just been appended, or see to it that a pull will.

        Returns whether it was pushed now.
        """
        if self._has(message):
            return False
        if self.state is State.LIVE:
            if self.room > 0 and len(self.pushed) < PUSHED_IDS:
                self._push(message, frame)
                return True
            self.state = State.LAGGING
            self.pulling = False
        elif self.pulling and len(self._held) < HELD_MESSAGES:
            self._held.append((message, frame))
            return False
        self._miss(message.position)
        self.resume()  # there may be room: then it was `pushed` that was full, and no ack is due
        return False

    # Pulling ---------------------------------------------------------------------------------

    def begin(self, ends: Positions) -> None:
        """Start catching up. `ends` was read after the directory knew the session."""
        self.barrier = ends
        self.pull()

    def pull(self) -> None:
        """Ask for the next page, as large as the window has room."""
        room = self.room
        if room <= 0:
            self._stall()
            return
        self.pulling = True
        query = PendingQuery(self.user, self.cursor, min(room, PAGE_ROWS))
        self._out.append(ReadPending(self.id, query))

    def page(self, pending: Pending, is_settled: Callable[[str, str], bool]) -> int:
        """Push a page and decide what comes next. Returns how many messages were pushed."""
        pushed = self._push_rows(pending, is_settled)
        if pushed is None:
            self._stall()
            return 0
        if not pending.complete:
            self.pull()
            return pushed
        self.cursor = join(self.cursor, pending.applied)
        self._forget_oldest()
        if not self.is_caught_up and self.barrier is not None and covers(self.cursor, self.barrier):
            self.is_caught_up = True
            self._out.append(Transmit(self.id, frames.caught_up(self.replayed)))
        self._go_live_or_on()
        return pushed

    def resume(self) -> None:
        """Go on pulling after the window opened, in good time: not page by single message."""
        if self.state is not State.LIVE and not self.pulling and self.room >= WINDOW // 2:
            self.pull()

    # The sweep -------------------------------------------------------------------------------

    def sweep_query(self) -> PendingQuery | None:
        """Return what the sweep should ask for, if this session is the sweep's business."""
        if self.pulling:
            return None
        if self.state is not State.LIVE:
            if self.room > 0:
                self.pull()
            return None
        return PendingQuery(self.user, self.cursor, max(1, min(self.room, PAGE_ROWS)))

    def swept(self, pending: Pending, is_settled: Callable[[str, str], bool]) -> int:
        """Push what the fast path has missed. Returns how many messages that were."""
        if self.state is not State.LIVE or self.pulling:
            return 0
        pushed = self._push_rows(pending, is_settled)
        if pushed is None or not pending.complete:
            self.state = State.LAGGING
            self.pulling = False
            self._missed = join(self._missed, pending.applied)
            self.resume()
            return pushed or 0
        self.cursor = join(self.cursor, pending.applied)
        self._forget_swept()
        return pushed

    # The client's side -----------------------------------------------------------------------

    def acknowledge(self, ids: Iterable[str]) -> list[tuple[str, str, str]]:
        """Take ids out of the window. Returns (id, conversation, sender) of those it held."""
        acknowledged = []
        for id in ids:
            entry = self.outstanding.pop(id, None)
            if entry is not None:
                acknowledged.append((id, *entry))
        if acknowledged:
            self.progress_at = self._clock.monotonic()
        return acknowledged

    def overdue(self, now: float, ack_timeout: float, write_timeout: float) -> str | None:
        """Return why the client makes no progress, or None when it does."""
        if self.unwritable_since is not None and now - self.unwritable_since > write_timeout:
            return f"no write progress for {write_timeout:g} s"
        if self.outstanding and now - self.progress_at > ack_timeout:
            return f"no ack for {ack_timeout:g} s"
        return None

    # Inside ----------------------------------------------------------------------------------

    def _has(self, message: Message) -> bool:
        partition, offset = message.position
        return message.id in self.pushed or offset < self.cursor.get(partition, 0)

    def _push(self, message: Message, frame: bytes) -> None:
        if not self.outstanding:
            self.progress_at = self._clock.monotonic()
        self.outstanding[message.id] = (message.conversation, message.sender)
        self.pushed[message.id] = message.position
        self._out.append(Transmit(self.id, frame))

    def _push_rows(self, pending: Pending, is_settled: Callable[[str, str], bool]) -> int | None:
        """Push rows in order, the cursor with them. None: the window was full before the end."""
        pushed = 0
        last: Position | None = None
        for message in pending.messages:
            # Settled: acknowledged already, the receipt is still on its way through the log.
            if not self._has(message) and not is_settled(message.id, self.user):
                if self.room <= 0:
                    self._move_past(last, pending.applied)
                    return None
                self._push(message, frames.message(message, replay=True))
                pushed += 1
                if not self.is_caught_up:
                    self.replayed += 1
            last = message.position
        self._move_past(last, pending.applied)
        self._forget_oldest()
        return pushed

    def _move_past(self, last: Position | None, applied: Positions) -> None:
        """Move the cursor behind `last`, of a page that is ordered by partition and offset."""
        if last is None:
            return
        considered = {p: offset for p, offset in applied.items() if p < last.partition}
        considered[last.partition] = last.offset + 1
        self.cursor = join(self.cursor, considered)

    def _go_live_or_on(self) -> None:
        needed = join(self.barrier or NOWHERE, self._missed)
        if not covers(self.cursor, needed):
            self._out.append(AwaitApplied(self.id, needed))
            return
        self.state = State.LIVE
        self.pulling = False
        self._missed = NOWHERE
        held, self._held = self._held, []
        for message, frame in sorted(held, key=lambda item: item[0].position):
            self.offer(message, frame)

    def _stall(self) -> None:
        """Stop pulling until the window opens; what was held will be read from the store.

        A session that pulls is not LIVE, so there is no state to leave.
        """
        self.pulling = False
        for message, _frame in self._held:
            self._miss(message.position)
        self._held.clear()

    def _miss(self, position: Position) -> None:
        self._missed = join(self._missed, {position.partition: position.offset + 1})

    def _forget_oldest(self) -> None:
        while len(self.pushed) > REMEMBERED_IDS:
            partition, offset = next(iter(self.pushed.values()))
            if offset >= self.cursor.get(partition, 0):
                return
            self.pushed.popitem(last=False)

    def _forget_swept(self) -> None:
        """Forget ids that were below the cursor a whole sweep ago: an idle session keeps none."""
        before, self._swept_cursor = self._swept_cursor, self.cursor
        if self.pushed:
            self.pushed = OrderedDict(
                (id, position)
                for id, position in self.pushed.items()
                if position.offset >= before.get(position.partition, 0)
            )
