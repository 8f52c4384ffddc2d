"""`/v1/users/{user}`: a user is no more, as the product's backend says."""

from collections.abc import Collection

from starlette.requests import Request

from landline.api.backend import Backend
from landline.api.http import HttpResponse
from landline.api.parts import bad, query_of
from landline.api.sessions import answered, asked_user, read_until, segment_of
from landline.api.types import UserEnded
from landline.auth.principal import Principal
from landline.protocol.times import rfc3339

_NO_OTHER_NAME = (
    "messages stay under the name that they were sent by: leave name out; nothing was done"
)


async def delete_user(request: Request, backend: Backend) -> HttpResponse:
    """Answer DELETE. Raises: RequestRefused."""
    principal = await backend.identify(request)
    has_body = bool(await request.body())

    async def ended() -> UserEnded:
        query = query_of(request)
        return await end_user(
            backend,
            principal,
            segment_of(request),
            query.get("until"),
            others={*query, *(["a body"] if has_body else [])} - {"until"},
        )

    return await answered(ended())


async def end_user(
    backend: Backend,
    principal: Principal,
    segment: str,
    until: str | None,
    *,
    others: Collection[str] = (),
) -> UserEnded:
    """End what the user has whose name is this segment of the path, percent-encoded.

    `until` as of `close_sessions`; `others`: what else was given.
    Raises: BadFrame for what is wrong with the request, StoreUnavailable, LogUnavailable.
    """
    user = asked_user(principal, segment)
    if "name" in others:
        raise bad(_NO_OTHER_NAME)
    if others:
        raise bad("the only parameter is until, in the query; nothing was done")
    until_ms = None if until is None else read_until(until)
    in_force, rooms, devices = await backend.end_user(principal, user, until_ms)
    if in_force is None:
        return UserEnded(user, rooms, devices)
    return UserEnded(user, rooms, devices, rfc3339(in_force))
