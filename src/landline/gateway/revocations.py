"""Revocations: all sessions of a user end, on every server, and new ones may be refused for a time.

The row in the store is the truth. A hint brings it to every other server at once; one that misses
the hint reads the row within `POLL_SECONDS`. Rows are told apart by the store's `revoked_at` and
never by a server's clock: a server ends every session that is open when it first learns of a row.
So no session slips through. It was open by then, or it was opened by a server that knew the row,
and `is_refused` decided about it. The price: where the hint was lost, a session that was opened
meanwhile ends too.

Only `until_ms` is compared with the server's own clock, and a clock may be wrong for a while: a row
is kept for a day after it has ended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from landline.backoff import Backoff
from landline.errors import StoreUnavailable
from landline.model import Revocation
from landline.observability.logging import get_logger
from landline.ports import Clock, RevocationStore, RoutingBus
from landline.protocol.hints import encode_revocation_hint
from landline.protocol.times import rfc3339

# No session may be left 15 s after its revocation, also where a look into the store has failed: one
# interval, a failure that takes as long as it may, a pause, and an answer.
POLL_SECONDS: Final = 9.0
READ_SECONDS: Final = 4.0
RETRY_SECONDS: Final = 1.0
KEPT_MS: Final = 24 * 3600 * 1000
_ROWS_AT_ONCE: Final = 1_000

log = get_logger(__name__)


class Revocations:
    """What this server knows of them, and what it does about them."""

    def __init__(
        self,
        *,
        store: RevocationStore,
        bus: RoutingBus,
        clock: Clock,
        close_sessions: Callable[[str], int],
        poll_seconds: float,
    ) -> None:
        """`close_sessions` ends those that a user has here, and says how many they were."""
        self._store = store
        self._bus = bus
        self._clock = clock
        self._close_sessions = close_sessions
        self._poll_seconds = min(poll_seconds, POLL_SECONDS)
        # Everything up to here was read from the store, and obeyed.
        self._read_up_to = 0
        # The latest of each user: those that refuse, or did of late, and those not read yet.
        self._known: dict[str, Revocation] = {}
        # Whose came by another way since the store was last asked: the answer may lack them.
        self._heard: set[str] = set()
        self._is_in_trouble = False
        self.obeyed = 0

    async def load(self) -> None:
        """Learn who is refused now, before there are any sessions. Waits for the store."""
        backoff = Backoff()
        while not await self._has_done(self._load):
            await backoff.wait()

    async def run(self) -> None:
        """Look for what no hint has told, until cancelled. `load` was before."""
        is_read = True
        while True:
            pause_seconds = self._poll_seconds if is_read else RETRY_SECONDS
            await asyncio.sleep(min(pause_seconds, self._poll_seconds))
            is_read = await self._has_done(self._read)

    async def revoke(self, user: str, until_ms: int | None, by: str) -> Revocation:
        """End every session of a user; refuse new ones until then, and where that is None as long
        as was said before. When this returns the store has it. `by` is for the log.

        Returns what is in force: `until_ms` is None where nobody is refused.
        Raises: StoreUnavailable (perhaps it will happen, so say it again).
        """
        revocation = await self._store.revoke(user, until_ms)
        until = rfc3339(revocation.until_ms) if self._refuses(revocation) else None
        log.info("user_revoked", user=user, by=by, until=until)
        self._hear(revocation)
        self._end_sessions(user)  # also behind a later one: that may be of a store that is gone
        self._bus.publish_to_all(encode_revocation_hint(revocation))
        return revocation if until is not None else revocation._replace(until_ms=None)

    def heard(self, revocation: Revocation) -> None:
        """A hint has come. What is known already, or was told in the wrong order, means nothing:
        with a later one all sessions of this user have ended as well.
        """
        known = self._known.get(revocation.user)
        if revocation.revoked_at > self._read_up_to and known != revocation:
            self._hear(revocation)

    def is_refused(self, user: str) -> bool:
        """Say whether this user may have no new session, and no request, now."""
        known = self._known.get(user)
        return known is not None and self._refuses(known)

    # Inside ----------------------------------------------------------------------------------

    def _hear(self, revocation: Revocation) -> None:
        if not self._is_outdated(revocation):
            self._heard.add(revocation.user)
            self._obey(revocation)

    async def _load(self) -> None:
        for revocation in await self._standing():
            self._known[revocation.user] = revocation
            self._read_up_to = max(self._read_up_to, revocation.revoked_at)

    async def _standing(self) -> Sequence[Revocation]:
        return await self._store.standing(self._clock.wall_ms() - KEPT_MS)

    async def _read(self) -> None:
        is_complete = False
        while not is_complete:
            self._heard.clear()
            # With the last one that was read, or a later one of that user: where there is neither,
            # the store is not what it was.
            rows = await self._store.since(self._read_up_to - 1, _ROWS_AT_ONCE)
            if not rows and self._read_up_to:
                await self._read_afresh()
                break
            is_complete = len(rows) < _ROWS_AT_ONCE
            for revocation in rows:
                if revocation.revoked_at > self._read_up_to:
                    self._learn(revocation)
                    self._read_up_to = revocation.revoked_at
        self._known = {
            user: known
            for user, known in self._known.items()
            if user in self._heard or self._refuses(known, KEPT_MS)
        }

    async def _read_afresh(self) -> None:
        """The store has gone back, to a backup perhaps: what it says now is what holds."""
        self._heard.clear()
        standing = await self._standing()
        log.warning("revocations_gone_back", advice="close again whom its backup does not know of")
        for revocation in standing:
            self._learn(revocation)
        users = self._heard.union(each.user for each in standing)
        self._known = {user: known for user, known in self._known.items() if user in users}
        self._read_up_to = max((each.revoked_at for each in standing), default=0)

    def _learn(self, revocation: Revocation) -> None:
        """A row was read. The store is believed, but for what was heard since it was asked."""
        known = self._known.get(revocation.user)
        is_outdated = revocation.user in self._heard and self._is_outdated(revocation)
        if known != revocation and not is_outdated:
            self._obey(revocation)

    def _is_outdated(self, revocation: Revocation) -> bool:
        known = self._known.get(revocation.user)
        return known is not None and known.revoked_at > revocation.revoked_at

    async def _has_done(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do it, and say so; or log why not, once until it works again."""
        why = None
        try:
            async with asyncio.timeout(READ_SECONDS):
                await work()
        except (TimeoutError, StoreUnavailable) as error:
            why = str(error) or "no answer in time"
        if why is not None and not self._is_in_trouble:
            log.warning("revocations_unread", reason=why, advice="hints still end sessions")
        self._is_in_trouble = why is not None
        return why is None

    def _obey(self, revocation: Revocation) -> None:
        self._known[revocation.user] = revocation
        self.obeyed += 1
        self._end_sessions(revocation.user)

    def _end_sessions(self, user: str) -> None:
        count = self._close_sessions(user)
        if count:
            log.info("user_sessions_closed", user=user, count=count)

    def _refuses(self, revocation: Revocation, ago_ms: int = 0) -> bool:
        """Say whether it refuses anybody, or did so long ago."""
        until_ms = revocation.until_ms
        return until_ms is not None and until_ms > self._clock.wall_ms() - ago_ms
