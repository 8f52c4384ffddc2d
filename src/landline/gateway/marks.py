"""Read marks that come by request, over HTTP: each is answered once it is in the log."""

import asyncio
from collections.abc import Callable
from typing import Final

from landline.delivery import Delivery
from landline.gateway.checks import Checks
from landline.protocol import server_frames
from landline.protocol.client_frames import MarkRead
from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.records import ReadRecord

# Marks of a conversation go into the log together, every 2 s. Where that fails, they are tried
# again soon.
MARK_SECONDS: Final = 10.0

_LATE: Final = "no answer in time; repeat the request"
_TOO_MANY: Final = "too many marks wait for the log; send it again in a moment"


class Marks:
    """The marks that wait. They are bounded by their connections."""

    def __init__(self, *, delivery: Delivery, happened: Callable[[], None], checks: Checks) -> None:
        """`happened` is told after the heart was; `checks`: who may see what."""
        self._delivery = delivery
        self._happened = happened
        self._checks = checks
        # By conversation and user: up to where each has seen it, and who waits for that.
        self._waiting: dict[tuple[str, str], list[tuple[int, asyncio.Future[int]]]] = {}
        self._is_over = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def mark(
        self,
        user: str,
        mark: MarkRead,
        *,
        is_service: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Note how far a user has seen a conversation. Returns a frame `read` once that is in the
        log, or `error`. A mark goes on when nobody waits for it any more. `check` as for a post.
        """
        checked = self._checks.recall(user, mark, is_service=is_service)
        if checked is None:
            checked = await self._checks.find_out(user, mark, is_service=is_service)
        check()
        if self._is_over:
            return _late()
        if (bar := checked.bar) is not None:
            return server_frames.error(bar.code, bar.reason, outcome=Outcome.REJECTED)
        if not self._delivery.mark(user, mark):
            return server_frames.error(ErrorCode.BUSY, _TOO_MANY, outcome=Outcome.REJECTED)
        self._happened()
        return await self._in_the_log(user, mark)

    async def _in_the_log(self, user: str, mark: MarkRead) -> bytes:
        key, done = (mark.conversation, user), asyncio.get_running_loop().create_future()
        waiting = (mark.offset, done)
        self._waiting.setdefault(key, []).append(waiting)
        try:
            async with asyncio.timeout(MARK_SECONDS):
                offset = await done
        except TimeoutError:
            return _late()
        finally:
            self._waiting[key].remove(waiting)
            if not self._waiting[key]:
                del self._waiting[key]
        return server_frames.read(mark.conversation, [(user, offset)])

    def appended(self, record: ReadRecord, end: int) -> None:
        """Marks are in the log, at this offset, and nobody has seen what is behind it. Of several
        of a user the furthest is.
        """
        for user, offset in record.entries:
            for marked, done in self._waiting.get((record.conversation, user), ()):
                if marked <= offset and not done.done():
                    done.set_result(min(marked, end))

    def end(self) -> None:
        """The server ends: whoever waits still hears that it is unknown, and who comes later."""
        self._is_over = True
        for waiting in self._waiting.values():
            for _, done in waiting:
                if not done.done():
                    done.set_exception(TimeoutError())


def _late() -> bytes:
    return server_frames.error(ErrorCode.UNAVAILABLE, _LATE, outcome=Outcome.UNKNOWN)
