"""Landline: real-time chat that never loses a message it has acknowledged.

`landline.connect` is the client, with everything that its signatures name and raise; the server is
the command `landline serve`.
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landline.client import (
        Acceptance,
        Accepted,
        Chat,
        ChatClosed,
        ClientError,
        ClosedByAdministrator,
        Connected,
        ConnectionFailed,
        Conversation,
        Conversations,
        Delivered,
        Delivery,
        Disconnected,
        Draft,
        Event,
        ForeignOutbox,
        History,
        Member,
        MemberChanged,
        Message,
        MessageRejected,
        MessageUncertain,
        NoSuchConversation,
        OutboxInUse,
        QuestionRefused,
        Read,
        Refused,
        Rejected,
        RoomChanged,
        RoomFull,
        SendTimeout,
        TokenRefused,
        TokenUnavailable,
        UnansweredSend,
        WrongUser,
        connect,
    )

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
    "__version__",
    "connect",
]

__version__ = _version("landline")


def __getattr__(name: str) -> object:
    # The server imports this package too and has no use for the client's libraries.
    if name in __all__:
        from landline import client  # noqa: PLC0415 - late on purpose, see above

        return getattr(client, name)
    raise AttributeError(f"module 'landline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
