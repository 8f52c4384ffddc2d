"""What is said over HTTP, as types: bodies are checked with them, and the OpenAPI page is made of
them.

A user name, a `ref` and a content have bounds in bytes, which no schema can say: `description`
does.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.limits import CONTENT_BYTES, NAME_BYTES, REF_BYTES

UserName = Annotated[
    str,
    Meta(
        description=f"1 to {NAME_BYTES} bytes of UTF-8, NFC, without white space, `:` or `/`",
        extra_json_schema={"minLength": 1, "maxLength": NAME_BYTES},
        examples=["alice"],
    ),
]
Ref = Annotated[
    str,
    Meta(
        description=f"the client's own name for this message, 1 to {REF_BYTES} bytes of UTF-8,"
        " made and kept before the first try",
        extra_json_schema={"minLength": 1, "maxLength": REF_BYTES},
        examples=["7c1f3c1e-5d0b-4c8e-9f53-0f7d1f0b7a55"],
    ),
]
Time = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, with milliseconds",
        extra_json_schema={"format": "date-time"},
        examples=["2026-01-31T12:00:00.000Z"],
    ),
]


class Message(Struct):
    """A message to be sent."""

    to: UserName
    content: Annotated[
        str,
        Meta(
            description=f"1 to {CONTENT_BYTES:,} bytes of UTF-8, without NUL",
            extra_json_schema={"minLength": 1, "maxLength": CONTENT_BYTES},
            examples=["hello"],
        ),
    ]
    ref: Ref
    retry: Annotated[
        bool, Meta(description="true where an earlier try's answer was never seen")
    ] = False
    sender: (
        Annotated[UserName, Meta(description="in whose name; for the product's own backend alone")]
        | UnsetType
    ) = UNSET


class Accepted(Struct):
    """The message is durably in the log."""

    ref: Ref
    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    conversation: Annotated[str, Meta(examples=["dm:alice:bob"])]
    offset: Annotated[int, Meta(description="orders the messages of a conversation; not dense")]
    time: Time


class Error(Struct, omit_defaults=True):
    """Why a request was not carried out, and what became of its message."""

    code: ErrorCode
    message: Annotated[str, Meta(description="a sentence for developers; it may change")]
    type: Literal["error"] = "error"
    outcome: (
        Annotated[
            Outcome,
            Meta(
                description="`rejected`: certainly not in the log, and never will be; `unknown`:"
                " repeat with the same `ref` and `retry: true`"
            ),
        ]
        | UnsetType
    ) = UNSET
    ref: Ref | UnsetType = UNSET
    retry_after_ms: (
        Annotated[int, Meta(ge=0, description="with `too_fast`: when to send it again")] | UnsetType
    ) = UNSET


class SessionEntry(Struct, omit_defaults=True):
    """A session. What is not known where it was asked is left out."""

    session: str
    server: str
    opened: Time | UnsetType = UNSET
    address: Annotated[str, Meta(description="where the client connects from")] | UnsetType = UNSET
    origin: Annotated[str, Meta(description="of the page, in a browser")] | UnsetType = UNSET


class SessionList(Struct):
    """The sessions of a user, on all servers."""

    user: UserName
    sessions: list[SessionEntry]


class SessionsClosed(Struct, omit_defaults=True):
    """Every session of the user ends within seconds."""

    user: UserName
    until: (
        Annotated[Time, Meta(description="no session and no request of this user before then")]
        | UnsetType
    ) = UNSET


class Alive(Struct):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(Struct, omit_defaults=True):
    """Whether the server can do its work, and what keeps it from that."""

    status: Literal["ready", "degraded", "not ready"]
    problems: Annotated[
        dict[str, str] | UnsetType,
        Meta(description="part: why it cannot be used; only where metrics are shown too"),
    ] = UNSET
