"""`/v1/users/{user}/sessions`: the product's backend sees a user's sessions, and ends them."""

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import unquote

import msgspec

from landline.auth.principal import Principal
from landline.model import OpenSession, Revocation
from landline.protocol.client_frames import BadFrame
from landline.protocol.codes import ErrorCode
from landline.protocol.identity import BadName, check_user_name
from landline.protocol.times import nearest_time, read_rfc3339, rfc3339


class SessionEntry(msgspec.Struct, frozen=True):
    """A session. What is not known where it was asked is left out."""

    session: str
    server: str
    opened: str | msgspec.UnsetType = msgspec.UNSET
    address: str | msgspec.UnsetType = msgspec.UNSET
    origin: str | msgspec.UnsetType = msgspec.UNSET


class SessionList(msgspec.Struct, frozen=True):
    """Answer to GET."""

    user: str
    sessions: list[SessionEntry]


class SessionsClosed(msgspec.Struct, frozen=True):
    """Answer to DELETE. `until`: no new session and no request of this user before then."""

    user: str
    until: str | msgspec.UnsetType = msgspec.UNSET


class SessionsBackend(Protocol):
    """The server, as far as these requests reach it."""

    async def sessions_of(self, user: str) -> Sequence[OpenSession]:
        """Return a user's sessions on all servers. Raises: DirectoryUnavailable."""

    async def revoke(self, user: str, until_ms: int | None, by: str) -> Revocation:
        """End a user's sessions on all servers; see `landline.gateway.revocations`.

        Raises: StoreUnavailable.
        """


async def list_sessions(
    backend: SessionsBackend, principal: Principal, segment: str
) -> SessionList:
    """Return the sessions of the user whose name is this segment of the path, percent-encoded.

    Raises: BadFrame for what is wrong with the request, DirectoryUnavailable.
    """
    user = _user(principal, segment)
    found = await backend.sessions_of(user)
    return SessionList(user, [_entry(each) for each in found])


async def close_sessions(
    backend: SessionsBackend, principal: Principal, segment: str, until: str | None
) -> SessionsClosed:
    """End every session of the user whose name is this segment of the path, percent-encoded.

    `until` is the parameter as it was given, None where it was not.
    Raises: BadFrame for what is wrong with the request, StoreUnavailable.
    """
    user = _user(principal, segment)
    until_ms = None if until is None else _time(until)
    revocation = await backend.revoke(user, until_ms, principal.user)
    if revocation.until_ms is None:
        return SessionsClosed(user)
    return SessionsClosed(user, rfc3339(revocation.until_ms))


def _user(principal: Principal, segment: str) -> str:
    if not principal.is_service:
        raise BadFrame(ErrorCode.FORBIDDEN, "this is for the product's own backend")
    try:
        return check_user_name(unquote(segment, errors="strict"))
    except UnicodeDecodeError:
        raise _bad("the user name in the path is not UTF-8") from None
    except BadName as error:
        raise _bad(str(error)) from None


def _time(until: str) -> int:
    try:
        return nearest_time(read_rfc3339(until))
    except ValueError as error:
        advice = "; in an address + is written %2B" if " " in until else ""
        raise _bad(f"until is {error}{advice}") from None


def _entry(session: OpenSession) -> SessionEntry:
    opened_ms = session.opened_ms
    return SessionEntry(
        session=session.session,
        server=session.server,
        opened=msgspec.UNSET if opened_ms is None else rfc3339(opened_ms),
        address=msgspec.UNSET if session.address is None else session.address,
        origin=msgspec.UNSET if session.origin is None else session.origin,
    )


def _bad(message: str) -> BadFrame:
    return BadFrame(ErrorCode.BAD_FRAME, message)
