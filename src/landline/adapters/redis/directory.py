"""The directory in Redis: who is where.

This server's memory is the truth, and Redis is made to agree:

* A registration is written when it changes. What could not be written is written with the next
  beat.
* Every beat writes one key, which says that this server is alive. What that key held before tells
  whether Redis has forgotten (a flush, a restart, a failover to an old replica): then every
  registration is written again at once.
* A slow walk writes every registration again, a few with each beat. It finds what no beat can
  notice: a registration that was evicted. It goes on where it stopped, so under load it is late for
  all, never for some.

So what a beat costs does not grow with the number of sessions, but for the few of the walk.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from landline.adapters.redis.connections import (
    Command,
    RedisConnections,
    SendCommands,
    is_foreign,
    raise_refusal,
)
from landline.adapters.redis.lookups import Lookups
from landline.adapters.redis.own_key import ALIVE_BEATS, OwnKey
from landline.adapters.redis.registrations import CHUNK, chunks, member, remember, user_key
from landline.adapters.redis.scripts import ENTER
from landline.errors import DirectoryUnavailable
from landline.observability.logging import get_logger

REDIS_ANSWER_SECONDS = 0.2
BEAT_SECONDS = 3.0
# In beats: how long the walk along all registrations takes. Until it comes past one that Redis
# alone has lost, messages to that user come with the sweep.
WALK_BEATS = 60
# In walks: a registration that was left out of so many is no more.
_WALKS_KEPT = 3
# A third of a beat: how often a Redis in trouble is tried.
_PROBES_PER_BEAT = 3

log = get_logger(__name__)


class RedisDirectory:
    """See `landline.ports.Directory`. `run` belongs in the task group of the server."""

    def __init__(
        self,
        url: str,
        server_id: str,
        incarnation: str,
        *,
        beat_seconds: float = BEAT_SECONDS,
        walk_beats: int = WALK_BEATS,
        deadline_seconds: float = REDIS_ANSWER_SECONDS,
    ) -> None:
        self.address = f"{server_id}/{incarnation}"
        self._incarnation = incarnation
        self._beat_seconds = beat_seconds
        self._walk_beats = walk_beats
        beats_kept = _WALKS_KEPT * walk_beats
        self._kept_ms = round((beats_kept + ALIVE_BEATS) * beat_seconds * 1000)
        self._redis = RedisConnections(url, deadline_seconds)
        self._key = OwnKey(self._redis, server_id, incarnation, beat_seconds)
        self._lookups = Lookups(self._redis, self.address, beats_kept)
        self._beat = 1
        self._trouble: str | None = None
        self._confirmed = 0  # the latest beat that Redis has answered
        # (user, session): what is true here, in the order of the walk; and what is due before that
        self._registrations: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._due: dict[tuple[str, str], None] = {}
        self._left: dict[tuple[str, str], None] = {}  # to take out, oldest first
        self._is_closed = False

    async def claim(self) -> None:
        """Take the server id before anything else is done with it.

        A Redis that does not answer is no obstacle: `run` claims the id when it does.
        Raises: StartupError when another server with this id is alive.
        """
        await self._key.claim(self._beat)

    async def run(self) -> None:
        """Beat until cancelled: say that this server is alive, and write what is due."""
        loop = asyncio.get_running_loop()
        while not self._is_closed:
            started = loop.time()
            trouble = None
            try:
                await self._beat_once()
            except DirectoryUnavailable as error:
                trouble = str(error)
            self._note(trouble)
            pause = self._beat_seconds / (_PROBES_PER_BEAT if trouble else 1)
            await asyncio.sleep(max(0.0, started + pause - loop.time()))

    async def register(self, registrations: Collection[tuple[str, str]]) -> None:
        """Enter them in one step; what fails is entered with the next beat."""
        for registration in registrations:
            self._registrations[registration] = self._due[registration] = None
            self._left.pop(registration, None)
        async with self._redis.call() as send:
            await self._enter(send, registrations)

    async def unregister(self, registrations: Collection[tuple[str, str]]) -> None:
        """Take them out in one step; what fails is taken out with the next beat, or expires."""
        # Remembered in any case: a beat under way may be putting one of them back just now.
        for registration in registrations:
            self._registrations.pop(registration, None)
            self._due.pop(registration, None)
            remember(self._left, registration, None)
        async with self._redis.call() as send:
            await self._remove(send, registrations)

    async def lookup(self, users: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Ask for all users at once, then for the servers not heard of within the last second."""
        return await self._lookups.find(users)

    async def sessions(self, user: str) -> Collection[tuple[str, str]]:
        """Ask as for a lookup."""
        return await self._lookups.sessions(user)

    def health(self) -> str | None:
        """Return what the last beat ran into, or why nothing is tried now."""
        return self._trouble or self._redis.down

    async def close(self) -> None:
        """Say that this server is gone, which ends all its registrations, and take them out.

        `run` has to be over.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._retire()
        except DirectoryUnavailable as error:
            log.warning("directory_not_left", reason=str(error), advice="its registrations expire")
        await self._redis.close()

    async def _retire(self) -> None:
        await self._key.retire()
        for chunk in chunks(self._registrations.keys() | self._left.keys()):
            async with self._redis.call() as send:
                await self._remove(send, chunk)

    # Every beat ------------------------------------------------------------------------------

    async def _beat_once(self) -> None:
        """Beat, then write what is due and the next steps of the walk, spread over half a beat."""
        self._beat += 1
        try:
            async with self._redis.call(is_probe=True) as send:
                await self._enter(send, ())
        except DirectoryUnavailable:
            # Registrations would fall behind a count that goes on without them.
            self._beat -= 1
            raise
        steps = -(-len(self._registrations) // self._walk_beats)
        wanted = list({**self._due, **dict.fromkeys(islice(self._registrations, steps))})
        pause = self._beat_seconds / 2 / max(1, -(-len(wanted) // CHUNK))
        for chunk in chunks(wanted):
            if self._is_closed:
                return
            present = [
                registration for registration in chunk if registration in self._registrations
            ]
            async with self._redis.call() as send:
                await self._enter(send, present)
            await asyncio.sleep(pause)
        await self._tidy()

    async def _tidy(self) -> None:
        """Take out what left while it could not be, and what servers left behind that are dead."""
        for left in chunks(list(self._left)):
            async with self._redis.call() as send:
                await self._remove(send, left)
            for registration in left:
                self._left.pop(registration, None)
        await self._lookups.tidy()

    def _note(self, trouble: str | None) -> None:
        if trouble is not None and self._trouble is None:
            log.warning(
                "directory_unavailable",
                reason=trouble,
                advice="messages to users on other servers arrive by the sweep until it is back",
            )
        elif trouble is None and self._trouble is not None:
            log.info("directory_recovered", sessions=len(self._registrations))
        self._trouble = trouble

    # Commands --------------------------------------------------------------------------------

    async def _enter(self, send: SendCommands, registrations: Collection[tuple[str, str]]) -> None:
        commands: list[Command] = [
            (
                "EVAL",
                ENTER,
                len(chunk) + 1,
                self._key.name,
                *[user_key(user) for user, _session in chunk],
                self._incarnation,
                self._key.life(self._beat),
                self._key.alive_ms,
                self._kept_ms,
                self._beat,
                *[member(self.address, session) for _user, session in chunk],
            )
            for chunk in list(chunks(registrations)) or [[]]
        ]
        confirmed, beat = self._confirmed, self._beat
        replies = await send(commands)
        self._key.raise_refusal(replies)
        self._confirmed = max(self._confirmed, beat)
        for registration in registrations:
            self._due.pop(registration, None)
            if registration in self._registrations:
                self._registrations.move_to_end(registration)
        self._look_at(replies[0], confirmed)

    def _look_at(self, held: bytes, confirmed: int) -> None:
        """Learn from what the server's key held, when `confirmed` had been answered before."""
        remembered = self._key.note(held)
        if remembered is not None and confirmed > 0 and remembered < confirmed:
            if len(self._due) < len(self._registrations):
                log.info("directory_forgot", sessions=len(self._registrations))
            self._due.update(self._registrations)

    async def _remove(self, send: SendCommands, registrations: Iterable[tuple[str, str]]) -> None:
        commands: list[Command] = [
            ("HDEL", user_key(user), member(self.address, session))
            for user, session in registrations
        ]
        if commands:
            # In a key of another type there is nothing of ours.
            raise_refusal([each for each in await send(commands) if not is_foreign(each)])
