"""The Python client: `landline.connect`."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from landline.client.chat import CONNECT_SECONDS, Chat
from landline.client.errors import (
    ChatClosed,
    ClientError,
    ConnectionFailed,
    MessageRejected,
    OutboxInUse,
    Refused,
    SendTimeout,
)
from landline.client.events import (
    Accepted,
    Connected,
    Delivered,
    Disconnected,
    Event,
    Message,
    Receipt,
)

__all__ = [
    "Accepted",
    "Chat",
    "ChatClosed",
    "ClientError",
    "Connected",
    "ConnectionFailed",
    "Delivered",
    "Disconnected",
    "Event",
    "Message",
    "MessageRejected",
    "OutboxInUse",
    "Receipt",
    "Refused",
    "SendTimeout",
    "connect",
]


def connect(
    url: str,
    *,
    username: str,
    outbox: str | PathLike[str] | None = None,
    connect_timeout: float | None = CONNECT_SECONDS,
    on_event: Callable[[Event], None] | None = None,
) -> Chat:
    """Return a chat to be used with `async with`.

    `url`: e.g. `ws://127.0.0.1:8081/ws/chat`. `outbox`: a file that keeps unanswered sends, so
    that they survive the process; without it they are kept in memory. `connect_timeout`: seconds
    for the first connection, or None not to wait for it at all; later ones are tried for as long
    as the chat is open. `on_event` is
    called, on the event loop, with connections, acceptances and deliveries; it must not block.
    """
    return Chat(
        url,
        username=username,
        outbox=None if outbox is None else Path(outbox),
        connect_timeout=connect_timeout,
        on_event=on_event,
    )
