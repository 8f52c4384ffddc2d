"""Which sessions a user has: here, and as far as the directory knows on other servers."""

from collections.abc import Mapping

from landline.delivery import Delivery
from landline.gateway.connection import Connection
from landline.model import OpenSession
from landline.ports import Clock, Directory


class Sessions:
    """Looks up the sessions of a user."""

    def __init__(
        self,
        delivery: Delivery,
        directory: Directory,
        connections: Mapping[str, Connection],
        clock: Clock,
    ) -> None:
        self._delivery = delivery
        self._directory = directory
        self._connections = connections
        self._clock = clock

    async def of(self, user: str) -> list[OpenSession]:
        """Return a user's sessions, this server's first. The others' are as the directory knows
        them: one that has just begun or ended there may be missing or too many.

        Raises: DirectoryUnavailable.
        """
        elsewhere = await self._directory.sessions(user)
        found = []
        now_ms, now = self._clock.wall_ms(), self._clock.monotonic()
        for id in self._delivery.sessions_of(user):
            if (connection := self._connections.get(id)) is not None:
                facts = connection.facts
                opened_ms = now_ms - round((now - connection.opened_at) * 1000)
                known = opened_ms, facts.get("peer"), facts.get("origin")
                found.append(OpenSession(self._delivery.server_id, id, *known))
        return found + [OpenSession(server, session) for server, session in elsewhere]
