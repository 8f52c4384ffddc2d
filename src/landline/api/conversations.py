"""`/v1/conversations`: what there is, what was said, who is in it, and how far it was read."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
import orjson
from starlette.requests import Request

from landline.api.backend import Backend
from landline.api.http import HttpResponse, json_response
from landline.api.messages import answer, refusal
from landline.api.parts import (
    acting,
    check_known,
    check_types,
    for_the_log,
    number,
    query_of,
    read_body,
    segment,
)
from landline.api.types import MarkAccepted, ReadMark
from landline.auth.principal import Principal
from landline.protocol.client_frames import (
    AskHistory,
    AskList,
    AskMembers,
    BadFrame,
    Fields,
    MarkRead,
    read_history,
    read_list,
    read_members,
    read_read,
)

Query = Mapping[str, str]
_Question = TypeVar("_Question", AskList, AskHistory, AskMembers)


async def get_conversations(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request for a user's conversations. Raises: RequestRefused."""
    return await _ask(request, backend, read_conversations)


async def get_history(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request for a page of a conversation. Raises: RequestRefused."""
    return await _ask(request, backend, lambda query: read_page(segment(request, 3), query))


async def get_members(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request for who is in a conversation. Raises: RequestRefused."""
    return await _ask(
        request, backend, lambda _query: read_members({"conversation": segment(request, 3)})
    )


async def put_read(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request that says how far somebody has seen it. Raises: RequestRefused."""
    principal = await backend.identify(request)
    try:
        check_known(query_of(request))
        user, mark = read_mark(segment(request, 3), await request.body(), principal)
    except BadFrame as refused:
        return refusal(refused)
    frame = await backend.mark(principal, user, mark)
    told = orjson.loads(frame)
    if told["type"] != "read":
        return answer(frame)
    [[_, offset]] = told["entries"]
    marked = MarkAccepted(mark.conversation, user, offset)
    return json_response(HTTPStatus.OK, msgspec.json.encode(marked))


async def _ask(
    request: Request, backend: Backend, read: Callable[[Query], _Question]
) -> HttpResponse:
    principal = await backend.identify(request)
    try:
        query = query_of(request)
        user = acting(principal, query.get("user"), "user")
        question = read(query)
    except BadFrame as refused:
        return refusal(refused)
    return answer(await backend.ask(principal, user, question))


def read_conversations(query: Query) -> AskList:
    """Return the question that a query is. Raises: BadFrame."""
    return read_list(_chosen(query, "after") | _numbers(query, "limit"))


def read_page(conversation: str, query: Query) -> AskHistory:
    """Return the question that a query is. Raises: BadFrame."""
    return read_history(
        {"conversation": conversation, **_numbers(query, "before", "after", "limit")}
    )


def read_mark(conversation: str, body: bytes, principal: Principal) -> tuple[str, MarkRead]:
    """Return who has seen a conversation, and how far, as a body says. Raises: BadFrame."""
    fields: Fields = read_body(body)
    with for_the_log({}):  # a mark has no ref
        mark = read_read({**fields, "conversation": conversation})
        check_types(fields, ReadMark, "read mark")
        return acting(principal, fields.get("user"), "user"), mark


def _chosen(query: Query, *names: str) -> dict[str, Any]:
    return {name: query[name] for name in names if name in query}


def _numbers(query: Query, *names: str) -> dict[str, Any]:
    return {name: number(text) for name, text in _chosen(query, *names).items()}
