"""The description of the interface for programs (OpenAPI 3.1), made from its types."""

from typing import Any, Final

import msgspec
import orjson

from landline.api.types import Accepted, Alive, Error, Message, Readiness

_REF: Final = "#/components/schemas/{name}"
_TYPES: Final = (Message, Accepted, Error, Alive, Readiness)

_DESCRIPTION: Final = """\
Landline's interface for programs. Requests carry `Authorization: Bearer` and a token; with
`--auth none` on loopback, the header `username`. A message has one of three answers: accepted
(200), rejected (4xx: it is not in the log and never will be) or unknown (503, or no answer at all:
repeat the request with the same `ref` and `retry: true`)."""


def document() -> bytes:
    """Return the description as JSON."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Landline", "version": "1", "description": _DESCRIPTION},
            "security": [{"token": []}, {"name": []}],
            "paths": {
                "/v1/messages": {"post": _POST_MESSAGE},
                "/healthz": {"get": _page("whether the process is alive", {200: Alive})},
                "/readyz": {
                    "get": _page(
                        "whether the server can do its work", {200: Readiness, 503: Readiness}
                    )
                },
            },
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                    "name": {
                        "type": "apiKey",
                        "in": "header",
                        "name": "username",
                        "description": "with `--auth none` alone",
                    },
                },
            },
        }
    )


def _content(of: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=of.__name__)}}}


def _response(description: str, of: type, *, is_passing: bool = False) -> dict[str, Any]:
    response = {"description": description, "content": _content(of)}
    if is_passing:
        response["headers"] = {
            "Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}
        }
    return response


def _page(summary: str, answers: dict[int, type]) -> dict[str, Any]:
    responses = {str(status): _response("how it is", of) for status, of in answers.items()}
    return {"summary": summary, "security": [], "responses": responses}


_ERRORS: Final = {
    "400": _response("the request is not sound; rejected", Error),
    "401": _response("no token, or one that is not taken", Error),
    "403": _response("this user may not do that; rejected", Error),
    "408": _response("the body did not come in time", Error),
    "413": _response("the content or the body is too large; rejected", Error),
    "415": _response("the body is not application/json; rejected", Error),
    "429": _response("too fast, or the server is busy; rejected", Error, is_passing=True),
    "503": _response("unknown: repeat with the same ref and retry", Error, is_passing=True),
}

_POST_MESSAGE: Final = {
    "operationId": "postMessage",
    "summary": "Send a message",
    "requestBody": {"required": True, "content": _content(Message)},
    "responses": {"200": _response("accepted: durably in the log", Accepted), **_ERRORS},
}
