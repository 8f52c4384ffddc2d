"""Who is in which room, as far as this server has to know: for requests, and for what is pushed.

The store knows it. What it has said is good for ROOM_SECONDS, so that who was removed gets nothing
any more soon after. It is old at once when a change of the room was accepted: here, or elsewhere,
which a hint says. Then the store is asked again, once it has applied that change. While the store
is away no change can be accepted, so what was known last is good until it is back.

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
from landline.model import Room
from landline.observability.logging import get_logger
from landline.ports import Clock, ConversationStore, EventLog, MessageStore

ROOM_SECONDS = 1.0
ASK_SECONDS = 3.0
# Rooms that are remembered, and members of all of them together.
REMEMBERED_ROOMS = 10_000
REMEMBERED_MEMBERS = 200_000
# What waits for the members of one room, and for those of all rooms; beyond that it is left to the
# sweep.
WAITING_PUSHES = 1_000
WAITING_BYTES = 16 * 1024 * 1024

_TROUBLE = (TimeoutError, StoreUnavailable, LogUnavailable)

log = get_logger(__name__)


@dataclass(slots=True)
class _Known:
    """What the store has said of a room. `room` None: there is none."""

    room: Room | None
    asked_at: float
    changed_at: int  # the offset of the last change that was heard of: older answers do not count

    @property
    def size(self) -> int:
        return 1 if self.room is None else len(self.room.members)


class _Asking(NamedTuple):
    """A question to the store. Its answer has every change up to `changed_at`."""

    answer: asyncio.Future[Room | None]
    changed_at: int


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
        self._asking: dict[str, _Asking] = {}
        self._pushes: dict[str, deque[PushToRoom | TellRoom]] = {}
        self._waiting_bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._known)

    # Who is in it ----------------------------------------------------------------------------

    def recall(self, name: str) -> Room | None:
        """Return the room, if that needs no waiting; None: `find_out`."""
        known = self._known.get(name)
        if known is None or self._clock.monotonic() - known.asked_at >= ROOM_SECONDS:
            return None
        self._known.move_to_end(name)
        return known.room

    async def find_out(self, name: str, user: str | None = None) -> Room | None:
        """Return the room; None where there is none. Where `user` is not in it, it is looked for
        again. Raises: StoreUnavailable, LogUnavailable, TimeoutError.
        """
        room = self.recall(name) or await self._ask(name)
        if user is None or (room is not None and user in room.members):
            return room
        async with asyncio.timeout(ASK_SECONDS):
            partition = self._event_log.partition_of(name)
            ends = await self._event_log.ends({partition})
            await self._store.wait_applied(ends)
        if (known := self._known.get(name)) is not None:
            known.asked_at = float("-inf")
        if name in self._asking:
            await self._ask(name)  # others have asked: perhaps before that was applied
        return await self._ask(name)

    def changed(self, name: str, offset: int) -> None:
        """Who is in a room changes at this offset of its log: what is known is old."""
        known = self._known.get(name)
        if known is not None:
            known.asked_at = float("-inf")
            known.changed_at = max(known.changed_at, offset)
        else:  # whoever asks next waits for it: it may be the room's first event
            self._keep(name, _Known(None, float("-inf"), offset))

    async def _ask(self, name: str) -> Room | None:
        """Ask the store, once for all who want to know. Where it does not answer, what was known
        last counts, unless a change has been accepted since. Raises as `find_out`.
        """
        heard_at = self._changed_at(name)
        async with asyncio.timeout(ASK_SECONDS):
            # The answer to an older question may lack a change that has been accepted by now.
            while (asking := self._asking.get(name)) is not None and asking.changed_at < heard_at:
                await asyncio.wait([asking.answer])
            if asking is None:
                answer = asyncio.get_running_loop().create_future()
                asking = self._asking[name] = _Asking(answer, self._changed_at(name))
                self._spawn(self._look_up(name, self._known.get(name), asking))
            return await asyncio.shield(asking.answer)

    def _changed_at(self, name: str) -> int:
        known = self._known.get(name)
        return -1 if known is None else known.changed_at

    async def _look_up(self, name: str, known: _Known | None, question: _Asking) -> None:
        asking, changed_at = question
        try:
            async with asyncio.timeout(ASK_SECONDS):
                if changed_at >= 0:
                    partition = self._event_log.partition_of(name)
                    await self._store.wait_applied({partition: changed_at + 1})
                asked_at = self._clock.monotonic()
                room = (await self._conversations.rooms([name])).get(name)
        except _TROUBLE as error:
            is_good = known is not None and known.asked_at > float("-inf")
            if not asking.done():
                if is_good and known is not None:
                    asking.set_result(known.room)
                else:
                    asking.set_exception(error)
                    asking.exception()  # whoever waits hears of it; perhaps nobody does
        else:
            self._remember(name, room, asked_at, changed_at)
            if not asking.done():
                asking.set_result(room)
        finally:
            self._asking.pop(name, None)
            if not asking.done():  # the server ends
                asking.cancel()

    def _remember(self, name: str, room: Room | None, asked_at: float, changed_at: int) -> None:
        before = self._known.get(name)
        heard_at = changed_at if before is None else max(changed_at, before.changed_at)
        applied = {} if room is None else room.applied
        if heard_at >= applied.get(self._event_log.partition_of(name), heard_at + 1):
            asked_at = float("-inf")  # a change came meanwhile that this answer does not have
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
        if isinstance(decision, PushToRoom) and decision.message.kind != "message":
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
                    room = room or await self._ask(name)
                except _TROUBLE as error:
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
            # It may have waited meanwhile: who has joined behind it is not owed it.
            offset = decision.message.position.offset
            owed = [user for user, member in members.items() if member.joined_offset <= offset]
            self._delivery.push_to_room(decision.message, owed)
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
