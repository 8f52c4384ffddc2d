"""Who is in which room, as far as this server has to know: for requests, and for what is pushed.

The store knows it. What it has said is good for ROOM_SECONDS, so that who was removed gets nothing
any more soon after. It is old at once when a change of its members was accepted: here, or
elsewhere, which a hint says. Then the store is asked again, once it has applied that change. While
the store is away what was known last goes on, unless such a change was heard of, but nobody's
membership is changed by it.

Whoever is not found in a room is looked for again, once the store has applied what the log holds:
the room, or their place in it, may be that new. So it takes as long to be refused for a room that
is somebody else's as for one that does not exist.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from sys import getsizeof
from typing import Any, NamedTuple

from landline.delivery import Delivery
from landline.delivery.decisions import PushToRoom, TellRoom
from landline.errors import LogUnavailable, StoreUnavailable
from landline.model import EventKind, Room
from landline.observability.logging import get_logger
from landline.ports import Clock, ConversationStore, EventLog, MessageStore
from landline.protocol.events import changed_user

ROOM_SECONDS = 1.0
ASK_SECONDS = 3.0
# Rooms that are remembered, and members of all of them together; direct conversations.
REMEMBERED_ROOMS = 10_000
REMEMBERED_MEMBERS = 200_000
REMEMBERED_DIRECT = 10_000
# What waits for the members of one room, and for those of all rooms; beyond that it is left to the
# sweep.
WAITING_PUSHES = 1_000
WAITING_BYTES = 16 * 1024 * 1024

# After the store has not answered, so long what was known last goes on without a wait.
LAST_WORD_SECONDS = 5.0
# For so long after somebody was let join it is looked whether the store has them.
JOINING_SECONDS = 5.0
# Rooms that are asked for in one question.
ASKED_TOGETHER = 500

_LONG_AGO = float("-inf")
_AWAY = "the store has not answered a moment ago"
_TROUBLE = (TimeoutError, StoreUnavailable, LogUnavailable)

log = get_logger(__name__)


@dataclass(slots=True)
class _Known:
    """What the store has said of a room. `room` None: there is none."""

    room: Room | None
    asked_at: float
    changed_at: int  # the offset of the last change that was heard of: older answers do not count
    failed_at: float = _LONG_AGO  # when the store has not answered last

    @property
    def size(self) -> int:
        return 1 if self.room is None else len(self.room.members)


class _Asking(NamedTuple):
    """A question to the store. Its answer has every change up to `changed_at`, and what had been
    applied when the question of this number was asked.
    """

    answer: asyncio.Future[Room | None]
    changed_at: int
    number: int


class _Answer(NamedTuple):
    """What the store has said of a room, and when it was asked."""

    room: Room | None
    asked_at: float


class Rooms:
    """Knows rooms, and carries out `PushToRoom` and `TellRoom`."""

    def __init__(
        self,
        *,
        event_log: EventLog,
        store: MessageStore,
        conversations: ConversationStore,
        delivery: Delivery,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        happened: Callable[[], None],
    ) -> None:
        """`spawn` makes a task that the hub owns; `happened` is told after the heart was."""
        self._event_log = event_log
        self._store = store
        self._conversations = conversations
        self._delivery = delivery
        self._clock = clock
        self._spawn = spawn
        self._happened = happened
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._members = 0
        self._direct: OrderedDict[str, None] = OrderedDict()
        self._joining: OrderedDict[str, dict[str, float]] = (
            OrderedDict()
        )  # room -> user -> since when
        self._asking: dict[str, _Asking] = {}
        self._asked = 0
        self._wanted: dict[str, asyncio.Future[_Answer]] = {}  # that the next question is about
        self._is_reading = False
        self._is_store_away = False  # it has not answered last
        self._pushes: dict[str, deque[PushToRoom | TellRoom]] = {}
        self._waiting_bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._known)

    # Who is in it ----------------------------------------------------------------------------

    def recall(self, name: str, *, is_change: bool = False) -> Room | None:
        """Return the room, if that needs no waiting; None: `find_out`. `is_change`: its members are
        to be changed, which needs the store.
        """
        known = self._known.get(name)
        if known is None:
            return None
        now = self._clock.monotonic()
        is_new = now - known.asked_at < ROOM_SECONDS
        is_last_word = known.asked_at > _LONG_AGO and now - known.failed_at < LAST_WORD_SECONDS
        if not is_new and (is_change or not is_last_word):
            return None
        self._known.move_to_end(name)
        if not is_new and name not in self._asking:
            self._begin_to_ask(name)
        return known.room

    async def find_out(
        self, name: str, is_enough: Callable[[Room | None], bool], *, is_change: bool = False
    ) -> Room | None:
        """Return the room; None where there is none. Where it is not enough for what is asked of
        it, it is looked for again: it may have changed. `is_change` as for `recall`.

        Raises: StoreUnavailable, LogUnavailable, TimeoutError.
        """
        room = self.recall(name, is_change=is_change)
        try:
            if room is None or not is_enough(room):
                room = await self._ask(name)
            if is_enough(room):
                return room
            await self._catch_up(name)
            return await self._ask(name, after=self._asked)
        except _TROUBLE:
            room = self.recall(name, is_change=is_change)
            if room is None or not is_enough(room):
                raise
            return room

    def changed(self, name: str, offset: int) -> None:
        """Who is in a room changes at this offset of its log: what is known is old."""
        known = self._known.get(name)
        if known is not None:
            known.asked_at = _LONG_AGO
            known.changed_at = max(known.changed_at, offset)
        else:  # whoever asks next waits for it: it may be the room's first event
            self._keep(name, _Known(None, _LONG_AGO, offset))

    def joining(self, room: Room) -> int:
        """Return how many more members a room may have by what was let through a moment ago."""
        users = self._joining.get(room.name, {})
        since = self._clock.monotonic() - JOINING_SECONDS
        for user in [each for each, at in users.items() if at < since or each in room.members]:
            del users[user]
        if not users:
            self._joining.pop(room.name, None)
        return len(users)

    def let_join(self, name: str, user: str) -> None:
        """Somebody may become a member by what is let through now."""
        users = self._joining.pop(name, {})
        users[user] = self._clock.monotonic()
        self._joining[name] = users  # the last to be forgotten
        if len(self._joining) > REMEMBERED_ROOMS:
            self._joining.popitem(last=False)

    def recall_direct(self, name: str) -> bool:
        """Say whether it is known that there is this direct conversation."""
        return name in self._direct

    async def find_direct(self, name: str, user: str) -> bool:
        """Say whether there is this direct conversation of a user. Raises as `find_out`."""
        if self._is_store_away:
            self._probe(name)
            raise StoreUnavailable(_AWAY)
        await self._catch_up(name)
        async with asyncio.timeout(ASK_SECONDS):
            is_there = await self._conversations.members(user, name) is not None
        if is_there:  # and will be for ever
            self._direct[name] = None
            if len(self._direct) > REMEMBERED_DIRECT:
                self._direct.popitem(last=False)
        return is_there

    # Questions -------------------------------------------------------------------------------

    async def _catch_up(self, name: str) -> None:
        """Wait until the store has what the log holds of a conversation now."""
        async with asyncio.timeout(ASK_SECONDS):
            partition = self._event_log.partition_of(name)
            await self._store.wait_applied(await self._event_log.ends({partition}))

    async def _ask(self, name: str, *, after: int = 0, is_patient: bool = False) -> Room | None:
        """Ask the store, once for all who want to know. `after`: not before the question of this
        number was. Only who is patient waits for a store that has not answered last. Raises as
        `find_out`.
        """
        if self._is_store_away and not is_patient:
            self._probe(name)
            raise StoreUnavailable(_AWAY)
        heard_at = self._changed_at(name)
        # The answer to an older question may lack what has been accepted, or applied, by now.
        while (asking := self._asking.get(name)) is not None and (
            asking.changed_at < heard_at or asking.number <= after
        ):
            await asyncio.wait([asking.answer])
        if asking is None:
            asking = self._begin_to_ask(name)
        return await asyncio.shield(asking.answer)

    def _probe(self, name: str) -> None:
        """Find out whether the store is back, one question at a time."""
        if not self._is_reading and name not in self._asking:
            self._begin_to_ask(name)

    def _changed_at(self, name: str) -> int:
        known = self._known.get(name)
        return -1 if known is None else known.changed_at

    def _begin_to_ask(self, name: str) -> _Asking:
        self._asked += 1
        answer = asyncio.get_running_loop().create_future()
        asking = self._asking[name] = _Asking(answer, self._changed_at(name), self._asked)
        self._spawn(self._look_up(name, asking))
        return asking

    async def _look_up(self, name: str, asking: _Asking) -> None:
        answer, changed_at, _ = asking
        try:
            if changed_at >= 0:
                partition = self._event_log.partition_of(name)
                async with asyncio.timeout(ASK_SECONDS):
                    await self._store.wait_applied({partition: changed_at + 1})
            room, asked_at = await self._read(name)
        except _TROUBLE as error:
            if (known := self._known.get(name)) is not None:
                known.failed_at = self._clock.monotonic()
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # whoever waits hears of it; perhaps nobody does
        else:
            self._remember(name, room, asked_at, changed_at)
            if not answer.done():
                answer.set_result(room)
        finally:
            del self._asking[name]
            if not answer.done():  # the server ends
                answer.cancel()

    def _read(self, name: str) -> "asyncio.Future[_Answer]":
        """Have the next question to the store be about this room, too."""
        answer = self._wanted[name] = asyncio.get_running_loop().create_future()
        if not self._is_reading:
            self._is_reading = True
            self._spawn(self._read_wanted())
        return answer

    async def _read_wanted(self) -> None:
        """Ask for all that is wanted together, until nothing is."""
        try:
            while self._wanted:
                names = list(self._wanted)[:ASKED_TOGETHER]
                wanted = {name: self._wanted.pop(name) for name in names}
                asked_at = self._clock.monotonic()
                try:
                    async with asyncio.timeout(ASK_SECONDS):
                        found = await self._conversations.rooms(names)
                except _TROUBLE as error:
                    self._is_store_away = True
                    for answer in wanted.values():
                        if not answer.done():
                            answer.set_exception(error)
                else:
                    self._is_store_away = False
                    for name, answer in wanted.items():
                        if not answer.done():
                            answer.set_result(_Answer(found.get(name), asked_at))
        finally:
            self._is_reading = False

    def _remember(self, name: str, room: Room | None, asked_at: float, changed_at: int) -> None:
        heard_at = max(changed_at, self._changed_at(name))
        applied = {} if room is None else room.applied
        if heard_at >= applied.get(self._event_log.partition_of(name), heard_at + 1):
            asked_at = _LONG_AGO  # a change came meanwhile that this answer does not have
        self._forget(name)
        self._keep(name, _Known(room, asked_at, heard_at))

    def _keep(self, name: str, known: _Known) -> None:
        self._known[name] = known
        self._members += known.size
        while len(self._known) > REMEMBERED_ROOMS or self._members > REMEMBERED_MEMBERS:
            self._forget(next(iter(self._known)))

    def _forget(self, name: str) -> None:
        known = self._known.pop(name, None)
        if known is not None:
            self._members -= known.size

    # What is pushed --------------------------------------------------------------------------

    def put(self, decision: PushToRoom | TellRoom) -> None:
        """Take a decision. What is for one room is carried out in order."""
        name = _room_of(decision)
        if isinstance(decision, PushToRoom) and decision.message.kind is EventKind.MEMBER:
            self.changed(name, decision.message.position.offset)
        waiting = self._pushes.get(name)
        if waiting is None:
            room = self.recall(name)
            if room is not None:
                self._push(decision, room)
                return
            waiting = self._pushes[name] = deque()
            self._spawn(self._push_waiting(name))
        size = _size_of(decision)
        if len(waiting) < WAITING_PUSHES and self._waiting_bytes + size <= WAITING_BYTES:
            waiting.append(decision)
            self._waiting_bytes += size
        else:
            self.dropped += 1

    async def _push_waiting(self, name: str) -> None:
        waiting = self._pushes[name]
        try:
            while waiting:
                room = self.recall(name)
                try:
                    room = room or await self._ask(name, is_patient=True)
                except _TROUBLE as error:
                    if self.recall(name) is not None:
                        continue
                    # The sweep delivers.
                    self.dropped += len(waiting)
                    reason = str(error) or "no answer in time"
                    log.warning("waiting", what="rooms", reason=reason)
                    return
                decision = waiting.popleft()
                self._waiting_bytes -= _size_of(decision)
                self._push(decision, room)
        finally:
            self._waiting_bytes -= sum(map(_size_of, waiting))
            del self._pushes[name]

    def _push(self, decision: PushToRoom | TellRoom, room: Room | None) -> None:
        members = {} if room is None else room.members
        if isinstance(decision, PushToRoom):
            # It may have waited, or come from another server that knew less: who has joined behind
            # it is not owed it, nor who was removed.
            offset, users = decision.message.position.offset, decision.users
            owed = [
                user
                for user, member in members.items()
                if member.joined_offset <= offset and (users is None or user in users)
            ]
            left = None
            if decision.message.kind is EventKind.MEMBER:
                user = changed_user(decision.message)
                left = None if user in members else user
            self._delivery.push_to_room(decision.message, owed, is_ours=users is None, left=left)
        else:
            self._delivery.tell_read(decision.record, members)
        self._happened()


def _room_of(decision: PushToRoom | TellRoom) -> str:
    if isinstance(decision, PushToRoom):
        return decision.message.conversation
    return decision.record.conversation


def _size_of(decision: PushToRoom | TellRoom) -> int:
    """Return the memory that it keeps while it waits, in bytes, for the most part."""
    if isinstance(decision, PushToRoom):
        return getsizeof(decision.message.content) + getsizeof(decision.message.data)
    return sum(getsizeof(user) for user, _ in decision.record.entries)
