"""Which sessions a user has: here, and as far as the directory knows on other servers."""

from collections.abc import Mapping

from landline.delivery import Delivery
from landline.gateway.connection import Connection
from landline.model import OpenSession
from landline.ports import Directory


class Sessions:
    """Looks up the sessions of a user."""

    def __init__(
        self, *, delivery: Delivery, directory: Directory, connections: Mapping[str, Connection]
    ) -> None:
        self._delivery = delivery
        self._directory = directory
        self._connections = connections

    async def of(self, user: str) -> list[OpenSession]:
        """Return a user's sessions, this server's first. The others' are as the directory knows
        them: one that has just begun or ended there may be missing or too many.

        Raises: DirectoryUnavailable.
        """
        elsewhere = await self._directory.sessions(user)
        found = []
        for id in self._delivery.sessions_of(user):
            if (connection := self._connections.get(id)) is not None:
                facts = connection.facts
                known = connection.opened_at_ms, facts.get("peer"), facts.get("origin")
                found.append(OpenSession(self._delivery.server_id, id, *known))
        return found + [OpenSession(server, session) for server, session in elsewhere]
