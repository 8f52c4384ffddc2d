"""What is owed to this user, until the server knows that it is safe: messages, events of rooms.

A message is acknowledged when the program asks for the next one. One that comes again is
acknowledged again and not handed out again. An event is told when all messages that came before it
have been handed out, and is acknowledged then.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import orjson

from landline.client.events import MemberChanged, Message, RoomChanged
from landline.client.outbox import Handed, Outbox
from landline.protocol.limits import ACK_IDS

RoomEvent = MemberChanged | RoomChanged


class Inbox:
    """Messages that wait to be handed out, and acknowledgements that wait to be written.

    `has_work` is set when there is something to write. `tell` takes an event of a room; it returns
    False if the program could not, and then the event is not acknowledged.
    """

    def __init__(
        self,
        outbox: Outbox,
        has_work: asyncio.Event,
        tell: Callable[[RoomEvent], bool] = lambda _event: True,
    ) -> None:
        self._outbox = outbox
        self._has_work = has_work
        self._tell = tell
        self._has_news = asyncio.Event()
        self.is_awaited = False  # a loop waits for a message
        self._handed = Handed(())
        # Bounded by the server's window: what is here is not acknowledged yet.
        self._waiting: deque[Message | RoomEvent] = deque()
        self._waiting_ids: set[str] = set()
        self.current: Message | None = None  # handed out last, and not acknowledged by the loop
        self._acks: deque[str] = deque()
        self._unacked = 0  # on their way to the socket
        self._unkept: list[str] = []  # handed, and not noted in the outbox yet

    def remember(self, handed: Iterable[str]) -> None:
        """Take the ids that an earlier chat has handed out."""
        self._handed = Handed(handed)

    # For the program -------------------------------------------------------------------------

    def begin_loop(self) -> None:
        """Make the message whose loop body did not finish the next one again."""
        if self.current is not None:
            self._waiting.appendleft(self.current)
            self.current = None

    def next(self) -> Message | None:
        """Return the message to hand out now; None when there is none yet."""
        self.current = None
        while self._waiting:
            first = self._waiting.popleft()
            if first.id in self._handed:  # acknowledged by hand, after a loop had left it
                continue
            if not isinstance(first, Message):
                self._tell_of(first)
                continue
            self.current = first
            return first
        return None

    async def wait(self) -> None:
        """Wait until there may be a message, or `wake` is called."""
        self._has_news.clear()
        self.is_awaited = True
        try:
            await self._has_news.wait()
        finally:
            self.is_awaited = False

    def wake(self) -> None:
        """End a `wait`: the chat has ended."""
        self._has_news.set()

    def acknowledge(self, message: Message) -> None:
        """A message is safe with this client."""
        self._note_safe(message)
        self._tell_what_is_first()

    def _note_safe(self, safe: Message | RoomEvent) -> None:
        if safe.id in self._handed:
            return
        self._waiting_ids.discard(safe.id)
        self._handed.add(safe.id)
        self._unkept.append(safe.id)
        self._acks.append(safe.id)
        self._has_work.set()

    def _tell_what_is_first(self) -> None:
        """Tell of events that no message comes before: nobody needs to ask for them."""
        while self._waiting and not isinstance(first := self._waiting[0], Message):
            self._waiting.popleft()
            self._tell_of(first)

    def _tell_of(self, event: RoomEvent) -> None:
        if self._tell(event):
            self._note_safe(event)

    # For the connection ----------------------------------------------------------------------

    def take(self, came: Message | RoomEvent) -> None:
        """A message has come, or an event."""
        if came.id in self._handed:
            self._acks.append(came.id)
            self._has_work.set()
        elif came.id not in self._waiting_ids:
            self._waiting_ids.add(came.id)
            self._waiting.append(came)
            self._tell_what_is_first()
            self._has_news.set()

    @property
    def has_acks(self) -> bool:
        """Say whether an acknowledgement is not written yet."""
        return bool(self._acks or self._unacked)

    async def write_acks(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write the acknowledgements that wait."""
        while self._acks:
            ids = [self._acks.popleft() for _ in range(min(ACK_IDS, len(self._acks)))]
            self._unacked = len(ids)
            await self.keep_handed()
            await write(orjson.dumps({"type": "ack", "ids": ids}))
            self._unacked = 0

    async def keep_handed(self) -> None:
        """Note in the outbox what was handed out: this side knows it before the server forgets it.

        Raises: ClientError.
        """
        if self._unkept:
            ids = self._unkept.copy()
            await self._outbox.hand(ids)  # may be cancelled: then they are still unkept
            del self._unkept[: len(ids)]

    def disconnected(self) -> None:
        """The connection is gone, and its acknowledgements are void.

        What was not handed out yet comes again; the copy that is here stays.
        """
        self._acks.clear()
        self._unacked = 0

    def let_go(self) -> None:
        """Forget what the outbox was to note: the file is being closed."""
        self._unkept.clear()
