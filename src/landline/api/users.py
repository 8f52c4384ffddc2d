"""`/v1/users/{user}`: a user is no more, as the product's backend says."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from starlette.requests import Request

from landline.api.backend import Backend
from landline.api.http import HttpResponse
from landline.api.parts import bad, check_known, query_of
from landline.api.sessions import answered, asked_user, read_until, segment_of
from landline.api.types import UserEnded
from landline.auth.principal import Principal
from landline.protocol.identity import BadName, check_user_name
from landline.protocol.times import rfc3339

_KNOWN: Final = ("name", "until")
# So many that two of a billion users have the same with a chance of one in forty.
_HASH_DIGITS: Final = 16


async def delete_user(request: Request, backend: Backend) -> HttpResponse:
    """Answer DELETE. Raises: RequestRefused."""
    principal = await backend.identify(request)
    has_body = bool(await request.body())

    async def ended() -> UserEnded:
        if has_body:
            raise bad("name and until belong in the query; nothing was done")
        return await end_user(backend, principal, segment_of(request), query_of(request))

    return await answered(ended())


async def end_user(
    backend: Backend, principal: Principal, segment: str, query: Mapping[str, str]
) -> UserEnded:
    """End what the user has whose name is this segment of the path, percent-encoded.

    `query`: `until` as of `close_sessions`, and `name`, under which their messages stay.
    Raises: BadFrame for what is wrong with the request, StoreUnavailable, LogUnavailable.
    """
    user = asked_user(principal, segment)
    check_known(query, _KNOWN)
    until, name = query.get("until"), query.get("name")
    until_ms = None if until is None else read_until(until)
    name = name_of_nobody(user) if name is None else _checked(name)
    in_force, rooms, devices = await backend.end_user(principal, user, name, until_ms)
    if in_force is None:
        return UserEnded(user, name, rooms, devices)
    return UserEnded(user, name, rooms, devices, rfc3339(in_force))


def name_of_nobody(user: str) -> str:
    """Return the name that a user has who is no more, if the product gives none: always the same,
    so that what was said by one of them can still be told from what was said by another.
    """
    return f"deleted-{sha256(user.encode()).hexdigest()[:_HASH_DIGITS]}"


def _checked(name: str) -> str:
    try:
        return check_user_name(name)
    except BadName as error:
        raise bad(f"name: {error}; nothing was done") from None
