"""The description of the interface for programs (OpenAPI 3.1), made from its types."""

from typing import Any, Final

import msgspec
import orjson

from landline.api.types import (
    Accepted,
    Alive,
    ConversationList,
    Error,
    MarkAccepted,
    MemberList,
    Membership,
    Message,
    NewRoom,
    Readiness,
    ReadMark,
    RoomTitle,
    SessionList,
    SessionsClosed,
    TimelinePage,
    UserEnded,
)
from landline.protocol.limits import NAME_BYTES, PAGE_ITEMS

_REF: Final = "#/components/schemas/{name}"
_TYPES: Final = (
    *(Message, Accepted, ConversationList, TimelinePage, MemberList, ReadMark, MarkAccepted),
    *(NewRoom, RoomTitle, Membership, SessionList, SessionsClosed, UserEnded),
    *(Error, Alive, Readiness),
)

_DESCRIPTION: Final = """\
Landline's interface for programs. Requests carry `Authorization: Bearer` and a token; with
`--auth none` on loopback, the header `username`. What ends in the log has one of three answers:
accepted (200), rejected (4xx: it is not in the log and never will be) or unknown (503, or no answer
at all: repeat the request with the same `ref` and `retry: true`)."""


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
                "/v1/conversations": _CONVERSATIONS,
                "/v1/conversations/{conversation}/messages": _HISTORY,
                "/v1/conversations/{conversation}/members": _MEMBERS,
                "/v1/conversations/{conversation}/read": _READ,
                "/v1/rooms": _ROOMS,
                "/v1/rooms/{conversation}": _ROOM,
                "/v1/rooms/{conversation}/members": _ROOM_MEMBERS,
                "/v1/rooms/{conversation}/members/{user}": _ROOM_MEMBER,
                "/v1/users/{user}": _USER_ITSELF,
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


def _in_order(*responses: dict[str, Any]) -> dict[str, Any]:
    """Return them by status; of two with the same the later."""
    together = {status: each for some in responses for status, each in some.items()}
    return dict(sorted(together.items()))


def _body(of: type, *, is_required: bool = True) -> dict[str, Any]:
    return {"required": is_required, "content": _content(of)}


def _path_name(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"{description}, percent-encoded",
        "schema": {"type": "string", "minLength": 1},
    }


def _parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


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

_NO_CONVERSATION: Final = {
    "404": _response("no such conversation, or this user is not in it: nobody is told which", Error)
}

_POST_MESSAGE: Final = {
    "operationId": "postMessage",
    "summary": "Send a message",
    "description": "Users write in their own name. The product's own backend, with a service token,"
    " writes in any name.",
    "requestBody": _body(Message),
    "responses": _in_order(
        {"200": _response("accepted: durably in the log", Accepted)}, _ERRORS, _NO_CONVERSATION
    ),
}

# Conversations and rooms -----------------------------------------------------------------------

_READERS: Final = (
    "Users see their own. The product's own backend, with a service token, says whose."
)
_OVERSEERS: Final = (
    "The room's admins. The product's own backend, with a service token, in the name of one, or in"
    " its own for any room."
)
_CONVERSATION: Final = _path_name("conversation", "a room, or `dm:…`")
_ROOM_NAME: Final = _path_name("conversation", "the room")
_USER: Final = _parameter(
    "user", "whose view; for the product's own backend alone", type="string", minLength=1
)
_LIMIT: Final = _parameter(
    "limit", f"how many at most; {PAGE_ITEMS} without it",
    type="integer", minimum=1, maximum=PAGE_ITEMS,
)  # fmt: skip
_QUESTION_ERRORS: Final = {
    "400": _response("the path or the query is wrong", Error),
    "401": _response("no token, or one that is not taken", Error),
    "403": _response("this user may not do that", Error),
    "429": _response("the server is busy", Error, is_passing=True),
    "503": _response("nobody can say now; repeat the request", Error, is_passing=True),
}
_FULL: Final = {"409": _response("the room has as many members as one may have; rejected", Error)}
_NO_BODY_ERRORS: Final = {
    status: each for status, each in _ERRORS.items() if status not in ("408", "413", "415")
}
_ACCEPTED: Final = {"200": _response("accepted: durably in the log", Accepted)}


def _question(name: str, summary: str, answers: str, of: type, who: str = _READERS) -> Any:
    return {
        "operationId": name,
        "summary": summary,
        "description": who,
        "responses": _in_order(
            {"200": _response(answers, of)},
            _QUESTION_ERRORS,
            {} if of is ConversationList else _NO_CONVERSATION,
        ),
    }


_CONVERSATIONS: Final = {
    "get": {
        **_question(
            "listConversations",
            "List the conversations of a user, the one with the newest event first",
            "a page of them",
            ConversationList,
        ),
        "parameters": [
            _parameter("after", "the `next` of the page before", type="string"), _LIMIT, _USER,
        ],
    }
}  # fmt: skip

_HISTORY: Final = {
    "parameters": [_CONVERSATION],
    "get": {
        **_question("readConversation", "Read a page of a conversation", "the page", TimelinePage),
        "parameters": [
            _parameter("before", "the newest events below this offset", type="integer", minimum=0),
            _parameter(
                "after",
                "the oldest events above this offset; with neither, the newest of all",
                type="integer",
                minimum=0,
            ),
            _LIMIT,
            _USER,
        ],
    },
}

_MEMBERS: Final = {
    "parameters": [_CONVERSATION],
    "get": {
        **_question(
            "listParticipants", "List who is in a conversation", "who is in it", MemberList
        ),
        "parameters": [_USER],
    },
}

_READ: Final = {
    "parameters": [_CONVERSATION],
    "put": {
        "operationId": "markRead",
        "summary": "Say how far somebody has seen a conversation",
        "description": "Users for themselves. The product's own backend, with a service token, says"
        " for whom.",
        "requestBody": _body(ReadMark),
        "responses": _in_order(
            {"200": _response("accepted: durably in the log", MarkAccepted)},
            _ERRORS,
            _NO_CONVERSATION,
            {"503": _response("unknown: repeat the request", Error, is_passing=True)},
        ),
    },
}

_ROOMS: Final = {
    "post": {
        "operationId": "makeRoom",
        "summary": "Make a room",
        "description": "Users, who are its admins then; with `--rooms service` only the product's"
        " own backend, in any name.",
        "requestBody": _body(NewRoom),
        "responses": _in_order(_ACCEPTED, _ERRORS, _FULL),
    }
}

_ROOM: Final = {
    "parameters": [_ROOM_NAME],
    "patch": {
        "operationId": "changeRoom",
        "summary": "Give a room another title",
        "description": _OVERSEERS,
        "requestBody": _body(RoomTitle),
        "responses": _in_order(_ACCEPTED, _ERRORS, _NO_CONVERSATION),
    },
}

_ROOM_MEMBERS: Final = {
    "parameters": [_ROOM_NAME],
    "get": {
        **_question(
            "listMembers",
            "List who is in a room",
            "who is in it",
            MemberList,
            "Members. The product's own backend, with a service token, in the name of one, or in"
            " its own for any room.",
        ),
        "parameters": [_USER],
    },
}

_ROOM_MEMBER: Final = {
    "parameters": [_ROOM_NAME, _path_name("user", "the name of the member")],
    "put": {
        "operationId": "putMember",
        "summary": "Add somebody to a room, or give them another role",
        "description": _OVERSEERS,
        "requestBody": _body(Membership, is_required=False),
        "responses": _in_order(_ACCEPTED, _ERRORS, _NO_CONVERSATION, _FULL),
    },
    "delete": {
        "operationId": "removeMember",
        "summary": "Remove somebody from a room",
        "description": f"{_OVERSEERS} Everybody may remove themselves.",
        "parameters": [
            _parameter(
                "ref",
                "the client's own name for this change, 1 to 64 bytes of UTF-8; without it the"
                " server makes one, which the answer has",
                type="string",
                minLength=1,
                maxLength=64,
            ),
            _parameter(
                "retry", "true where an earlier try's answer was never seen", type="boolean"
            ),
            _parameter(
                "sender",
                "in whose name; for the product's own backend alone",
                type="string",
                minLength=1,
            ),
        ],
        "responses": _in_order(_ACCEPTED, _NO_BODY_ERRORS, _NO_CONVERSATION),
    },
}

# Sessions ----------------------------------------------------------------------------------------

_FOR_SERVICES: Final = "The product's own backend, with a service token."

_SESSION_ERRORS: Final = {
    "400": _response("the path or the query is wrong; nothing was done", Error),
    "401": _response("no token, or one that is not taken", Error),
    "403": _response("this user may not do that", Error),
    "429": _response("the server is busy", Error, is_passing=True),
    "503": _response("nobody can say now; repeat the request", Error, is_passing=True),
}

_UNTIL: Final = _parameter(
    "until",
    "refuse new sessions and requests of this user until then; a time in"
    " the past ends that, and without it an earlier one stays",
    type="string",
    format="date-time",
)

_USER_ITSELF: Final = {
    "parameters": [_path_name("user", "the user's name")],
    "delete": {
        "operationId": "endUser",
        "summary": "End a user: sessions, devices, memberships of rooms, and what is owed to them",
        "description": _FOR_SERVICES,
        "parameters": [
            _parameter(
                "name",
                "under which their messages are shown from now on: a user name; without it"
                " `deleted-` and a hash of theirs",
                type="string",
                minLength=1,
                maxLength=NAME_BYTES,
            ),
            _UNTIL,
        ],
        "responses": {
            "200": _response("it has ended, on every server", UserEnded),
            **_SESSION_ERRORS,
            "503": _response(
                "some of it may have ended; repeat the request", Error, is_passing=True
            ),
        },
    },
}

_SESSIONS: Final = {
    "parameters": [_path_name("user", "the user's name")],
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
        "parameters": [_UNTIL],
        "responses": {
            "200": _response("it is durable, and every server hears of it", SessionsClosed),
            **_SESSION_ERRORS,
        },
    },
}
