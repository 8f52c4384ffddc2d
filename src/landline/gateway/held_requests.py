"""Requests of sessions that wait until it is known whether they are allowed.

A session has one at a time: no frame behind it is taken meanwhile, so what a session says keeps its
order. Other sessions go on. Marks of reading have no order, so nothing waits for them.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final

from landline.delivery import Delivery
from landline.delivery.flights import Bar, Held
from landline.gateway.checks import Checked, Checks, Request
from landline.gateway.connection import Connection
from landline.gateway.pauses import Pause
from landline.protocol import server_frames
from landline.protocol.client_frames import MarkRead
from landline.protocol.codes import ErrorCode, Outcome

# Marks of a session that may wait to be looked at.
MARKS: Final = 16

_TOO_MANY: Final = Bar(ErrorCode.BUSY, "too many marks wait; send it again in a moment")


class HeldRequests:
    """Takes requests in the place of the heart, and gives it those that are known."""

    def __init__(
        self,
        checks: Checks,
        *,
        delivery: Delivery,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        happened: Callable[[], None],
    ) -> None:
        """`spawn` makes a task that the hub owns; `happened` is told after the heart was."""
        self._checks = checks
        self._delivery = delivery
        self._spawn = spawn
        self._happened = happened
        self._count = 0
        self._marks: Counter[str] = Counter()  # by session

    def __len__(self) -> int:
        return self._count

    def take(self, connection: Connection, request: Request) -> None:
        """A session asks for something. Most is known: then there is no task and no wait."""
        principal = connection.principal
        assert principal is not None, "it is known whose it is"
        user, is_service = principal.user, principal.is_service
        checked = self._checks.recall(user, request, is_service=is_service)
        if checked is not None:
            self._give(connection, checked, None)
            return
        if isinstance(request, MarkRead):
            self._take_mark(connection, request)
            return
        held = self._delivery.hold(connection.session, request)
        if held is None:
            return
        self._count += 1
        connection.pause(Pause.QUESTION)
        self._spawn(self._find_out(connection, request, held))

    def _take_mark(self, connection: Connection, mark: MarkRead) -> None:
        if self._marks[connection.session] >= MARKS:
            self._give(connection, Checked(mark, _TOO_MANY), None)
            return
        self._marks[connection.session] += 1
        self._count += 1
        self._spawn(self._find_out_mark(connection, mark))

    async def _find_out_mark(self, connection: Connection, mark: MarkRead) -> None:
        principal, session = connection.principal, connection.session
        assert principal is not None, "it is known whose it is"
        try:
            checked = await self._checks.find_out(
                principal.user, mark, is_service=principal.is_service
            )
        finally:
            self._count -= 1
            self._marks[session] -= 1
            if not self._marks[session]:
                del self._marks[session]
        self._give(connection, checked, None)
        self._happened()

    async def _find_out(self, connection: Connection, request: Request, held: Held) -> None:
        principal = connection.principal
        assert principal is not None, "it is known whose it is"
        try:
            checked = await self._checks.find_out(
                principal.user, request, is_service=principal.is_service
            )
        finally:
            self._count -= 1
            self._delivery.let_go(held)
        # A session that has ended meanwhile is one that the heart does not know.
        self._give(connection, checked, held.since)
        connection.resume(Pause.QUESTION)
        self._happened()

    def _give(self, connection: Connection, checked: Checked, since: float | None) -> None:
        request, bar = checked
        if not isinstance(request, MarkRead):
            self._delivery.send(connection.session, request, bar, since)
        elif bar is None:
            self._delivery.receive(connection.session, request)
        else:
            error = server_frames.error(
                bar.code,
                bar.reason,
                outcome=Outcome.REJECTED,
                conversation=request.conversation,
            )
            self._delivery.answer(connection.session, error)
