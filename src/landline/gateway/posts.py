"""Messages and changes of rooms that come by request, over HTTP: each waits for its one answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import orjson

from landline.delivery import Delivery
from landline.delivery.flights import Bar
from landline.errors import Unavailable
from landline.gateway.checks import Checks
from landline.model import MemberStep
from landline.protocol import server_frames
from landline.protocol.client_frames import ChangeMember, LogRequest, MarkRead
from landline.protocol.codes import ErrorCode, Outcome

# Longer than a send takes that has to be looked for first (10 s), is appended then (14 s), and is
# not confirmed in time (3 s): who hears nothing until then hears that it is unknown.
POST_SECONDS: Final = 28.0

_NOT_NOW: Final = "who is in the room cannot be found out now; send again in a moment"
# Why something is only looked for, in the place of its original.
_ONLY_LOOKED_FOR: Final = Bar(ErrorCode.BAD_REF, "it is not in the log")


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
        is_product: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Send a message for a user. Returns the answer as a frame, `accepted` or `error`; always,
        unless it is cancelled. The send goes on then, if it had begun. `is_service`: the product
        itself sends it, for whom no limits hold; `is_product`: and in nobody's name. `check` is
        called when nothing is waited for any more before the send: what it raises is raised, and
        nothing is sent.
        """

        async def give(id: str) -> None:
            await self._send(
                id, user, send, is_service=is_service, is_product=is_product, check=check
            )

        return await self._answer(user, send, give, is_limited=not is_service)

    async def place(
        self,
        user: str,
        change: ChangeMember,
        *,
        is_service: bool = False,
        is_product: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Make somebody a member with this role, given the change that adds them: who is in the
        room already gets the role. Otherwise as `post`.

        Which of the two it was, a repeat cannot know. So it looks for the other one first.
        """
        if self._is_over:
            return _unknown(change)
        try:
            async with asyncio.timeout(POST_SECONDS):
                placing = await self._placing(
                    user, change, is_service=is_service, is_product=is_product
                )
                if isinstance(placing, bytes):
                    return placing
                return await self.post(
                    user, placing, is_service=is_service, is_product=is_product, check=check
                )
        except TimeoutError:
            return _unknown(change)

    async def _placing(
        self, user: str, change: ChangeMember, *, is_service: bool, is_product: bool
    ) -> ChangeMember | bytes:
        """Return what to ask for, or the answer already."""
        try:
            placing = await self._checks.placing(user, change, is_product=is_product)
        except (TimeoutError, Unavailable):
            outcome = Outcome.UNKNOWN if change.retry else Outcome.REJECTED
            code = ErrorCode.UNAVAILABLE if change.retry else ErrorCode.BUSY
            return server_frames.error(code, _NOT_NOW, outcome=outcome, ref=change.ref)
        if not change.retry:
            return placing
        is_added = placing.change is MemberStep.ADD
        other = replace(change, change=MemberStep.ROLE if is_added else MemberStep.ADD)
        answer = await self._look_for(user, other, is_service=is_service)
        is_new = orjson.loads(answer).get("code") == _ONLY_LOOKED_FOR.code
        return placing if is_new else answer

    async def _look_for(self, user: str, send: LogRequest, *, is_service: bool) -> bytes:
        """Return the answer to a repeat, which goes nowhere if it is none. It is counted for its
        user as any other is.
        """

        async def give(id: str) -> None:
            self._delivery.send(id, send, _ONLY_LOOKED_FOR)

        return await self._answer(user, send, give, is_limited=not is_service)

    async def _answer(
        self,
        user: str,
        send: LogRequest,
        give: Callable[[str], Awaitable[None]],
        *,
        is_limited: bool,
    ) -> bytes:
        """Return the heart's answer to what it is given under an id."""
        if self._is_over:
            return _unknown(send)
        id = self._new_id()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[id] = answer
        try:
            self._delivery.begin_post(id, user, is_limited=is_limited)
            await give(id)
            self._happened()
            async with asyncio.timeout(POST_SECONDS):
                return await answer
        except TimeoutError:
            return _unknown(send)
        finally:
            del self._waiting[id]
            self._delivery.end_post(id)

    async def _send(
        self,
        id: str,
        user: str,
        send: LogRequest,
        *,
        is_service: bool,
        is_product: bool,
        check: Callable[[], None],
    ) -> None:
        """Hand it to the heart, once it is known whether it may be sent."""
        checks = self._checks
        checked = checks.recall(user, send, is_service=is_service, is_product=is_product)
        since = None
        if checked is None:
            if (held := self._delivery.hold(id, send)) is None:
                return
            try:
                checked = await checks.find_out(
                    user, send, is_service=is_service, is_product=is_product
                )
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
