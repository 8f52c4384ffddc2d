"""Hints to and from other servers: who has a message, has acknowledged one, or is to leave.

A hint that is lost costs latency: the sweep of the other server delivers, and its poll ends
sessions.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from sys import getsizeof
from typing import NamedTuple

from landline.delivery import Delivery
from landline.delivery.decisions import RouteMessage, RouteRead, RouteStatus
from landline.errors import Unavailable
from landline.gateway.batcher import Batcher
from landline.model import Revocation
from landline.ports import Directory, RoutingBus
from landline.protocol.hints import (
    ReadHint,
    RoomHint,
    decode_hint,
    encode_message_hint,
    encode_read_hint,
    encode_room_hint,
    encode_status_hint,
)

# The directory has a deadline of its own (200 ms, and a breaker); this one is for its defects.
LOOKUP_SECONDS = 0.5
# Hints that may wait for the directory. Beyond that the sweep delivers.
ROUTED_HINTS = 10_000
ROUTED_BYTES = 16 * 1024 * 1024
# So many are looked up together.
ROUTED_TOGETHER = 1_000


Routed = RouteMessage | RouteRead | RouteStatus


class _Waiting(NamedTuple):
    """A hint to be sent, and the memory that it keeps."""

    decision: Routed
    size_bytes: int


class Routing:
    """Carries out `RouteMessage` and `RouteStatus`, and hears the hints of others."""

    def __init__(
        self,
        *,
        directory: Directory,
        bus: RoutingBus,
        delivery: Delivery,
        happened: Callable[[], None],
        revoked: Callable[[Revocation], None],
        room_changed: Callable[[str, int], None],
    ) -> None:
        """`happened` is told after a hint was heard; `revoked` and `room_changed` hear those that
        are about sessions to end and rooms.
        """
        self._directory = directory
        self._bus = bus
        self._delivery = delivery
        self._happened = happened
        self._revoked = revoked
        self._room_changed = room_changed
        self._queue = Batcher(self._route, ROUTED_TOGETHER)
        self._waiting_bytes = 0
        self.failures = 0
        self.dropped = 0

    async def listen(self) -> None:
        """Hear hints from now on."""
        await self._bus.listen(self._heard)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._queue.run()

    def tell_change(self, room: str, offset: int) -> None:
        """Tell all servers that who is in a room has changed."""
        self._bus.publish_to_all(encode_room_hint(room, offset))

    def put(self, decision: Routed) -> None:
        """Take a decision. Never blocks: what finds no room is dropped."""
        if isinstance(decision, RouteMessage):
            message = decision.message
            size_bytes = getsizeof(message.content) + len(message.data or "")
        else:
            size_bytes = 0
        if len(self._queue) >= ROUTED_HINTS or self._waiting_bytes + size_bytes > ROUTED_BYTES:
            self.dropped += 1
            return
        self._waiting_bytes += size_bytes
        self._queue.put(_Waiting(decision, size_bytes))

    async def _route(self, waiting: list[_Waiting]) -> None:
        users = {user for each in waiting for user in _users_of(each.decision)}
        found: Mapping[str, frozenset[str]] = {}
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._directory.lookup(users)
        except (TimeoutError, Unavailable):
            self.failures += 1  # no hint; the sweep of the other server delivers
        self._waiting_bytes -= sum(each.size_bytes for each in waiting)
        if found:
            self._publish(waiting, found)

    def _publish(self, hints: list[_Waiting], found: Mapping[str, frozenset[str]]) -> None:
        for decision, _ in hints:
            at: dict[str, list[str]] = {}  # one hint a server, with those who are there
            for user in _users_of(decision):
                for address in found.get(user, ()):
                    at.setdefault(address, []).append(user)
            for address, users in at.items():
                self._bus.publish(address, _encode(decision, users))

    def _heard(self, value: bytes) -> None:
        hint = decode_hint(value)
        if isinstance(hint, Revocation):
            self._revoked(hint)
        elif isinstance(hint, RoomHint):
            self._room_changed(hint.room, hint.offset)
        elif hint is not None:
            self._delivery.routed(hint)
            self._happened()


def _users_of(decision: Routed) -> tuple[str, ...]:
    """Return whose sessions are to hear of it."""
    if isinstance(decision, RouteStatus):
        return (decision.hint.sender,)
    return decision.users


def _encode(decision: Routed, users: Sequence[str]) -> bytes:
    if isinstance(decision, RouteMessage):
        return encode_message_hint(decision.message, users)
    if isinstance(decision, RouteRead):
        record = decision.record
        return encode_read_hint(ReadHint(record.conversation, record.entries, users))
    return encode_status_hint(decision.hint)
