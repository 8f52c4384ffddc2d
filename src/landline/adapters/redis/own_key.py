"""The key in Redis that says which run of a server is alive, and how many beats old it is."""

import asyncio
from collections.abc import Sequence
from typing import Final

from redis.exceptions import ResponseError

from landline.adapters.redis.connections import (
    RedisConnections,
    SendCommands,
    is_foreign,
    raise_refusal,
)
from landline.adapters.redis.registrations import ServerLife, read_life, server_key
from landline.adapters.redis.scripts import REPLACE_IF_UNCHANGED
from landline.errors import DirectoryUnavailable, StartupError
from landline.observability.logging import get_logger

# In beats: a server that has missed this many is dead, and a new server with the id of an old one
# watches it for this long.
ALIVE_BEATS: Final = 5
_WATCH_BEATS: Final = 1.5
# So many late answers, and the server starts without the key. Each costs the start a deadline.
_LATE_ANSWERS: Final = 4

log = get_logger(__name__)


class OwnKey:
    """The key of this server. Only one run of a server holds it."""

    def __init__(
        self, connections: RedisConnections, server_id: str, incarnation: str, beat_seconds: float
    ) -> None:
        self.name = server_key(server_id)
        self.alive_ms = round(ALIVE_BEATS * beat_seconds * 1000)
        self._connections = connections
        self._server_id = server_id
        self._incarnation = incarnation
        self._beat_seconds = beat_seconds
        self._is_ours = True  # as far as we know

    def life(self, beat: int) -> bytes:
        """Return the value that says that this run is alive in that beat."""
        return ServerLife(self._incarnation, beat).encode()

    async def claim(self, beat: int) -> None:
        """Take the server id, unless another run of a server that is alive has it.

        Such a run is watched for somewhat more than a beat: one that was killed a moment ago does
        not stir, and is succeeded. A Redis that does not answer is only a line in the log.
        Raises: StartupError.
        """
        loop = asyncio.get_running_loop()
        watched: bytes | None = None
        until = 0.0
        late_answers = 0
        while True:
            try:
                held = await self._held()
                if self._is_of_this_run(held):  # we did take it: only the answer was late
                    return
                if watched is not None and held not in (None, watched):
                    raise StartupError(
                        f"--server-id {self._server_id}: another server with this id is running;"
                        " stop that one or choose another id"
                    )
                is_dead = watched is not None and loop.time() >= until
                if (held is None or is_dead) and await self._succeed(held or b"", beat):
                    return
            except DirectoryUnavailable as error:
                # One answer that is late is no outage: another run may be alive all the same.
                late_answers += 1
                is_down = self._connections.down is not None or late_answers == _LATE_ANSWERS
                if is_down or _is_refusal(error):
                    log.warning("server_id_not_claimed", reason=str(error))
                    return
            else:
                if watched is None and held is not None:
                    watched, until = held, loop.time() + _WATCH_BEATS * self._beat_seconds
            await asyncio.sleep(self._beat_seconds / 20)

    async def retire(self) -> None:
        """Delete the key, where it is still ours. Raises: DirectoryUnavailable."""
        # What stands there is asked for: a beat that was cut off may have come through or not.
        held = await self._held()
        if held is not None and self._is_of_this_run(held):
            async with self._connections.call() as send:
                await self._replace(send, held, b"")

    def note(self, held: bytes) -> int | None:
        """Take what the key held before the latest beat was written, b"" for nothing.

        Returns the beat that Redis remembers of this run, 0 for none, or None where another run
        of a server has the key.
        """
        life = read_life(held)
        is_ours = held == b"" or self._is_of_this_run(held)
        if self._is_ours and not is_ours:
            log.error(
                "server_id_taken",
                advice="another server runs with this --server-id: stop one of them. Until then"
                " messages to the users here may arrive by the sweep",
            )
        self._is_ours = is_ours
        if not is_ours:
            return None
        return 0 if life is None else life.beat

    def raise_refusal(self, replies: Sequence[object]) -> None:
        """Raise what refused a script. Where it says that a key is foreign, it is this one.

        Raises: ResponseError.
        """
        if any(map(is_foreign, replies)):
            key = self.name.decode()
            raise ResponseError(
                f"the key {key} is not Landline's: delete it (redis-cli DEL {key}),"
                " or choose another --server-id"
            )
        raise_refusal(replies)

    def _is_of_this_run(self, held: bytes | None) -> bool:
        life = read_life(held)
        return life is not None and life.incarnation == self._incarnation

    async def _held(self) -> bytes | None:
        # Not GET, which fails where somebody else has put another type there.
        async with self._connections.call() as send:
            replies = await send([("MGET", self.name)])
            raise_refusal(replies)
        held: bytes | None = replies[0][0]
        return held

    async def _succeed(self, held: bytes, beat: int) -> bool:
        """Put ourselves in the place of what was seen there."""
        async with self._connections.call() as send:
            return await self._replace(send, held, self.life(beat))

    async def _replace(self, send: SendCommands, seen: bytes, life: bytes) -> bool:
        replies = await send(
            [("EVAL", REPLACE_IF_UNCHANGED, 1, self.name, seen, life, self.alive_ms)]
        )
        self.raise_refusal(replies)
        return bool(replies[0])


def _is_refusal(error: DirectoryUnavailable) -> bool:
    return isinstance(error.__cause__, ResponseError)
