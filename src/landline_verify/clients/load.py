"""The load: sends at the asked rate, whatever becomes of earlier ones (open loop), seeded."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

from landline_verify.clients.rooms import Rooms
from landline_verify.clients.user import Draft, User
from landline_verify.history.recorder import digest

_TICK_SECONDS = 0.01
# With so many unanswered sends a user sends no more: the server would stop reading.
_OUTBOX = 128
# A message to a room is one to several.
_ROOM_SHARE = 0.25
_TOO_LARGE_BYTES = 16 * 1024 + 1

# Texts of all kinds that a careless server would spoil, cut or count wrongly.
_WORDS: Final = (
    "hello",
    "Grüße",
    "日本語",
    "👩‍🚀",
    'a "quote"',
    "back\\slash",
    "line\nbreak",
    "\u2028",
    "é",
)


class Load:
    """Users who are connected send to partners, strangers, users who are away, and themselves; and
    into rooms, where there are any.
    """

    def __init__(
        self,
        users: Sequence[User],
        rate: float,
        run_id: str,
        chance: random.Random,
        rooms: Rooms | None = None,
    ) -> None:
        self._users = users
        self._rate = rate
        self._run_id = run_id
        self._chance = chance
        self._rooms = rooms
        self.made = 0
        self._poured = 0
        others = range(1, min(4, len(users)))
        # Few conversations with much in them: order is only at stake where something follows.
        self._partners = {
            user: [users[(number + step) % len(users)] for step in others]
            for number, user in enumerate(users)
        }

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Send until it is over. What could not be sent on time is sent as soon as it can be."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while not is_over():
            due = int((loop.time() - start) * self._rate) + 1 - self.made + self._poured
            able = [
                each
                for each in self._users
                if each.is_online and len(each.outbox) < _OUTBOX and each.behaviour != "flooder"
            ]
            for _ in range(due if able else 0):
                self.send(self._chance.choice(able))
            await asyncio.sleep(max(_TICK_SECONDS, 1 / self._rate if due <= 0 else 0))

    async def pour(
        self, sender: User, recipient: User, *, rate: float, is_wanted: Callable[[], bool]
    ) -> None:
        """For ever, while it is wanted, send from one user to another at this rate."""
        now = asyncio.get_running_loop().time
        before, due = now(), 0.0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            # Never more than a second's worth at once, whatever kept us or the server.
            due = min(rate, due + (now() - before) * rate) if is_wanted() else 0.0
            before = now()
            while due >= 1 and sender.is_online and len(sender.outbox) < _OUTBOX:
                self.send(sender, recipient)
                self._poured += 1
                due -= 1

    def send(self, sender: User, recipient: User | None = None) -> None:
        """Send one message from this user; without a recipient, to a user or a room by chance."""
        self.made += 1
        ref = f"{self._run_id}-{self.made}"
        draft = None
        if recipient is None and self._rooms is not None and self._chance.random() < _ROOM_SHARE:
            draft = self._rooms.draft(sender, ref, lambda: self._content(ref))
        if draft is None:
            content = ref if recipient is not None else self._content(ref)
            to = (recipient or self._recipient(sender)).name
            draft = Draft(to, ref, digest(content), {"to": to, "content": content})
        sender.send(draft)

    def _recipient(self, sender: User) -> User:
        dice = self._chance.random()
        if dice < 0.05:
            return sender
        if dice < 0.2 and (away := [user for user in self._users if not user.is_online]):
            return self._chance.choice(away)
        return self._chance.choice(self._partners[sender] if dice < 0.7 else self._users)

    def _content(self, ref: str) -> str:
        """Return a text that no other message has, of 10 bytes to 16 KiB; rarely one too long."""
        dice = self._chance.random()
        if dice < 0.002:
            return (ref + " ").ljust(_TOO_LARGE_BYTES, "x")
        length = 8_000 if dice < 0.005 else 500 if dice < 0.05 else self._chance.randrange(60)
        content = ref
        while len(content.encode()) < length:
            content += " " + self._chance.choice(_WORDS) * (1 + length // 100)
        return content
