"""Messages that come by request, over HTTP: each waits for its one answer."""

import asyncio
from collections.abc import Callable
from typing import Final

from landline.delivery import Delivery
from landline.gateway.checks import Checks
from landline.protocol import server_frames
from landline.protocol.client_frames import LogRequest, MarkRead
from landline.protocol.codes import ErrorCode, Outcome

# Longer than a send takes that has to be looked for first (10 s), is appended then (14 s), and is
# not confirmed in time (3 s): who hears nothing until then hears that it is unknown.
POST_SECONDS: Final = 28.0


class Posts:
    """The requests that wait. They are bounded by their connections."""

    def __init__(
        self,
        *,
        delivery: Delivery,
        new_id: Callable[[], str],
        happened: Callable[[], None],
        checks: Checks,
    ) -> None:
        """`checks`: who may ask for what."""
        self._delivery = delivery
        self._new_id = new_id
        self._checks = checks
        self._happened = happened
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._is_over = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def post(
        self,
        user: str,
        send: LogRequest,
        *,
        is_service: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Send a message for a user. Returns the answer as a frame, `accepted` or `error`; always,
        unless it is cancelled. The send goes on then, if it had begun. `is_service`: the product
        itself sends it, for whom no limits hold. `check` is called when nothing is waited for any
        more before the send: what it raises is raised, and nothing is sent.
        """
        if self._is_over:
            return _unknown(send)
        id = self._new_id()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[id] = answer
        try:
            self._delivery.begin_post(id, user, is_limited=not is_service)
            await self._send(id, user, send, is_service=is_service, check=check)
            self._happened()
            async with asyncio.timeout(POST_SECONDS):
                return await answer
        except TimeoutError:
            return _unknown(send)
        finally:
            del self._waiting[id]
            self._delivery.end_post(id)

    async def _send(
        self, id: str, user: str, send: LogRequest, *, is_service: bool, check: Callable[[], None]
    ) -> None:
        """Hand it to the heart, once it is known whether it may be sent."""
        checked = self._checks.recall(user, send, is_service=is_service)
        since = None
        if checked is None:
            if (held := self._delivery.hold(id, send)) is None:
                return
            try:
                checked = await self._checks.find_out(user, send, is_service=is_service)
            finally:
                self._delivery.let_go(held)
            since = held.since
        check()
        request, bar = checked
        assert not isinstance(request, MarkRead), "it was none"
        self._delivery.send(id, request, bar, since)

    def answer(self, id: str, frame: bytes) -> None:
        """The heart has an answer for one of them, who may have gone."""
        waiting = self._waiting.get(id)
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)

    def end(self) -> None:
        """The server ends: whoever waits still hears that it is unknown, and who comes later."""
        self._is_over = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(TimeoutError())


def _unknown(send: LogRequest) -> bytes:
    reason = "no answer in time; repeat with the same ref and retry: true"
    return server_frames.error(ErrorCode.UNAVAILABLE, reason, outcome=Outcome.UNKNOWN, ref=send.ref)
