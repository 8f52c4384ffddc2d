"""What the interface for programs asks of the server behind it."""

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request

from landline.auth.principal import Principal
from landline.model import OpenSession, Revocation
from landline.protocol.client_frames import ChangeMember, LogRequest, MarkRead, Question


class Backend(Protocol):
    """The server, as far as requests reach it."""

    async def identify(self, request: Request) -> Principal:
        """Return who sends a request. Raises: RequestRefused."""

    async def end_user(
        self, principal: Principal, user: str, name: str, until_ms: int | None
    ) -> tuple[int | None, int, int]:
        """End a user's sessions, as `revoke` does, their memberships of rooms and their devices,
        and what is owed to them. What they have said is shown under `name` from then on. Returns
        until when they are refused, and how many rooms and devices there were.

        Raises: RequestRefused, StoreUnavailable, LogUnavailable; some of it may have ended then.
        """

    async def post(self, principal: Principal, sender: str, request: LogRequest) -> bytes:
        """Send a message, make a room or change one, in this name. The product's backend is an
        admin of every room in its own. Returns the answer, a frame `accepted` or `error`.

        Raises: RequestRefused, where no server is behind it now.
        """

    async def place(self, principal: Principal, sender: str, change: ChangeMember) -> bytes:
        """Make somebody a member with this role: `change` is the one that adds them. Otherwise as
        `post`.
        """

    async def mark(self, principal: Principal, user: str, mark: MarkRead) -> bytes:
        """Note how far a user has seen a conversation. Returns a frame `read` once that is in the
        log, or `error`. Raises: RequestRefused.
        """

    async def ask(self, principal: Principal, user: str, question: Question) -> bytes:
        """Return the answer to a question of a user, a frame. The product's backend in its own name
        sees who is in which room. Raises: RequestRefused.
        """

    async def sessions_of(self, user: str) -> Sequence[OpenSession]:
        """Return a user's sessions on all servers. Raises: RequestRefused, DirectoryUnavailable."""

    async def revoke(self, user: str, until_ms: int | None, by: str) -> Revocation:
        """End a user's sessions on all servers; refuse new ones, and requests, until then. None
        leaves that as it was. Returns what is in force: `until_ms` is None where nobody is refused.

        Raises: RequestRefused, StoreUnavailable.
        """
