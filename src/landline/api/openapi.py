"""The description of the interface for programs (OpenAPI 3.1), made from its types."""

from typing import Any, Final

import msgspec
import orjson

from landline.api.types import (
    Accepted,
    Alive,
    Error,
    Message,
    Readiness,
    SessionList,
    SessionsClosed,
)

_REF: Final = "#/components/schemas/{name}"
_TYPES: Final = (Message, Accepted, SessionList, SessionsClosed, Error, Alive, Readiness)

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
                "/v1/users/{user}/sessions": _SESSIONS,
                "/healthz": {"get": _ALIVE},
                "/readyz": {"get": _READINESS},
            },
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                    "name": {
                        "type": "apiKey",
                        "in": "header",
                        "name": "username",
                        "description": "with `--auth none`, and from a proxy with `--auth proxy`",
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


def _page(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "description": "Everybody, without a token.",
        "security": [],
        "responses": responses,
    }


_ALIVE: Final = _page("Say whether the process is alive", {"200": _response("it is", Alive)})
_READINESS: Final = _page(
    "Say whether the server can do its work",
    {
        "200": _response(
            "`ready`; `degraded` where only hints for other servers are missing", Readiness
        ),
        "503": _response("`not ready`", Readiness),
    },
)

# A repeat that may not be sent: an earlier try may be in the log.
_UNLESS: Final = ", unless outcome says unknown"

_ERRORS: Final = {
    "400": _response("the request is not sound; rejected", Error),
    "401": _response("no token, or one that is not taken; rejected", Error),
    "403": _response("this user may not do that; rejected", Error),
    "408": _response("the body did not come in time; rejected", Error),
    "413": _response("the content or the body is too large; rejected", Error),
    "415": _response("the body is not application/json; rejected", Error),
    "429": _response(f"too fast, or the server is busy; rejected{_UNLESS}", Error, is_passing=True),
    "503": _response("unknown: repeat with the same ref and retry", Error, is_passing=True),
}

_POST_MESSAGE: Final = {
    "operationId": "postMessage",
    "summary": "Send a message",
    "description": "Users write in their own name. The product's own backend, with a service token,"
    " writes in any name.",
    "requestBody": {"required": True, "content": _content(Message)},
    "responses": {"200": _response("accepted: durably in the log", Accepted), **_ERRORS},
}

_FOR_SERVICES: Final = "The product's own backend, with a service token."

_SESSION_ERRORS: Final = {
    "400": _response("the path or the query is wrong; nothing was done", Error),
    "401": _response("no token, or one that is not taken", Error),
    "403": _response("this user may not do that", Error),
    "429": _response("the server is busy", Error, is_passing=True),
    "503": _response("nobody can say now; repeat the request", Error, is_passing=True),
}

_SESSIONS: Final = {
    "parameters": [
        {
            "name": "user",
            "in": "path",
            "required": True,
            "description": "the user's name, percent-encoded",
            "schema": {"type": "string", "minLength": 1},
        }
    ],
    "get": {
        "operationId": "listSessions",
        "summary": "List the sessions of a user",
        "description": _FOR_SERVICES,
        "responses": {
            "200": _response("the sessions on all servers", SessionList),
            **_SESSION_ERRORS,
        },
    },
    "delete": {
        "operationId": "closeSessions",
        "summary": "Close every session of a user on every server",
        "description": _FOR_SERVICES,
        "parameters": [
            {
                "name": "until",
                "in": "query",
                "description": "refuse new sessions and requests of this user until then; a time in"
                " the past ends that, and without it an earlier one stays",
                "schema": {"type": "string", "format": "date-time"},
            }
        ],
        "responses": {
            "200": _response("it is durable, and every server hears of it", SessionsClosed),
            **_SESSION_ERRORS,
        },
    },
}
