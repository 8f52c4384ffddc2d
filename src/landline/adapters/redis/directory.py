"""The directory in Redis: who is where.

What is true is what this server has in memory, and Redis is made to agree:

* A registration is written when it changes; where that fails, with the next beat.
* Every beat writes one key, which says that this server is alive. What that key held before tells
  whether Redis has forgotten (a flush, a restart, a failover to an old replica): then every
  registration is written again at once.
* A slow walk writes every registration again, a few with each beat: one may have been evicted. It
  goes on where it stopped, so under load it is late for all, never for some.

So what a beat costs does not grow with the number of sessions, but for the few of the walk.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from redis.exceptions import ResponseError

from landline.adapters.redis.connections import (
    Command,
    RedisConnections,
    SendCommands,
    is_foreign,
    raise_refusal,
)
from landline.adapters.redis.registrations import (
    Registration,
    ServerLife,
    member,
    read_life,
    read_registrations,
    server_key,
    user_key,
)
from landline.adapters.redis.scripts import ENTER, REMOVE_IF_UNCHANGED, REPLACE_IF_UNCHANGED
from landline.errors import DirectoryUnavailable, StartupError
from landline.observability.logging import get_logger

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

REDIS_ANSWER_SECONDS = 0.2
BEAT_SECONDS = 3.0
# In beats: how long the walk along all registrations takes. Until it comes past one that Redis
# alone has lost, messages to that user come with the sweep.
WALK_BEATS = 60
# In beats: a server that has missed this many is dead, and a new server with the id of an old one
# watches it for this long.
_ALIVE_BEATS = 5
_WATCH_BEATS = 1.5
# In walks: a registration that was left out of this many is no more.
_WALKS_KEPT = 3
# A third of a beat: how often a Redis in trouble is tried.
_PROBES_PER_BEAT = 3
# Sessions asserted by one command: a millisecond of this loop's time, and less of Redis's.
_CHUNK = 200
# How long a server is taken to live on; a hint to a dead one is only lost.
_LIFE_SECONDS = 1.0
_REMEMBERED = 10_000  # to be taken out when Redis is back; those beyond it expire

log = get_logger(__name__)


class RedisDirectory:
    """See `landline.ports.Directory`. `run` belongs into the task group of whoever serves."""

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
        self._server_id = server_id
        self._incarnation = incarnation
        self._beat_seconds = beat_seconds
        self._walk_beats = walk_beats
        self._beats_kept = _WALKS_KEPT * walk_beats
        self._redis = RedisConnections(url, deadline_seconds)
        self._beat = 1
        self._is_ours = True  # the server's key, as far as we know
        self._trouble: str | None = None
        self._confirmed = 0  # the latest beat that Redis has answered
        # (user, session): what is true here, in the order of the walk; and what is due before that
        self._registrations: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._due: dict[tuple[str, str], None] = {}
        self._left: dict[tuple[str, str], None] = {}  # to take out, oldest first
        self._stale: dict[tuple[str, bytes], bytes] = {}  # of dead servers: (user, member) -> value
        self._lives: dict[str, tuple[ServerLife, float]] = {}  # and until when each holds
        self._is_closed = False

    async def claim(self) -> None:
        """Take the server id before anything else is done with it.

        Where another run of a server holds it, that run is watched for somewhat more than a beat:
        one that was killed a moment ago does not stir, and is succeeded. A Redis that does not
        answer is no obstacle: `run` claims the id when it does.
        Raises: StartupError when another server with this id is alive.
        """
        loop = asyncio.get_running_loop()
        watched: bytes | None = None
        until = 0.0
        while True:
            try:
                held = await self._held()
                if watched is not None and held not in (None, watched):
                    raise StartupError(
                        f"--server-id {self._server_id}: another server with this id is running;"
                        " stop that one or choose another id"
                    )
                is_dead = watched is not None and loop.time() >= until
                if (held is None or is_dead) and await self._succeed(held or b""):
                    return
            except DirectoryUnavailable as error:
                log.warning("server_id_not_claimed", reason=str(error))
                return
            if watched is None and held is not None:
                watched, until = held, loop.time() + _WATCH_BEATS * self._beat_seconds
            await asyncio.sleep(self._beat_seconds / 20)

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
        for each in registrations:
            self._registrations[each] = self._due[each] = None
            self._left.pop(each, None)
        async with self._redis.call() as send:
            await self._enter(send, registrations)

    async def unregister(self, registrations: Collection[tuple[str, str]]) -> None:
        """Take them out in one step; what fails is taken out with the next beat, or expires."""
        # Remembered in any case: a beat under way may be putting one of them back just now.
        for each in registrations:
            self._registrations.pop(each, None)
            self._due.pop(each, None)
            _remember(self._left, each, None)
        async with self._redis.call() as send:
            await self._remove(send, registrations)

    async def lookup(self, users: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Ask for all users at once, then for the servers not heard of within the last second."""
        async with self._redis.call() as send:
            found = await self._read(send, users)
            await self._look_after(send, found)
        addresses: dict[str, set[str]] = {}
        for each in found:
            if each.is_alive(self._life(each.server_id), self._beats_kept):
                addresses.setdefault(each.user, set()).add(each.address)
            else:
                _remember(self._stale, (each.user, each.member), each.value)
        return {user: frozenset(theirs) for user, theirs in addresses.items()}

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

    # The server's own key --------------------------------------------------------------------

    @property
    def _alive_ms(self) -> int:
        return round(_ALIVE_BEATS * self._beat_seconds * 1000)

    @property
    def _kept_ms(self) -> int:
        return round((self._beats_kept + _ALIVE_BEATS) * self._beat_seconds * 1000)

    async def _held(self) -> bytes | None:
        # Not GET, which fails where somebody else has put another type there.
        async with self._redis.call() as send:
            replies = await send([("MGET", server_key(self._server_id))])
            raise_refusal(replies)
        held: bytes | None = replies[0][0]
        return held

    async def _succeed(self, held: bytes) -> bool:
        """Put ourselves in the place of what was seen there."""
        life = ServerLife(self._incarnation, self._beat).encode()
        async with self._redis.call() as send:
            return await self._replace(send, held, life)

    async def _replace(self, send: SendCommands, seen: bytes, life: bytes) -> bool:
        key = server_key(self._server_id)
        replies = await send([("EVAL", REPLACE_IF_UNCHANGED, 1, key, seen, life, self._alive_ms)])
        self._raise_foreign(replies)
        return bool(replies[0])

    def _raise_foreign(self, replies: Sequence[object]) -> None:
        """Raise what refused a script. About a foreign key that is: about the server's own."""
        if any(map(is_foreign, replies)):
            key = server_key(self._server_id).decode()
            raise ResponseError(
                f"the key {key} is not Landline's: delete it (redis-cli DEL {key}),"
                " or choose another --server-id"
            )
        raise_refusal(replies)

    async def _retire(self) -> None:
        # What stands there is asked for: a beat that was cut off may have come through or not.
        held = await self._held()
        life = read_life(held)
        if held is not None and life is not None and life.incarnation == self._incarnation:
            async with self._redis.call() as send:
                await self._replace(send, held, b"")
        for chunk in _chunks(self._registrations.keys() | self._left.keys()):
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
        pause = self._beat_seconds / 2 / max(1, -(-len(wanted) // _CHUNK))
        for chunk in _chunks(wanted):
            if self._is_closed:
                return
            present = [each for each in chunk if each in self._registrations]
            async with self._redis.call() as send:
                await self._enter(send, present)
            await asyncio.sleep(pause)
        await self._tidy()

    async def _tidy(self) -> None:
        """Take out what left while it could not be, and what servers left behind that are dead."""
        for left in _chunks(list(self._left)):
            async with self._redis.call() as send:
                await self._remove(send, left)
            for each in left:
                self._left.pop(each, None)
        for stale in _chunks(list(self._stale.items())):
            async with self._redis.call() as send:
                await self._remove_stale(send, stale)
            for name, _value in stale:
                self._stale.pop(name, None)
        now = asyncio.get_running_loop().time()
        self._lives = {key: life for key, life in self._lives.items() if life[1] > now}

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
                server_key(self._server_id),
                *[user_key(user) for user, _session in chunk],
                self._incarnation,
                ServerLife(self._incarnation, self._beat).encode(),
                self._alive_ms,
                self._kept_ms,
                self._beat,
                *[member(self.address, session) for _user, session in chunk],
            )
            for chunk in list(_chunks(registrations)) or [[]]
        ]
        confirmed, beat = self._confirmed, self._beat
        replies = await send(commands)
        self._raise_foreign(replies)
        self._confirmed = max(self._confirmed, beat)
        for each in registrations:
            self._due.pop(each, None)
            if each in self._registrations:
                self._registrations.move_to_end(each)
        self._look_at(replies[0], confirmed)

    def _look_at(self, held: bytes, confirmed: int) -> None:
        """Learn from what the server's key held, when `confirmed` had been answered before."""
        life = read_life(held)
        is_ours = held == b"" or (life is not None and life.incarnation == self._incarnation)
        if is_ours and confirmed > 0 and (life is None or life.beat < confirmed):
            if len(self._due) < len(self._registrations):
                log.info("directory_forgot", sessions=len(self._registrations))
            self._due.update(self._registrations)
        if self._is_ours and not is_ours:
            log.error(
                "server_id_taken",
                advice="another server runs with this --server-id: stop one of them. Until then"
                " messages to the users here may arrive by the sweep",
            )
        self._is_ours = is_ours

    async def _remove(self, send: SendCommands, registrations: Iterable[tuple[str, str]]) -> None:
        commands: list[Command] = [
            ("HDEL", user_key(user), member(self.address, session))
            for user, session in registrations
        ]
        if commands:
            # In a key of another type there is nothing of ours.
            raise_refusal([each for each in await send(commands) if not is_foreign(each)])

    async def _remove_stale(
        self, send: SendCommands, stale: Sequence[tuple[tuple[str, bytes], bytes]]
    ) -> None:
        keys = [user_key(user) for (user, _member), _value in stale]
        seen = [part for (_user, name), value in stale for part in (name, value)]
        raise_refusal(await send([("EVAL", REMOVE_IF_UNCHANGED, len(keys), *keys, *seen)]))

    async def _read(self, send: SendCommands, users: Collection[str]) -> list[Registration]:
        replies = await send([("HGETALL", user_key(user)) for user in users])
        # In a key of another type there is nothing of ours. Of the rest one answer is enough.
        ours = [pair for pair in zip(users, replies, strict=True) if not is_foreign(pair[1])]
        answered = [pair for pair in ours if not isinstance(pair[1], Exception)]
        if not answered:
            raise_refusal([reply for _user, reply in ours])
        found = [each for user, reply in answered for each in read_registrations(user, reply)]
        return [each for each in found if each.address != self.address]

    async def _look_after(self, send: SendCommands, found: Iterable[Registration]) -> None:
        """Ask for the servers of which the last answer does not show these registrations alive."""
        now = asyncio.get_running_loop().time()
        unknown = {
            each.server_id
            for each in found
            if not each.is_alive(self._life(each.server_id, now), self._beats_kept)
        }
        if not unknown:
            return
        asked = sorted(unknown)
        replies = await send([("MGET", *map(server_key, asked))])
        raise_refusal(replies)
        for server_id, value in zip(asked, replies[0], strict=True):
            life = read_life(value)
            if life is None:
                self._lives.pop(server_id, None)
            else:
                self._lives[server_id] = (life, now + _LIFE_SECONDS)

    def _life(self, server_id: str, now: float = 0.0) -> ServerLife | None:
        known = self._lives.get(server_id)
        return known[0] if known is not None and known[1] > now else None


def _chunks(items: Collection[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]
