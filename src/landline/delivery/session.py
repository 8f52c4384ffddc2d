"""One session: which messages it has been given, and which it still has to be given.

Theory of operation. A session has a *cursor*, a vector of offsets with this meaning:

    every message below the cursor that the mailbox was owed has been pushed in this session.

A *pull* reads pending rows at or beyond the cursor from the store, pushes them, and moves the
cursor on; when a page comes back complete, the cursor moves to the `applied` of that same
snapshot, for there is nothing else below it. `pushed` remembers what went out beyond the cursor,
so a pull never repeats the fast path and the fast path never repeats a pull.

The fast path (`offer`) pushes directly while the session is LIVE. In the other states a message
goes to the short `held` list while a pull is running, and otherwise is only noted in `missed`: the
vector that the cursor has to reach before the session may be LIVE again. Nothing else is kept, so a
session that lags behind costs the same whether it misses one message or a million.

    CATCHING_UP ── cursor covers barrier and missed ──▶ LIVE
    CATCHING_UP ── cursor covers barrier, not missed ──▶ LAGGING
    LIVE ── no room, or a message was missed ──▶ LAGGING
    LAGGING ── cursor covers missed ──▶ LIVE

A store that is away for minutes makes nobody deaf. Once catching up takes longer than
DEAF_SECONDS, or a pull of a LAGGING session brings nothing for as long, what is held is pushed
meanwhile, in the order of the log, and what comes then behind it. The last PAGE_ROWS of the window,
and of a conversation's share of it, are left to the page that is on its way, so that however many
live messages come, the older ones come too. What a page brings that was pushed meanwhile is skipped
as ever, by `pushed`; when that is full (`memory`), messages are missed again.

Catching up, lagging and the sweep are the same pull; they differ in when it starts.

A flood must not keep other messages waiting behind it. So once a page was cut off, pulls ask in
turns: of some conversations the page also brings the oldest rows *ahead* of the cursor. They are
pushed first. What was pushed ahead is remembered as a cursor of that conversation alone:

    every message of the conversation below it that the mailbox was owed has been pushed.

A pull names these cursors, for what was pushed stays pending until it is acknowledged: the next
turn brings what comes after. A cursor is forgotten when that of the session has passed it, or when
the store shows that nothing of the conversation below it is pending any more, so that no page can
bring it again. A hint that comes late still could. So nothing is taken from a hint that is below a
cursor which was forgotten: the store has all of that, and a page brings what is pending.

Of the window a part is kept for others as soon as a conversation is not alone in it. A session that
waits for acks pulls for them meanwhile, once in QUIET_SECONDS at the most.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from heapq import nsmallest

from landline.delivery.counters import Counters
from landline.delivery.decisions import AwaitApplied, Decision, ReadPending, Transmit
from landline.delivery.memory import Held, HeldMessage, Memory, Pushed
from landline.delivery.unread import Unread
from landline.model import (
    FIRST_TURN,
    NO_CURSORS,
    NOWHERE,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    Turn,
    covers,
    join,
)
from landline.ports import Clock
from landline.protocol import frames
from landline.protocol.limits import WINDOW

# Rows of one page: at 16 KiB of content each, a page is 1 MiB at the most.
PAGE_ROWS = 64
# How long a session may hear nothing live while it waits for the store.
DEAF_SECONDS = 5.0
# Conversations with a cursor of their own. While there are so many, no further one is served ahead;
# those that have been acknowledged are forgotten as their turns come round.
AHEAD_CONVERSATIONS = 1_024
# How often a session that waits for acks pulls for conversations that are quiet, while there is
# less room than for a page in good time.
QUIET_SECONDS = 1.0
# So many of them a pull names: more than have their turn, for some have nothing pending any more.
NAMED_CONVERSATIONS = 32


class State(Enum):
    """Where a session stands; see the top of this file."""

    CATCHING_UP = "catching_up"
    LIVE = "live"
    LAGGING = "lagging"


class Session:
    """The delivery state of one session. Decisions go to `out`."""

    __slots__ = (
        "_ahead",
        "_asked",
        "_clock",
        "_counters",
        "_deaf_since",
        "_forgotten",
        "_held",
        "_is_quiet_missed",
        "_is_shared",
        "_missed",
        "_out",
        "_own",
        "_pulled_at",
        "_swept_cursor",
        "_turn",
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
        "unread",
        "unwritable_since",
        "user",
    )

    def __init__(
        self,
        id: str,
        user: str,
        *,
        auto_ack: bool,
        out: list[Decision],
        clock: Clock,
        memory: Memory,
        counters: Counters,
    ) -> None:
        self.id = id
        self.user = user
        self.auto_ack = auto_ack
        self.state = State.CATCHING_UP
        self.barrier: Positions | None = None
        self.cursor: Positions = NOWHERE
        self.pushed = Pushed(memory.pushed)
        # id -> (conversation, sender) of what the client has not acknowledged yet
        self.outstanding: dict[str, tuple[str, str]] = {}
        self._own: dict[str, int] = {}  # how many of them each conversation has
        self.pulling = True
        self.replayed = 0
        self.is_caught_up = False
        self.progress_at = 0.0
        self.unread = Unread()
        self.unwritable_since: float | None = None
        self.in_flight = 0
        self.in_flight_bytes = 0
        self.reading_paused = False
        self.bad_frames = 0
        self._missed: Positions = NOWHERE
        self._held = Held(memory.held)
        self._swept_cursor: Positions = NOWHERE
        self._turn: Turn | None = None  # None: a page in the order of the log is enough
        self._ahead: dict[Turn, int] = {}
        self._forgotten: Positions = NOWHERE  # partition -> the highest of those that were
        self._asked: PendingQuery | None = None  # what the last pull asked for
        self._is_shared = False  # several conversations have met in the window since it was live
        self._is_quiet_missed = False  # a message of one that has little of the window
        self._pulled_at = -QUIET_SECONDS
        self._out = out
        self._clock = clock
        self._counters = counters
        self._deaf_since = clock.monotonic()

    @property
    def room(self) -> int:
        """Return how many more messages may be pushed now."""
        if self.unwritable_since is not None:
            return 0
        return WINDOW - len(self.outstanding)

    # The fast path ---------------------------------------------------------------------------

    def offer(self, message: Message | HeldMessage, frame: bytes) -> None:
        """Push a message that has just been appended, or see to it that a pull will."""
        if self._has(message) or self._is_late(message):
            return
        if self.state is State.LIVE:
            if self._has_room(message.conversation) and self.pushed.has_room():
                self._push_live(message, frame)
                return
            self._lag()
        elif self.pulling:
            if self._held.add(message, frame):
                if self._has_room_early(message.conversation):
                    self.push_held()
                return
            self.push_held()  # what came before goes first
            if self._may_pass_held(message.conversation):
                self._push_live(message, frame)
                return
        self._miss(message)
        self.resume()  # there may be room: then it was `pushed` that was full, and no ack is due

    def push_held(self) -> None:
        """Push what is held if the store has been awaited for long. Call it now and then."""
        if not self.pulling or not self._held or not self._is_deaf_for_long():
            return
        if self.room > PAGE_ROWS and self.pushed.has_room():
            self._held.drop(self._push_early)

    def _push_early(self, message: HeldMessage) -> bool:
        """Push a message that is held, unless it takes room that is left to the page."""
        if not self._has_room_early(message.conversation):
            return False
        if not self._has(message):
            if self.room <= PAGE_ROWS or not self.pushed.has_room():
                return False
            self._push_live(message, message.frame)
        return True

    def _may_pass_held(self, conversation: str) -> bool:
        """Say whether a message may be pushed at once that finds no room to be held: others, who
        acknowledge nothing, may have all of it.
        """
        is_next = not self._held and self._is_deaf_for_long()
        has_room = self.room > PAGE_ROWS and self.pushed.has_room()
        return is_next and has_room and self._has_room_early(conversation)

    def _has_room_early(self, conversation: str) -> bool:
        return self._own.get(conversation, 0) < _share() - PAGE_ROWS

    def leave(self) -> None:
        """Give back the memory: the session has ended."""
        self._held.take_all()
        self.pushed.clear()

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
        if not self.pulling and self.state is State.LAGGING:
            self._deaf_since = self._clock.monotonic()
        self.pulling = True
        self._pulled_at = self._clock.monotonic()
        self._is_quiet_missed = False
        limit = min(room, PAGE_ROWS)
        cursors = self._next_ahead()
        self._asked = PendingQuery(self.user, self.cursor, limit, self._turn, cursors=cursors)
        self._out.append(ReadPending(self.id, self._asked))

    def page(
        self, query: PendingQuery, pending: Pending, is_settled: Callable[[str, str], bool]
    ) -> None:
        """Push what the store has answered to a pull or to the sweep; decide what comes next."""
        if query is self._asked:
            self._counters.pushed_replay += self._pulled(pending, is_settled)
        elif self.state is State.LIVE and not self.pulling:
            self._counters.pushed_sweep += self._swept(pending, is_settled)

    def _pulled(self, pending: Pending, is_settled: Callable[[str, str], bool]) -> int:
        pushed = self._push_rows(pending, is_settled)
        is_all = pending.complete and pushed is not None
        self._turn = None if is_all else pending.turn or self._turn or FIRST_TURN
        self._note_caught_up()
        if pushed is None:
            self._stall()
            return 0
        # Once a session hears live messages it goes on until it is LIVE, or has to wait for acks.
        if pushed and self.state is State.LAGGING and not self._is_deaf_for_long():
            self._deaf_since = self._clock.monotonic()
        if not pending.complete:
            self.pull()
            return pushed
        self._go_live_or_on()
        return pushed

    def _note_caught_up(self) -> None:
        if not self.is_caught_up and self.barrier is not None and covers(self.cursor, self.barrier):
            self.is_caught_up = True
            self._out.append(Transmit(self.id, frames.caught_up(self.replayed)))

    def resume(self) -> None:
        """Go on after the window opened: pull in good time, not page by single message."""
        self.push_held()
        if self.state is State.LIVE or self.pulling:
            return
        if self.room >= WINDOW // 2 or (self.room > 0 and self._is_quiet_due()):
            self.pull()

    def _is_quiet_due(self) -> bool:
        waited = self._clock.monotonic() - self._pulled_at
        return self._is_quiet_missed and waited >= QUIET_SECONDS

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

    def _swept(self, pending: Pending, is_settled: Callable[[str, str], bool]) -> int:
        """Push what the fast path has missed."""
        pushed = self._push_rows(pending, is_settled)
        if pushed is None or not pending.complete:
            self._lag()
            self._missed = join(self._missed, pending.applied)
            self.resume()
            return pushed or 0
        # What was below the cursor a whole sweep ago: an idle session keeps none.
        self.pushed.forget_below(self._swept_cursor)
        self._swept_cursor = self.cursor
        return pushed

    # The client's side -----------------------------------------------------------------------

    def acknowledge(self, ids: Iterable[str]) -> list[tuple[str, str, str]]:
        """Take ids out of the window. Returns (id, conversation, sender) of those it held."""
        acknowledged = []
        for id in ids:
            entry = self.outstanding.pop(id, None)
            if entry is not None:
                acknowledged.append((id, *entry))
                self._count(entry[0], -1)
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

    def _has(self, message: Message | HeldMessage) -> bool:
        partition, offset = message.position
        if message.id in self.pushed or offset < self.cursor.get(partition, 0):
            return True
        return bool(self._ahead) and offset < self._ahead.get(_turn_of(message), 0)

    def _is_late(self, message: Message | HeldMessage) -> bool:
        """Say whether it may have been pushed ahead, which is forgotten. Else a page brings it."""
        partition, offset = message.position
        return bool(self._forgotten) and offset < self._forgotten.get(partition, 0)

    def _has_room(self, conversation: str) -> bool:
        """Say whether a message of this conversation may be pushed now. One that shares the window
        with others leaves a quarter of it to them.
        """
        if self.room <= 0:
            return False
        own = self._own.get(conversation, 0)
        share = _share()
        return own < share or (own == len(self.outstanding) and not self._is_shared)

    def _push_live(self, message: Message | HeldMessage, frame: bytes) -> None:
        self._push(message, frame)
        self._counters.pushed_live += 1

    def _push(self, message: Message | HeldMessage, frame: bytes) -> None:
        if not self.outstanding:
            self.progress_at = self._clock.monotonic()
        if message.id not in self.outstanding:
            self._count(message.conversation, 1)
        self.outstanding[message.id] = (message.conversation, message.sender)
        self.pushed.add(message.id, message.position)
        self._out.append(Transmit(self.id, frame))

    def _count(self, conversation: str, change: int) -> None:
        self._own[conversation] = self._own.get(conversation, 0) + change
        if not self._own[conversation]:
            del self._own[conversation]

    def _push_rows(self, pending: Pending, is_settled: Callable[[str, str], bool]) -> int | None:
        """Push rows, each conversation's in order, cursors with them. None: some had no room."""
        pushed = 0
        # Before any is forgotten: else those that are served now would keep others out for ever.
        may_begin = len(self._ahead) < AHEAD_CONVERSATIONS
        self._forget_turns(pending)
        left: dict[int, int] = {}  # partition -> the first row that the cursor does not pass
        rows = (*pending.ahead, *pending.messages)
        if self.state is not State.LIVE and len({each.conversation for each in rows}) > 1:
            self._is_shared = True
        for number, message in enumerate(rows):
            # Settled: acknowledged already, the receipt is still on its way through the log.
            if self._has(message) or is_settled(message.id, self.user):
                continue
            partition, offset = message.position
            turn = _turn_of(message)
            is_ahead = number < len(pending.ahead)
            is_beyond = is_ahead or partition in left
            may_note = may_begin or turn in self._ahead
            if not self._has_room(message.conversation) or (is_beyond and not may_note):
                if not is_ahead:
                    left.setdefault(partition, offset)
                continue
            self._push(message, frames.message(message, replay=True))
            pushed += 1
            if not self.is_caught_up:
                self.replayed += 1
            if is_beyond:
                self._ahead[turn] = offset + 1
                # The id may be forgotten like those below the cursor.
                below = Position(partition, self.cursor.get(partition, 0) - 1)
                self.pushed.add(message.id, below)
        self._move_cursor(pending.applied if pending.complete else pending.until, left)
        return None if left else pushed

    def _move_cursor(self, until: Positions, left: dict[int, int]) -> None:
        if left:
            until = {each: min(offset, left.get(each, offset)) for each, offset in until.items()}
        self.cursor = join(self.cursor, until)
        if self._ahead:
            self._ahead = {
                turn: offset
                for turn, offset in self._ahead.items()
                if offset > self.cursor.get(turn.partition, 0)
            }
        if self._forgotten:
            self._forgotten = {
                partition: offset
                for partition, offset in self._forgotten.items()
                if offset > self.cursor.get(partition, 0)
            }
        self.pushed.forget_oldest(self.cursor)

    def _forget_turns(self, pending: Pending) -> None:
        """Forget conversations that had their turn and have nothing pending below their cursor."""
        if pending.turn is None or self._asked is None:
            return
        passed = [
            turn
            for turn in self._asked.cursors
            if (pending.turn == FIRST_TURN or turn <= pending.turn) and turn not in pending.below
        ]
        if passed:
            self._held.drop(self._has)  # what is known by these cursors alone
            for turn in passed:
                offset = self._ahead.pop(turn)
                self._forgotten = join(self._forgotten, {turn.partition: offset})

    def _next_ahead(self) -> Mapping[Turn, int]:
        """Return the cursors of conversations that may be among the next to have their turn."""
        behind = self._turn
        if behind is None or not self._ahead:
            return NO_CURSORS
        turns = nsmallest(NAMED_CONVERSATIONS, (each for each in self._ahead if each > behind))
        return {turn: self._ahead[turn] for turn in turns}

    def _go_live_or_on(self) -> None:
        needed = join(self.barrier or NOWHERE, self._missed)
        if not covers(self.cursor, needed):
            if self.is_caught_up:
                self.state = State.LAGGING
            self._out.append(AwaitApplied(self.id, needed))
            return
        self.state = State.LIVE
        self._is_shared = False
        self.pulling = False
        self._missed = NOWHERE
        for message in self._held.take_all():
            self.offer(message, message.frame)

    def _lag(self) -> None:
        self.state = State.LAGGING
        self._turn = FIRST_TURN
        self.pulling = False
        self._deaf_since = self._clock.monotonic()

    def _is_deaf_for_long(self) -> bool:
        return self._clock.monotonic() - self._deaf_since > DEAF_SECONDS

    def _stall(self) -> None:
        """Stop pulling until the window opens; what was held will be read from the store.

        A session that pulls is not LIVE, so there is no state to leave.
        """
        self.pulling = False
        for message in self._held.take_all():
            self._miss(message)

    def _miss(self, message: Message | HeldMessage) -> None:
        partition, offset = message.position
        self._missed = join(self._missed, {partition: offset + 1})
        own = self._own.get(message.conversation, 0)
        if own < WINDOW // 4 and own < len(self.outstanding):
            self._is_shared = self._is_quiet_missed = True


def _share() -> int:
    """Return how much of the window a conversation may have that is not alone in it."""
    return WINDOW - WINDOW // 4


def _turn_of(message: Message | HeldMessage) -> Turn:
    return Turn(message.conversation, message.position.partition)
