"""`/v1/users/{user}/sessions`: the product's backend sees a user's sessions, and ends them."""

from collections.abc import Awaitable
from http import HTTPStatus
from urllib.parse import unquote

import msgspec
from starlette.requests import Request

from landline.api.backend import Backend
from landline.api.http import HttpResponse, json_response
from landline.api.messages import answer
from landline.api.types import SessionEntry, SessionList, SessionsClosed
from landline.auth.principal import Principal
from landline.errors import Unavailable
from landline.model import OpenSession
from landline.protocol import server_frames
from landline.protocol.client_frames import BadFrame
from landline.protocol.codes import ErrorCode
from landline.protocol.identity import BadName, check_user_name
from landline.protocol.times import nearest_time, read_rfc3339, rfc3339


async def get_sessions(request: Request, backend: Backend) -> HttpResponse:
    """Answer GET. Raises: RequestRefused."""
    principal = await backend.identify(request)
    return await answered(list_sessions(backend, principal, segment_of(request)))


async def delete_sessions(request: Request, backend: Backend) -> HttpResponse:
    """Answer DELETE. Raises: RequestRefused."""
    principal = await backend.identify(request)
    given = request.query_params.getlist("until")
    until = " ".join(given) if given else None  # two are none that can be read
    # What is misspelt, or in the wrong place, must not close the sessions and ban nobody.
    has_more = bool(set(request.query_params) - {"until"} or await request.body())
    return await answered(
        close_sessions(backend, principal, segment_of(request), until, has_more=has_more)
    )


async def answered(work: Awaitable[msgspec.Struct]) -> HttpResponse:
    """Return what comes of a request for a user."""
    try:
        return json_response(HTTPStatus.OK, msgspec.json.encode(await work))
    except BadFrame as bad:
        return answer(server_frames.error(bad.code, bad.message))
    except Unavailable as error:
        return answer(server_frames.error(ErrorCode.UNAVAILABLE, str(error)))


def segment_of(request: Request) -> str:
    """Return the name as it was written: what is no UTF-8 must not turn into a good one."""
    path: bytes = request.scope["raw_path"]
    return path.decode("ascii").split("/")[3]


async def list_sessions(backend: Backend, principal: Principal, segment: str) -> SessionList:
    """Return the sessions of the user whose name is this segment of the path, percent-encoded.

    Raises: BadFrame for what is wrong with the request, DirectoryUnavailable.
    """
    user = asked_user(principal, segment)
    found = await backend.sessions_of(user)
    return SessionList(user, [_entry(each) for each in found])


async def close_sessions(
    backend: Backend,
    principal: Principal,
    segment: str,
    until: str | None,
    *,
    has_more: bool = False,
) -> SessionsClosed:
    """End every session of the user whose name is this segment of the path, percent-encoded.

    `until` is the parameter as it was given, None where it was not. `has_more`: something else was
    given, which nobody knows.
    Raises: BadFrame for what is wrong with the request, StoreUnavailable.
    """
    user = asked_user(principal, segment)
    if has_more:
        raise _bad("the only parameter is until, in the query; nothing was done")
    until_ms = None if until is None else read_until(until)
    revocation = await backend.revoke(user, until_ms, principal.user)
    if revocation.until_ms is None:
        return SessionsClosed(user)
    return SessionsClosed(user, rfc3339(revocation.until_ms))


def asked_user(principal: Principal, segment: str) -> str:
    """Return the user of whom a service asks, whose name is this segment. Raises: BadFrame."""
    if not principal.is_service:
        raise BadFrame(ErrorCode.FORBIDDEN, "this is for the product's own backend")
    try:
        return check_user_name(unquote(segment, errors="strict"))
    except UnicodeDecodeError:
        raise _bad("the user name in the path is not UTF-8") from None
    except BadName as error:
        raise _bad(str(error)) from None


def read_until(until: str) -> int:
    """Return the time of a parameter `until`, in milliseconds. Raises: BadFrame."""
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
