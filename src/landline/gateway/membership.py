"""Which sessions the directory knows, and where the log ends for those that it knows.

The heart asks for the ends of a session only after the directory has answered for it: step (2) and
(3) of the proof in ARCHITECTURE.md.
"""

import asyncio
from collections.abc import Callable

from landline.backoff import Backoff
from landline.delivery import Delivery
from landline.delivery.decisions import ReadEnds, Register, Unregister
from landline.errors import LogUnavailable, Unavailable
from landline.gateway.batcher import Batcher
from landline.model import Positions
from landline.observability.logging import get_logger
from landline.ports import Directory, EventLog

# The directory has a deadline of its own (200 ms, and a breaker); this one is for its defects.
REGISTER_SECONDS = 0.5
LOG_SECONDS = 5.0

CHANGED_TOGETHER = 1_000

log = get_logger(__name__)


class Membership:
    """Carries out `Register`, `ReadEnds` and `Unregister`."""

    def __init__(
        self,
        *,
        event_log: EventLog,
        directory: Directory,
        delivery: Delivery,
        is_connected: Callable[[str], bool],
        happened: Callable[[], None],
    ) -> None:
        """`is_connected` says whether a session is still there; `happened` is told after answers
        were given.
        """
        self._event_log = event_log
        self._directory = directory
        self._delivery = delivery
        self._is_connected = is_connected
        self._happened = happened
        self._changes = Batcher(self._tell_directory, CHANGED_TOGETHER)
        self._joining = Batcher(self._read_ends, CHANGED_TOGETHER)
        self.failures = 0

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._changes.run())
            tasks.create_task(self._joining.run())

    def put(self, decision: Register | ReadEnds | Unregister) -> None:
        """Take a decision. Never blocks: the connections are bounded."""
        if isinstance(decision, ReadEnds):
            self._joining.put(decision)
        else:
            self._changes.put(decision)

    def forget_gone(self, count: int) -> None:
        """Forget sessions that are gone, if more wait than the `count` that are there: what they
        wait for may be away for hours, while clients come and give up.
        """
        if len(self._joining) > count:
            self._joining.keep(lambda decision: self._is_connected(decision.session))

    async def has_sessions_elsewhere(self, user: str) -> bool:
        """Say whether a user has sessions on other servers, or may have: where nobody says."""
        try:
            async with asyncio.timeout(REGISTER_SECONDS):
                return bool(await self._directory.sessions(user))
        except (TimeoutError, Unavailable):
            return True

    async def _tell_directory(self, decisions: list[Register | Unregister]) -> None:
        joined = [decision for decision in decisions if isinstance(decision, Register)]
        left = [decision for decision in decisions if isinstance(decision, Unregister)]
        # A session that came and went stands in both: it leaves last. Each is told in any case,
        # for the directory asserts what it was told whenever it can.
        for tell, members in (
            (self._directory.register, joined),
            (self._directory.unregister, left),
        ):
            if not members:
                continue
            try:
                async with asyncio.timeout(REGISTER_SECONDS):
                    await tell([(each.user, each.session) for each in members])
            except (TimeoutError, Unavailable):
                self.failures += 1  # no hint; the sweep delivers
        for decision in joined:
            self._delivery.entered(decision.session)
        self._happened()

    async def _read_ends(self, decisions: list[ReadEnds]) -> None:
        joining = [decision for decision in decisions if self._is_connected(decision.session)]
        if not joining:
            return
        ends = await self._ends()
        for decision in joining:
            self._delivery.registered(decision.session, ends)
        self._happened()

    async def _ends(self) -> Positions:
        """Ask until there is an answer. The sessions concerned wait; nothing is skipped."""
        backoff = Backoff()
        while True:
            try:
                async with asyncio.timeout(LOG_SECONDS):
                    return await self._event_log.ends()
            except (TimeoutError, LogUnavailable) as error:
                log.warning("waiting", what="log_ends", reason=str(error) or "no answer in time")
            await backoff.wait()
