"""The directory in memory."""

from collections.abc import Collection, Mapping

from landline.errors import DirectoryUnavailable

# user -> {(address, session)}: what all servers of one process share.
Registry = dict[str, set[tuple[str, str]]]


class MemoryDirectory:
    """See `landline.ports.Directory`. One per server; servers that share a registry see each
    other. `address` names this run of this server.
    """

    def __init__(self, registry: Registry, address: str, *, has_all: bool = True) -> None:
        """Without `has_all` there are other servers that share no registry with this one."""
        self._registry = registry
        self._address = address
        self._has_all = has_all

    async def register(self, registrations: Collection[tuple[str, str]]) -> None:
        """Add each session's own registration."""
        for user, session in registrations:
            self._registry.setdefault(user, set()).add((self._address, session))

    async def unregister(self, registrations: Collection[tuple[str, str]]) -> None:
        """Remove each session's own registration."""
        for user, session in registrations:
            known = self._registry.get(user)
            if known is None:
                continue
            known.discard((self._address, session))
            if not known:
                del self._registry[user]

    async def lookup(self, users: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Return the other servers of every user that has any."""
        found = {}
        for user in users:
            addresses = {address for address, _session in self._registry.get(user, ())}
            addresses.discard(self._address)
            if addresses:
                found[user] = frozenset(addresses)
        return found

    async def sessions(self, user: str) -> Collection[tuple[str, str]]:
        """Return the sessions of other servers, unless some of these cannot be seen from here."""
        if not self._has_all:
            raise DirectoryUnavailable("without --redis nobody knows the sessions of other servers")
        found = sorted(self._registry.get(user, ()))
        return [
            (address.partition("/")[0], session)
            for address, session in found
            if address != self._address
        ]

    def health(self) -> str | None:
        """Memory is always there."""
        return None

    async def close(self) -> None:
        """Remove every registration of this server."""
        for user, registrations in list(self._registry.items()):
            registrations -= {each for each in registrations if each[0] == self._address}
            if not registrations:
                del self._registry[user]
