"""`POST /v1/messages`: a send, and its answer."""

from http import HTTPStatus
from math import ceil
from typing import Any, Final

import msgspec
import orjson
from starlette.requests import Request

from landline.api.backend import Backend
from landline.api.http import HttpResponse, json_response
from landline.api.types import Message
from landline.auth.principal import Principal
from landline.protocol import server_frames
from landline.protocol.client_frames import BadFrame, Send, read_object, read_send
from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.identity import BadName, check_user_name

# The status of an answer by its code; 400 for the others.
STATUSES: Final = {
    ErrorCode.CONTENT_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorCode.BUSY: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.TOO_FAST: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
_RETRY_SECONDS: Final = 1


async def post_message(request: Request, backend: Backend) -> HttpResponse:
    """Answer a request that brings a message. Raises: RequestRefused."""
    principal = await backend.identify(request)
    try:
        sender, send = read_message(await request.body(), principal)
    except BadFrame as bad:
        return answer(server_frames.error(bad.code, bad.message, outcome=bad.outcome, ref=bad.ref))
    return answer(await backend.post(principal, sender, send))


def read_message(body: bytes, principal: Principal) -> tuple[str, Send]:
    """Return in whose name a body asks for which send. Raises: BadFrame."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _rejected(ErrorCode.BAD_FRAME, "the body must be JSON in UTF-8") from None
    fields = read_object(text, what="the body")
    send = read_send(fields)
    if "ref" not in fields:
        reason = "ref is missing: a name of your own for this message, kept before the first try"
        raise _rejected(ErrorCode.BAD_REF, reason)
    try:
        asked = msgspec.convert(fields, Message)
    except msgspec.ValidationError as error:
        reason = f"the body is no message: {error}"
        raise _rejected(ErrorCode.BAD_FRAME, reason, send.ref) from None
    return _sender(asked, principal), send


def _sender(asked: Message, principal: Principal) -> str:
    if asked.sender in (msgspec.UNSET, principal.user):
        return principal.user
    if not principal.is_service:
        reason = "sender is for the product's own backend; users write in their own name"
        raise _rejected(ErrorCode.FORBIDDEN, reason, asked.ref)
    assert isinstance(asked.sender, str), "it is given"
    try:
        return check_user_name(asked.sender)
    except BadName as error:
        raise _rejected(ErrorCode.BAD_FRAME, f"sender: {error}", asked.ref) from None


def _rejected(code: ErrorCode, reason: str, ref: str | None = None) -> BadFrame:
    return BadFrame(code, reason, Outcome.REJECTED, ref)


def answer(frame: bytes) -> HttpResponse:
    """Return a frame `accepted` or `error` as a response."""
    fields: dict[str, Any] = orjson.loads(frame)
    if fields["type"] == "accepted":
        del fields["type"]
        return json_response(HTTPStatus.OK, orjson.dumps(fields))
    status = STATUSES.get(fields["code"], HTTPStatus.BAD_REQUEST)
    if fields.get("outcome") == Outcome.UNKNOWN and status != HTTPStatus.TOO_MANY_REQUESTS:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    headers = {}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        wait_ms = fields.get("retry_after_ms", 1000 * _RETRY_SECONDS)
        headers = {"Retry-After": str(max(1, ceil(wait_ms / 1000)))}
    return json_response(status, frame, headers)
