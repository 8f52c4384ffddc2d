"""One session: which messages it has been given, and which it still has to be given.

Theory of operation. A session has a *cursor*, a vector of offsets with this meaning:

    every message below the cursor that the mailbox was owed has been pushed in this session.

A *pull* reads pending rows at or beyond the cursor from the store, pushes them, and moves the
cursor on. When a page comes back complete, the cursor moves to the `applied` of that same
snapshot, because nothing else is below it. `pushed` remembers what went out beyond the cursor, so
a pull never repeats the fast path and the fast path never repeats a pull.

The fast path (`offer`) pushes directly while the session is LIVE. In the other states a message
goes to the short `held` list while a pull is running. Otherwise it is only noted in `missed`: the
vector that the cursor has to reach before the session may be LIVE again. Nothing else is kept, so a
session that lags behind costs the same whether it misses one message or a million.

    CATCHING_UP ── cursor covers barrier and missed ──▶ LIVE
    CATCHING_UP ── cursor covers barrier, not missed ──▶ LAGGING
    LIVE ── no room, or a message was missed ──▶ LAGGING
    LAGGING ── cursor covers missed ──▶ LIVE

A store that is down for minutes makes no session deaf. This begins once catching up takes longer
than DEAF_SECONDS, or a pull of a LAGGING session has brought nothing for as long. Then the held
messages are pushed in the order of the log, and later ones behind them. The last PAGE_ROWS of the
window, and of a conversation's share of it, are left to the page that is on its way. So the older
messages come too, however many live ones come. What a page brings that was pushed meanwhile is
skipped because it is in `pushed`. When that is full (`memory`), messages are missed again.

Catching up, lagging and the sweep are the same pull; they differ in when it starts.

A flood must not keep other messages waiting behind it: see `ahead`. The `window` keeps a part for
others as soon as a conversation is not alone in it. A session that waits for acks pulls for quiet
conversations meanwhile, at most once in QUIET_SECONDS.
"""

from collections.abc import Callable
from enum import Enum

from landline.delivery.ahead import Ahead, place_of
from landline.delivery.counters import Counters
from landline.delivery.decisions import AwaitApplied, Decision, ReadPending, Transmit
from landline.delivery.devices import DeviceState
from landline.delivery.intake import Intake
from landline.delivery.memory import Held, HeldMessage, Memory, Pushed
from landline.delivery.window import Window
from landline.model import (
    FIRST_TURN,
    NOWHERE,
    Mailbox,
    Message,
    Pending,
    PendingQuery,
    Position,
    Positions,
    covers,
    join,
)
from landline.ports import Clock
from landline.protocol import server_frames
from landline.protocol.identity import is_room
from landline.protocol.limits import WINDOW

# Rows of one page: at 16 KiB of content each, a page is 1 MiB at the most.
PAGE_ROWS = 64
# How long a session may hear nothing live while it waits for the store.
DEAF_SECONDS = 5.0
# How often a session without room for an ordinary pull pulls for quiet conversations.
QUIET_SECONDS = 1.0


class State(Enum):
    """Where a session stands; see the top of this file."""

    CATCHING_UP = "catching_up"
    LIVE = "live"
    LAGGING = "lagging"


class Session:
    """The delivery state of one session. Decisions go to `out`.

    It is one state machine, so it has many attributes: each event reads several of them. What can
    be understood alone is elsewhere: `window`, `ahead`, `intake`, `pushed`, held messages.
    """

    __slots__ = (
        "_asked",
        "_bursting",
        "_clock",
        "_counters",
        "_deaf_since",
        "_held",
        "_is_quiet_missed",
        "_missed",
        "_out",
        "_pulled_at",
        "_swept_cursor",
        "ahead",
        "auto_ack",
        "barrier",
        "cursor",
        "device",
        "has_begun",
        "id",
        "intake",
        "is_caught_up",
        "mailbox",
        "pulling",
        "pushed",
        "replayed",
        "state",
        "window",
    )

    def __init__(
        self,
        id: str,
        mailbox: Mailbox,
        *,
        auto_ack: bool,
        out: list[Decision],
        clock: Clock,
        memory: Memory,
        counters: Counters,
        bursting: "dict[str, Session]",
    ) -> None:
        """`bursting`: where those are kept that were pushed something in this turn of the loop."""
        self.id = id
        self.mailbox = mailbox
        self.device = DeviceState()
        self.has_begun = False  # the log's ends are read, or have been
        self.auto_ack = auto_ack
        self.intake = Intake()
        self.state = State.CATCHING_UP
        self.barrier: Positions | None = None
        self.cursor: Positions = NOWHERE
        self.pushed = Pushed(memory.pushed)
        self.window = Window(clock)
        self.ahead = Ahead()
        self.pulling = True
        self.replayed = 0
        self.is_caught_up = False
        self._missed: Positions = NOWHERE
        self._held = Held(memory.held)
        self._swept_cursor: Positions = NOWHERE
        self._asked: PendingQuery | None = None  # what the last pull asked for
        self._is_quiet_missed = False  # a message of one that has little of the window
        self._pulled_at = -QUIET_SECONDS
        self._out = out
        self._clock = clock
        self._counters = counters
        self._bursting = bursting
        self._deaf_since = clock.monotonic()

    @property
    def user(self) -> str:
        """Return whose session it is."""
        return self.mailbox.user

    # The fast path ---------------------------------------------------------------------------

    def offer(self, message: Message | HeldMessage, frame: bytes) -> None:
        """Push a message that has just been appended, or see to it that a pull will."""
        if self._has(message) or self.ahead.may_have_had(message):
            return
        is_news = self._is_news(message)
        if self.state is State.LIVE:
            if self.window.has_room(message.conversation) and self.pushed.has_room():
                self._push_live(message, frame, is_news=is_news)
                return
            self._lag()
        elif self.pulling:
            if self._held.add(message, frame, is_news=is_news):
                if self._has_room_early(message.conversation):
                    self.push_held()
                return
            self.push_held()  # what came before goes first
            if self._may_pass_held(message.conversation):
                self._push_live(message, frame, is_news=is_news)
                return
        self._miss(message)
        self.resume()  # there may be room: then it was `pushed` that was full, and no ack is due

    def leave_room(self, room: str) -> None:
        """Its user was removed from a room, and is owed nothing more of it."""
        self._held.drop(lambda each: each.conversation == room)

    def push_held(self) -> None:
        """Push what is held if the store has been awaited for long. Call it now and then."""
        if not self.pulling or not self._held or not self._is_deaf_for_long():
            return
        if self._has_room_beside_a_page():
            self._held.drop(self._push_early)

    def _push_early(self, message: HeldMessage) -> bool:
        """Push a message that is held, unless it takes room that is left to the page."""
        if not self._has_room_early(message.conversation):
            return False
        if not self._has(message):
            if not self._has_room_beside_a_page():
                return False
            self._push_live(message, message.frame, is_news=message.is_news)
        return True

    def _may_pass_held(self, conversation: str) -> bool:
        """Say whether a message that finds no room to be held may be pushed at once. Sessions that
        acknowledge nothing may have taken all of that room.
        """
        is_next = not self._held and self._is_deaf_for_long()
        return is_next and self._has_room_beside_a_page() and self._has_room_early(conversation)

    def _has_room_beside_a_page(self) -> bool:
        return self.window.room > PAGE_ROWS and self.pushed.has_room()

    def _has_room_early(self, conversation: str) -> bool:
        return self.window.share_left(conversation) > PAGE_ROWS

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
        room = self.window.room
        if room <= 0:
            self._stall()
            return
        if not self.pulling and self.state is State.LAGGING:
            self._deaf_since = self._clock.monotonic()
        self.pulling = True
        self._pulled_at = self._clock.monotonic()
        self._is_quiet_missed = False
        limit, cursors = min(room, PAGE_ROWS), self.ahead.next_cursors()
        self._asked = PendingQuery(
            self.mailbox, self.cursor, limit, self.ahead.turn, cursors=cursors
        )
        self._out.append(ReadPending(self.id, self._asked))

    def page(
        self, query: PendingQuery, pending: Pending, is_settled: Callable[[str, Mailbox], bool]
    ) -> None:
        """Push what the store has answered to a pull or to the sweep; decide what comes next."""
        if self.has_asked(query):
            self._counters.pushed_replay += self._pulled(pending, is_settled)
        elif self.state is State.LIVE and not self.pulling:
            self._counters.pushed_sweep += self._swept(pending, is_settled)

    def has_asked(self, query: PendingQuery) -> bool:
        """Say whether this is the query of the last pull. Otherwise it is the sweep's."""
        return query is self._asked

    def _pulled(self, pending: Pending, is_settled: Callable[[str, Mailbox], bool]) -> int:
        pushed = self._push_rows(pending, is_settled)
        is_all = pending.complete and pushed is not None
        self.ahead.turn = None if is_all else pending.turn or self.ahead.turn or FIRST_TURN
        self.note_caught_up()
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

    def note_caught_up(self) -> None:
        """Say so, once: all of the beginning is pushed, and the device is owed what is to come."""
        if self.is_caught_up or self.barrier is None or not self.device.is_complete:
            return
        if covers(self.cursor, self.barrier):
            self.is_caught_up = True
            self._out.append(Transmit(self.id, server_frames.caught_up(self.replayed)))

    def end_burst(self) -> None:
        """The turn of the loop is over: go on, if there was too much for it. No acknowledgement has
        to come first.
        """
        if not self.window.end_burst():
            return
        self.push_held()
        if self.state is not State.LIVE and not self.pulling and self.window.room > 0:
            self.pull()

    def resume(self) -> None:
        """Go on after the window opened: pull in good time, not page by single message."""
        self.push_held()
        if self.state is State.LIVE or self.pulling:
            return
        room = self.window.room
        if room >= WINDOW // 2 or (room > 0 and self._is_quiet_due()):
            self.pull()

    def _is_quiet_due(self) -> bool:
        return self._is_quiet_missed and self._clock.monotonic() - self._pulled_at >= QUIET_SECONDS

    # The sweep -------------------------------------------------------------------------------

    def sweep_query(self) -> PendingQuery | None:
        """Return what the sweep should ask for, if this session is the sweep's business."""
        if self.pulling:
            return None
        room = self.window.room
        if self.state is not State.LIVE:
            if room > 0:
                self.pull()
            return None
        return PendingQuery(self.mailbox, self.cursor, max(1, min(room, PAGE_ROWS)))

    def _swept(self, pending: Pending, is_settled: Callable[[str, Mailbox], bool]) -> int:
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

    # Inside ----------------------------------------------------------------------------------

    def _has(self, message: Message | HeldMessage) -> bool:
        partition, offset = message.position
        return (
            message.id in self.pushed
            or offset < self.cursor.get(partition, 0)
            or self.ahead.has(message)
        )

    def _is_news(self, message: Message | HeldMessage) -> bool:
        """Say whether the sender is to hear that it was acknowledged. That one's own other device
        has it is no delivery, and in a room the sender asks.
        """
        if isinstance(message, HeldMessage):
            return message.is_news
        is_own = message.sender == self.user and self.user not in message.recipients
        return not (message.is_received or is_own or is_room(message.conversation))

    def _push_live(self, message: Message | HeldMessage, frame: bytes, *, is_news: bool) -> None:
        self._push(message, frame, is_news=is_news)
        self._counters.pushed_live += 1

    def _push(self, message: Message | HeldMessage, frame: bytes, *, is_news: bool) -> None:
        self.window.add(
            message.id, message.conversation, message.sender, len(frame), is_news=is_news
        )
        self._bursting[self.id] = self
        self.pushed.add(message.id, message.position)
        self._out.append(Transmit(self.id, frame))

    def _push_rows(
        self, pending: Pending, is_settled: Callable[[str, Mailbox], bool]
    ) -> int | None:
        """Push rows, each conversation's in order, cursors with them. None: some had no room."""
        pushed = 0
        # Before any is forgotten: else those that are served now would keep others out for ever.
        may_begin = self.ahead.has_room()
        self._forget_served_out(pending)
        left: dict[int, int] = {}  # partition -> the first row that the cursor does not pass
        rows = (*pending.ahead, *pending.messages)
        if self.state is not State.LIVE and len({each.conversation for each in rows}) > 1:
            self.window.is_shared = True
        for number, message in enumerate(rows):
            # Settled: acknowledged already, the receipt is still on its way through the log.
            if self._has(message) or is_settled(message.id, self.mailbox):
                continue
            partition, offset = message.position
            is_ahead = number < len(pending.ahead)
            is_beyond = is_ahead or partition in left
            may_note = may_begin or place_of(message) in self.ahead
            if not self.window.has_room(message.conversation) or (is_beyond and not may_note):
                if not is_ahead:
                    left.setdefault(partition, offset)
                continue
            frame = server_frames.message(message, replay=True)
            self._push(message, frame, is_news=self._is_news(message))
            pushed += 1
            if not self.is_caught_up:
                self.replayed += 1
            if is_beyond:
                self.ahead.note(message)
                # The id may be forgotten like those below the cursor.
                below = Position(partition, self.cursor.get(partition, 0) - 1)
                self.pushed.add(message.id, below)
        self._move_cursor(pending.applied if pending.complete else pending.until, left)
        return None if left else pushed

    def _move_cursor(self, until: Positions, left: dict[int, int]) -> None:
        if left:
            until = {each: min(offset, left.get(each, offset)) for each, offset in until.items()}
        self.cursor = join(self.cursor, until)
        self.ahead.forget_passed(self.cursor)
        self.pushed.forget_oldest(self.cursor)

    def _forget_served_out(self, pending: Pending) -> None:
        """Forget conversations that had their turn and have nothing pending below their cursor."""
        assert self._asked is not None, "a page answers what was asked"
        if turns := self.ahead.served_out(self._asked, pending):
            self._held.drop(self._has)  # what is known by these cursors alone
            self.ahead.forget(turns)

    def _go_live_or_on(self) -> None:
        needed = join(self.barrier or NOWHERE, self._missed)
        if not covers(self.cursor, needed):
            if self.is_caught_up:
                self.state = State.LAGGING
            self._out.append(AwaitApplied(self.id, needed))
            return
        self.state = State.LIVE
        self.window.is_shared = False
        self.pulling = False
        self._missed = NOWHERE
        for message in self._held.take_all():
            self.offer(message, message.frame)

    def _lag(self) -> None:
        self.state = State.LAGGING
        self.ahead.turn = FIRST_TURN
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
        if self.window.is_quiet(message.conversation):
            self.window.is_shared = self._is_quiet_missed = True
