"""What is said over HTTP, as types: bodies are checked with them, and the OpenAPI page is made of
them.

A user name, a `ref` and a content have bounds in bytes, which no schema can say: `description`
does.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from landline.protocol.codes import ErrorCode, Outcome
from landline.protocol.limits import (
    CONTENT_BYTES,
    DATA_BYTES,
    NAME_BYTES,
    REF_BYTES,
    ROOM_MEMBERS,
    TITLE_BYTES,
)

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
OwnRef = Annotated[
    str,
    Meta(
        description=f"the client's own name for this change, 1 to {REF_BYTES} bytes of UTF-8;"
        " without it the server makes one, which the answer has",
        extra_json_schema={"minLength": 1, "maxLength": REF_BYTES},
    ),
]
Retry = Annotated[bool, Meta(description="true where an earlier try's answer was never seen")]
Sender = Annotated[UserName, Meta(description="in whose name; for the product's own backend alone")]
Conversation = Annotated[str, Meta(examples=["dm:alice:bob"])]
Title = Annotated[
    str,
    Meta(
        description=f"1 to {TITLE_BYTES} bytes of UTF-8, without NUL; null for none",
        extra_json_schema={"minLength": 1, "maxLength": TITLE_BYTES},
        examples=["Lunch"],
    ),
]
Role = Literal["admin", "member"]
Offset = Annotated[int, Meta(description="orders the events of a conversation; not dense")]
Time = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, with milliseconds",
        extra_json_schema={"format": "date-time"},
        examples=["2026-01-31T12:00:00.000Z"],
    ),
]


class Message(Struct, kw_only=True):
    """A message to be sent."""

    to: (
        Annotated[UserName, Meta(description="the recipient; give this or `conversation`")]
        | UnsetType
    ) = UNSET
    conversation: (
        Annotated[
            str,
            Meta(
                description="instead of `to`: a room, or `dm:…`",
                examples=["room:8d7ff0a3-5d3c-8a52-9c3e-0f0f5b1c9a77"],
            ),
        ]
        | UnsetType
    ) = UNSET
    content: Annotated[
        str,
        Meta(
            description=f"1 to {CONTENT_BYTES:,} bytes of UTF-8, without NUL",
            extra_json_schema={"minLength": 1, "maxLength": CONTENT_BYTES},
            examples=["hello"],
        ),
    ]
    ref: Ref
    data: (
        Annotated[
            dict[str, Any],
            Meta(
                description="anything of the product's that goes with the message, at most"
                f" {DATA_BYTES:,} bytes as JSON",
                examples=[{"reply_to": "2214be8f-d5fb-8ff7-adf5-4aa071e17d43"}],
            ),
        ]
        | UnsetType
    ) = UNSET
    retry: Retry = False
    sender: Sender | UnsetType = UNSET


class NewRoom(Struct):
    """A room to be made."""

    ref: Annotated[Ref, Meta(description="the client's own name for this room, as of a message")]
    title: Title | None = None
    members: Annotated[
        list[UserName],
        Meta(
            description=f"who is in it beside whoever makes it; together at most {ROOM_MEMBERS}",
            extra_json_schema={"maxItems": ROOM_MEMBERS},
        ),
    ] = []
    history: Annotated[
        Literal["all", "joined"],
        Meta(description="what members may read: everything, or what came while they were in it"),
    ] = "all"
    retry: Retry = False
    sender: (
        Annotated[
            UserName,
            Meta(description="who makes it, and is its admin; for the product's own backend alone"),
        ]
        | UnsetType
    ) = UNSET


class RoomTitle(Struct):
    """Another title of a room."""

    title: Title | None
    ref: OwnRef | UnsetType = UNSET
    retry: Retry = False
    sender: Sender | UnsetType = UNSET


class Membership(Struct):
    """Somebody is in a room."""

    role: (
        Annotated[
            Role,
            Meta(
                description="without it whoever is new is a `member`, and the others keep what they"
                " are"
            ),
        ]
        | UnsetType
    ) = UNSET
    ref: OwnRef | UnsetType = UNSET
    retry: Retry = False
    sender: Sender | UnsetType = UNSET


class ReadMark(Struct):
    """A person has seen everything of a conversation up to here."""

    offset: Annotated[
        int, Meta(ge=0, description="up to where, included; of several the furthest counts")
    ]
    user: (
        Annotated[UserName, Meta(description="who has; for the product's own backend alone")]
        | UnsetType
    ) = UNSET


class Accepted(Struct):
    """The request is durably in the log."""

    ref: Ref
    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    conversation: Conversation
    offset: Offset
    time: Time


class MarkAccepted(Struct):
    """The mark is durably in the log."""

    conversation: Conversation
    user: UserName
    offset: Offset


class ConversationEntry(Struct, omit_defaults=True):
    """A conversation, as one of its members sees it. `title` and `role` are of rooms."""

    conversation: Conversation
    kind: Literal["direct", "room"]
    offset: Annotated[int, Meta(description="of its last event")]
    time: Time
    preview: Annotated[
        str, Meta(description="the beginning of the last message; empty for other events")
    ]
    read_offset: Annotated[int, Meta(description="up to where this user has seen it")]
    unread: Annotated[int, Meta(ge=0, le=100, description="100 means: or more")]
    title: Title | UnsetType | None = UNSET
    role: Role | UnsetType = UNSET


class ConversationList(Struct, omit_defaults=True):
    """A page of a user's conversations, the one with the newest event first."""

    items: list[ConversationEntry]
    next: Annotated[str, Meta(description="give it as `after`; absent at the end")] | UnsetType = (
        UNSET
    )


class TimelineEvent(Struct, omit_defaults=True):
    """A message, or another event of a conversation, by its `type`: as frames have it."""

    type: Literal["message", "member", "room"]
    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    conversation: Conversation
    sender: UserName
    offset: Offset
    time: Time
    to: UserName | UnsetType = UNSET
    content: str | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET
    user: UserName | UnsetType = UNSET
    change: Literal["add", "remove", "role"] | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    title: Title | UnsetType | None = UNSET


class TimelinePage(Struct):
    """Events in rising offset. Everything that is visible between `from` and `to` is here."""

    conversation: Conversation
    messages: list[TimelineEvent]
    first: Annotated[int, Meta(description="for what is older, ask `before` it")] = field(
        name="from"
    )
    last: Annotated[int, Meta(description="for what is newer, ask `after` it")] = field(name="to")
    complete: Annotated[
        bool, Meta(description="there is no more in the direction that was asked for")
    ]


class MemberEntry(Struct):
    """Somebody who is in a conversation."""

    user: UserName
    role: Role
    read_offset: Annotated[int, Meta(description="up to where they have seen it")]


class MemberList(Struct):
    """Who is in a conversation."""

    conversation: Conversation
    items: list[MemberEntry]


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


class UserEnded(Struct, omit_defaults=True):
    """What the user had has ended. What they said stays, under another name."""

    user: UserName
    name: Annotated[UserName, Meta(description="under which their messages are shown from now on")]
    rooms: Annotated[int, Meta(description="how many they were in")]
    devices: Annotated[int, Meta(description="how many they had")]
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
