"""Looking users up in Redis: which registrations they have, and which of these still count."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from landline.adapters.redis.connections import (
    RedisConnections,
    SendCommands,
    is_foreign,
    raise_refusal,
)
from landline.adapters.redis.registrations import (
    Registration,
    ServerLife,
    chunks,
    read_life,
    read_registrations,
    remember,
    server_key,
    user_key,
)
from landline.adapters.redis.scripts import REMOVE_IF_UNCHANGED

# For so long a server is taken to live on; a hint to a dead one is only lost.
_LIFE_SECONDS: Final = 1.0


class Lookups:
    """Finds the other servers of users, and takes out what dead servers have left behind."""

    def __init__(self, connections: RedisConnections, address: str, beats_kept: int) -> None:
        """`address`: this server's own, which is left out of the answers. A registration that was
        made `beats_kept` beats of its server ago counts no more.
        """
        self._connections = connections
        self._address = address
        self._beats_kept = beats_kept
        self._stale: dict[tuple[str, bytes], bytes] = {}  # of dead servers: (user, member) -> value
        # Server id -> its life, and until when that holds.
        self._lives: dict[str, tuple[ServerLife, float]] = {}

    async def find(self, users: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Ask for all users at once, then for the servers not heard of within the last second.

        Raises: DirectoryUnavailable.
        """
        addresses: dict[str, set[str]] = {}
        for registration in await self._find_alive(users):
            addresses.setdefault(registration.user, set()).add(registration.address)
        return {user: frozenset(theirs) for user, theirs in addresses.items()}

    async def sessions(self, user: str) -> list[tuple[str, str]]:
        """Return server id and session of each on other servers. Raises: DirectoryUnavailable."""
        found = await self._find_alive([user])
        return sorted((registration.server_id, registration.session) for registration in found)

    async def tidy(self) -> None:
        """Take out what dead servers have left behind. Raises: DirectoryUnavailable."""
        for stale in chunks(list(self._stale.items())):
            async with self._connections.call() as send:
                await self._remove_stale(send, stale)
            for name, _value in stale:
                self._stale.pop(name, None)
        now = asyncio.get_running_loop().time()
        self._lives = {key: life for key, life in self._lives.items() if life[1] > now}

    async def _find_alive(self, users: Collection[str]) -> list[Registration]:
        async with self._connections.call() as send:
            found = await self._read(send, users)
            await self._look_after(send, found)
        alive = []
        for registration in found:
            if registration.is_alive(self._life(registration.server_id), self._beats_kept):
                alive.append(registration)
            else:
                remember(self._stale, (registration.user, registration.member), registration.value)
        return alive

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
        found = [
            registration
            for user, reply in answered
            for registration in read_registrations(user, reply)
        ]
        return [registration for registration in found if registration.address != self._address]

    async def _look_after(self, send: SendCommands, found: Iterable[Registration]) -> None:
        """Ask for the servers of which the last answer does not show these registrations alive."""
        now = asyncio.get_running_loop().time()
        unknown = {
            registration.server_id
            for registration in found
            if not registration.is_alive(self._life(registration.server_id, now), self._beats_kept)
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
