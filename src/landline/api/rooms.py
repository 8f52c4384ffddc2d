"""`/v1/rooms`: rooms are made and changed, and people come and go."""

from collections.abc import Mapping
from typing import Final
from uuid import uuid4

from starlette.requests import Request

from landline.api.backend import Backend
from landline.api.http import HttpResponse
from landline.api.messages import answer, refusal
from landline.api.parts import (
    acting,
    bad,
    check_known,
    check_ref,
    check_types,
    for_the_log,
    query_of,
    read_body,
    segment,
)
from landline.api.types import Membership, NewRoom, RoomTitle
from landline.auth.principal import Principal
from landline.protocol.client_frames import (
    BadFrame,
    ChangeMember,
    ChangeRoom,
    Create,
    read_create,
    read_member,
    read_room,
)

_REMOVAL: Final = ("ref", "retry", "sender")
_FLAGS: Final = {"true": True, "false": False}


async def post_room(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request that makes a room. Raises: RequestRefused."""
    principal = await backend.identify(request)
    try:
        check_known(query_of(request))
        sender, create = read_new_room(await request.body(), principal)
    except BadFrame as refused:
        return refusal(refused)
    return answer(await backend.post(principal, sender, create))


async def patch_room(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request that gives a room another title. Raises: RequestRefused."""
    principal = await backend.identify(request)
    try:
        check_known(query_of(request))
        room = segment(request, 3)
        sender, change = read_title(room, await request.body(), principal)
    except BadFrame as refused:
        return refusal(refused)
    return answer(await backend.post(principal, sender, change))


async def put_member(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request that makes somebody a member. Raises: RequestRefused."""
    principal = await backend.identify(request)
    try:
        check_known(query_of(request))
        room, user = segment(request, 3), segment(request, 5)
        body = await request.body()
        sender, change, has_role = read_membership(room, user, body, principal)
    except BadFrame as refused:
        return refusal(refused)
    do = backend.place if has_role else backend.post
    return answer(await do(principal, sender, change))


async def delete_member(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request that removes somebody. Raises: RequestRefused."""
    principal = await backend.identify(request)
    try:
        if await request.body():
            raise bad("ref, retry and sender are for the query, not for a body; nothing was done")
        room, user = segment(request, 3), segment(request, 5)
        sender, change = read_removal(room, user, query_of(request), principal)
    except BadFrame as refused:
        return refusal(refused)
    return answer(await backend.post(principal, sender, change))


def read_new_room(body: bytes, principal: Principal) -> tuple[str, Create]:
    """Return in whose name a body asks for which room. Raises: BadFrame."""
    fields = read_body(body)
    with for_the_log(fields):
        create = read_create(fields)
        check_ref(fields, "room")
        check_types(fields, NewRoom, "room")
        return acting(principal, fields.get("sender"), "sender"), create


def read_title(room: str, body: bytes, principal: Principal) -> tuple[str, ChangeRoom]:
    """Return in whose name a body asks for which title of a room. Raises: BadFrame."""
    fields = read_body(body)
    with for_the_log(fields):
        change = read_room(_named(fields) | {"conversation": room})
        check_types(fields, RoomTitle, "change of a room")
        return acting(principal, fields.get("sender"), "sender"), change


def read_membership(
    room: str, user: str, body: bytes, principal: Principal
) -> tuple[str, ChangeMember, bool]:
    """Return in whose name a body, which may be empty, asks for somebody to be added to a room,
    and whether it says in which role: then who is in it already gets that. Raises: BadFrame.
    """
    fields = read_body(body or b"{}")
    with for_the_log(fields):
        change = read_member(_named(fields) | _of_member(room, user, "add"))
        check_types(fields, Membership, "membership")
        return acting(principal, fields.get("sender"), "sender"), change, "role" in fields


def read_removal(
    room: str, user: str, query: Mapping[str, str], principal: Principal
) -> tuple[str, ChangeMember]:
    """Return in whose name a query asks for somebody to be removed. Raises: BadFrame."""
    with for_the_log(query):
        check_known(query, _REMOVAL)
        fields: dict[str, object] = _named(query)
        if "retry" in query:
            fields["retry"] = _FLAGS.get(query["retry"], query["retry"])
        change = read_member(fields | _of_member(room, user, "remove"))
        return acting(principal, query.get("sender"), "sender"), change


def _named(fields: Mapping[str, object]) -> dict[str, object]:
    """Return them with a `ref`. One that is made here is in every answer to the request, so it can
    be repeated with it where that is `unknown`.
    """
    return {"ref": str(uuid4()), **fields}


def _of_member(room: str, user: str, change: str) -> dict[str, object]:
    return {"conversation": room, "user": user, "change": change}
