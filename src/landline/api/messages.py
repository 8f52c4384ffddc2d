"""`POST /v1/messages`: a send, and its answer."""

from http import HTTPStatus
from math import ceil
from typing import Any, Final

import orjson
from starlette.requests import Request

from landline.api.backend import Backend
from landline.api.http import HttpResponse, json_response
from landline.api.parts import acting, check_ref, check_types, for_the_log, read_body
from landline.api.types import Message
from landline.auth.principal import Principal
from landline.protocol import server_frames
from landline.protocol.client_frames import BadFrame, Send, read_send
from landline.protocol.codes import ErrorCode, Outcome

# The status of an answer by its code; 400 for the others.
STATUSES: Final = {
    ErrorCode.CONTENT_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorCode.NO_SUCH_CONVERSATION: HTTPStatus.NOT_FOUND,
    ErrorCode.ROOM_FULL: HTTPStatus.CONFLICT,
    ErrorCode.BUSY: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.TOO_FAST: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
_RETRY_SECONDS: Final = 1


_PASSING: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


async def post_message(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request that brings a message. Raises: RequestRefused."""
    principal = await backend.identify(request)
    try:
        sender, send = read_message(await request.body(), principal)
    except BadFrame as refused:
        return refusal(refused)
    return answer(await backend.post(principal, sender, send))


def read_message(body: bytes, principal: Principal) -> tuple[str, Send]:
    """Return in whose name a body asks for which send. Raises: BadFrame."""
    fields = read_body(body)
    send = read_send(fields)
    with for_the_log(fields):
        check_ref(fields, "message")
        check_types(fields, Message, "message")
        return acting(principal, fields.get("sender"), "sender"), send


def answer(frame: bytes) -> HttpResponse:
    """Return a frame as a response: an `error`, or any other that answers a request."""
    fields: dict[str, Any] = orjson.loads(frame)
    if fields["type"] != "error":
        del fields["type"]
        return json_response(HTTPStatus.OK, orjson.dumps(fields))
    status = STATUSES.get(fields["code"], HTTPStatus.BAD_REQUEST)
    if fields.get("outcome") == Outcome.UNKNOWN and status != HTTPStatus.TOO_MANY_REQUESTS:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    headers = {}
    if status in _PASSING:
        wait_ms = fields.get("retry_after_ms", 1000 * _RETRY_SECONDS)
        headers = {"Retry-After": str(max(1, ceil(wait_ms / 1000)))}
    return json_response(status, frame, headers)


def refusal(refused: BadFrame) -> HttpResponse:
    """Return the response to a request that cannot be taken."""
    return answer(
        server_frames.error(refused.code, refused.message, outcome=refused.outcome, ref=refused.ref)
    )
