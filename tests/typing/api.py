"""The Python client as programs use it, for mypy alone: `make check` reads this, nothing runs it.

Each function is a use that must type-check. `assert_type` also fails where a type becomes vaguer.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, assert_never, assert_type

import landline
from landline import (
    Acceptance,
    Accepted,
    Chat,
    ChatClosed,
    ClientError,
    Connected,
    ConnectionFailed,
    Conversation,
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
    OutboxInUse,
    Read,
    Refused,
    Rejected,
    RoomChanged,
    SendTimeout,
    UnansweredSend,
    WrongUser,
    connect,
)


def show(event: Event) -> str:
    """An event is one of these, and a program that forgets one hears of it."""
    match event:
        case Connected(server=server, session=session):
            return f"{server} {session}"
        case Disconnected(reason=reason, retry_seconds=seconds):
            assert_type(seconds, float | None)
            return reason
        case Accepted(to=to, acceptance=acceptance):
            assert_type(acceptance, Acceptance)
            return to
        case Rejected(content=content, code=code, reason=reason):
            return f"{content} {code} {reason}"
        case Delivered(ids=ids, user=user):
            assert_type(ids, tuple[str, ...])
            return user
        case MemberChanged(user=user, change=change, role=role):
            return f"{user} {change} {role}"
        case RoomChanged(title=title):
            assert_type(title, str | None)
            return title or ""
        case Read(conversation=conversation, entries=entries):
            assert_type(entries, tuple[tuple[str, int], ...])
            return conversation
        case _:
            assert_never(event)


def listen(event: Event) -> None:
    """What `on_event` takes."""


def every_way_to_connect(headers: Mapping[str, str]) -> list[Chat]:
    """The parameters take what docs/client.md says."""
    return [
        connect("ws://h/ws", username="a"),
        landline.connect("ws://h/ws", username="a", outbox="a.db", connect_timeout=None),
        connect("ws://h/ws", username="a", outbox=Path("a.db"), connect_timeout=2),
        connect("ws://h/ws", username="a", on_event=listen, headers=headers, proxy=None),
        connect("ws://h/ws", username="a", on_event=None, headers=None, proxy="http://h:1"),
        connect("ws://h/ws", username="a", proxy=True),
        connect("ws://h/ws", username="a", device="laptop"),
    ]


def wrong_ways_to_connect() -> None:
    """What is refused when it runs is refused here too: mypy wants each `ignore` to be needed."""
    connect("ws://h/ws", "a")  # type: ignore[call-arg]  # everything but the URL has its name
    connect("ws://h/ws", username=b"a")  # type: ignore[arg-type]
    connect("ws://h/ws", username="a", device=7)  # type: ignore[arg-type]
    connect("ws://h/ws", username="a", proxy=False)  # type: ignore[arg-type]
    connect("ws://h/ws", username="a", headers={"X": 1})  # type: ignore[dict-item]
    connect("ws://h/ws", username="a", on_event=print_text)  # type: ignore[arg-type]


def print_text(text: str) -> None:
    """A function that takes no event."""


async def use() -> None:
    """A chat in use: what comes out of it has a type."""
    async with connect("ws://h/ws", username="a") as chat:
        assert_type(chat, Chat)
        assert_type((chat.device, chat.is_new), tuple[str | None, bool | None])
        acceptance = await chat.send("b", "hello")
        assert_type(acceptance, Acceptance)
        assert_type(acceptance.id, str)
        assert_type(acceptance.offset, int)
        assert_type(acceptance.time, datetime)
        assert_type(await chat.send("b", "hello", timeout=2.5), Acceptance)
        assert_type(chat.unanswered, list[Draft])
        assert_type(await chat.send("room:1", "hello", {"reply_to": "x"}), Acceptance)
        assert_type(await chat.create_room("Lunch", ["b"], history="joined"), Acceptance)
        assert_type(await chat.add("room:1", "b"), Acceptance)
        assert_type((await chat.conversations()).items, tuple[Conversation, ...])
        assert_type(await chat.history("room:1", before=7), History)
        assert_type(await chat.members("room:1"), tuple[Member, ...])
        assert_type(await chat.deliveries(["id"]), tuple[Delivery, ...])
        await chat.read("room:1", 7)
        send = chat.begin("b", "hello")
        assert_type(send, UnansweredSend)
        assert_type(await send.answer, Acceptance)
        chat.hurry()
        async for message in chat:
            assert_type(message, Message)
            assert_type((message.sender, message.to, message.content), tuple[str, str, str])
            assert_type((message.replay, message.is_own), tuple[bool, bool])
            assert_type(message.data, Mapping[str, Any] | None)
            chat.acknowledge(message)
        assert_type(await anext(chat), Message)
        await chat.close()
        await chat.send("b", b"hello")  # type: ignore[arg-type]  # text, not bytes
        chat.acknowledge("id")  # type: ignore[arg-type]  # the message, not its id


def explain(error: ClientError) -> str:
    """Every error is a ClientError, and its facts have types."""
    match error:
        case MessageRejected() | MessageUncertain():
            assert_type((error.code, error.reason), tuple[str, str])
        case WrongUser():
            assert_type((error.asked, error.user), tuple[str, str])
        case ForeignOutbox():
            assert_type((error.user, error.server), tuple[str, str])
        case ConnectionFailed() | Refused() | SendTimeout() | OutboxInUse() | ChatClosed():
            pass
    return str(error)
