"""Sends of sessions that wait until it is known whether they are allowed.

A session has one at a time: no frame behind it is taken meanwhile, so what a session says keeps its
order. Other sessions go on.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from landline.delivery import Delivery
from landline.delivery.flights import Held
from landline.gateway.connection import Connection
from landline.gateway.pauses import Pause
from landline.gateway.permissions import BARS, Permissions
from landline.protocol.client_frames import Send


class HeldSends:
    """Takes sends in the place of the heart, and gives it those that are known."""

    def __init__(
        self,
        permissions: Permissions,
        *,
        delivery: Delivery,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        happened: Callable[[], None],
    ) -> None:
        """`spawn` makes a task that the hub owns; `happened` is told after the heart was."""
        self._permissions = permissions
        self._delivery = delivery
        self._spawn = spawn
        self._happened = happened
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self, connection: Connection, send: Send) -> None:
        """A session has sent a message. Most pairs are known: then there is no task and no wait."""
        principal = connection.principal
        assert principal is not None, "it is known whose it is"
        verdict = self._permissions.recall(principal.user, send.to, is_service=principal.is_service)
        if verdict is not None:
            self._delivery.send(connection.session, send, BARS[verdict])
        elif (held := self._delivery.hold(connection.session, send)) is not None:
            self._count += 1
            connection.pause(Pause.QUESTION)
            self._spawn(self._find_out(connection, send, held))

    async def _find_out(self, connection: Connection, send: Send, held: Held) -> None:
        try:
            verdict = await self._permissions.find_out(connection.user, send.to)
        finally:
            self._count -= 1
            self._delivery.let_go(held)
        # A session that has ended meanwhile is one that the heart does not know.
        self._delivery.send(connection.session, send, BARS[verdict], held.since)
        connection.resume(Pause.QUESTION)
        self._happened()
