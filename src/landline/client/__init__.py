"""The Python client: `landline.connect`."""

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Literal

from landline.client.chat import CONNECT_TIMEOUT_SECONDS, Chat
from landline.client.conversations import (
    Conversation,
    Conversations,
    Delivery,
    History,
    Member,
)
from landline.client.credentials import TokenSource
from landline.client.errors import (
    ChatClosed,
    ClientError,
    ClosedByAdministrator,
    ConnectionFailed,
    ForeignOutbox,
    MessageRejected,
    MessageUncertain,
    NoSuchConversation,
    OutboxInUse,
    QuestionRefused,
    Refused,
    RoomFull,
    SendTimeout,
    TokenRefused,
    TokenUnavailable,
    WrongUser,
)
from landline.client.events import (
    Acceptance,
    Accepted,
    Connected,
    Delivered,
    Disconnected,
    Event,
    MemberChanged,
    Message,
    Read,
    Rejected,
    RoomChanged,
)
from landline.client.outbox import Draft
from landline.client.repeats import UnansweredSend

__all__ = [
    "Acceptance",
    "Accepted",
    "Chat",
    "ChatClosed",
    "ClientError",
    "ClosedByAdministrator",
    "Connected",
    "ConnectionFailed",
    "Conversation",
    "Conversations",
    "Delivered",
    "Delivery",
    "Disconnected",
    "Draft",
    "Event",
    "ForeignOutbox",
    "History",
    "Member",
    "MemberChanged",
    "Message",
    "MessageRejected",
    "MessageUncertain",
    "NoSuchConversation",
    "OutboxInUse",
    "QuestionRefused",
    "Read",
    "Refused",
    "Rejected",
    "RoomChanged",
    "RoomFull",
    "SendTimeout",
    "TokenRefused",
    "TokenUnavailable",
    "UnansweredSend",
    "WrongUser",
    "connect",
]


def connect(
    url: str,
    *,
    username: str | None = None,
    token: TokenSource | None = None,
    device: str | None = None,
    outbox: str | PathLike[str] | None = None,
    connect_timeout: float | None = CONNECT_TIMEOUT_SECONDS,
    on_event: Callable[[Event], None] | None = None,
    headers: Mapping[str, str] | None = None,
    proxy: str | Literal[True] | None = True,
) -> Chat:
    """Return a chat to be used with `async with`.

    `url`: e.g. `ws://127.0.0.1:8081/ws/chat`.
    `username`: who this is. It may be left out if a token says it; then see `Chat.username`.
    `token`: a JSON Web Token, or a function without arguments, async or not, that returns one. It
    is called for each connection, and before a token expires.
    `device`: the name of this program's own mailbox, 1 to 64 of `A-Z a-z 0-9 . _ -`; give the same
    one each time. What another device of the user acknowledges still comes to this one. Without it
    all such sessions of the user share a mailbox.
    `outbox`: a file that keeps unanswered sends when the process ends; without it they are kept in
    memory. The file belongs to one user at one server.
    `connect_timeout`: seconds for the first connection, or None not to wait for it at all. A lost
    connection is replaced for as long as the chat is open.
    `on_event`: called on the event loop with connections, acceptances, deliveries, rejected
    drafts and what happens in rooms; it must not block.
    `headers`: more headers for the handshake.
    `proxy`: the URL of a proxy, None for none, or True for the one that the environment names. That
    one is never used for a server on this machine.

    Raises: Refused if `url` or `username` cannot be one; ClientError for headers or a token that
    cannot be sent; TypeError and ValueError, with the name of the parameter, for anything else.
    """
    return Chat(
        url,
        username=username,
        token=token,
        device=device,
        outbox=outbox,
        connect_timeout=connect_timeout,
        on_event=on_event,
        headers=headers,
        proxy=proxy,
    )
