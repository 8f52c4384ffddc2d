"""Rooms and reading by request: what the server hears, and what becomes of its answers."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import (
    Accepted,
    Chat,
    ChatClosed,
    Event,
    MemberChanged,
    Message,
    MessageRejected,
    NoSuchConversation,
    QuestionRefused,
    Read,
    Rejected,
    RoomChanged,
    RoomFull,
    SendTimeout,
    reading,
)
from support.peer import Frame
from support.scripted import ID, Script, Scripted, accept, scripted, scripted_chat, tell, welcome
from support.waiting import until

WAIT_SECONDS = 20.0
ROOM = f"room:{ID}"
TIME = "2026-01-02T03:04:05.678Z"
OF_ROOM = {"id": ID, "conversation": ROOM, "sender": "b", "time": TIME, "offset": 7}

Answer = Callable[[ServerConnection, Frame], Awaitable[None]]


def answering(answer: Answer) -> Script:
    """Return a script that answers each frame so."""

    async def script(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for frame in server.hear(socket):
            if frame["type"] != "ack":
                await answer(socket, frame)

    return script


def saying(**answer: Any) -> Script:
    """Return a script that answers each question, or each request, so."""

    async def say(socket: ServerConnection, frame: Frame) -> None:
        names = {name: frame[name] for name in ("ref", "request") if name in frame}
        await tell(socket, **names, **answer)

    return answering(say)


ACCEPTING = answering(accept)


# --- requests ------------------------------------------------------------------------------------

REQUESTS: list[tuple[Callable[[Chat], Awaitable[Any]], Frame]] = [
    (
        lambda chat: chat.send(ROOM, "hi", {"reply_to": "x"}),
        {"type": "send", "conversation": ROOM, "content": "hi", "data": {"reply_to": "x"}},
    ),
    (
        lambda chat: chat.send("b", "hi", {"n": [1]}),
        {"type": "send", "to": "b", "content": "hi", "data": {"n": [1]}},
    ),
    (
        lambda chat: chat.send("dm:a:b", "hi"),
        {"type": "send", "conversation": "dm:a:b", "content": "hi"},
    ),
    (
        lambda chat: chat.create_room("Lunch", ("b", "c"), history="joined"),
        {"type": "create", "title": "Lunch", "members": ["b", "c"], "history": "joined"},
    ),
    (
        lambda chat: chat.create_room(),
        {"type": "create", "title": None, "members": [], "history": "all"},
    ),
    (
        lambda chat: chat.add(ROOM, "c"),
        {"type": "member", "conversation": ROOM, "user": "c", "change": "add"},
    ),
    (
        lambda chat: chat.remove(ROOM, "c"),
        {"type": "member", "conversation": ROOM, "user": "c", "change": "remove"},
    ),
    (
        lambda chat: chat.set_role(ROOM, "c", "admin"),
        {"type": "member", "conversation": ROOM, "user": "c", "change": "role", "role": "admin"},
    ),
    (
        lambda chat: chat.set_title(ROOM, None),
        {"type": "room", "conversation": ROOM, "title": None},
    ),
]


@pytest.mark.parametrize(("use", "frame"), REQUESTS)
async def test_each_request_is_a_frame_with_a_ref_and_returns_its_acceptance(
    use: Callable[[Chat], Awaitable[Any]], frame: Frame
) -> None:
    async with scripted_chat(ACCEPTING) as (server, chat):
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await use(chat)).id == ID
        [heard] = server.frames
        assert heard.pop("ref")
        assert heard == frame


@pytest.mark.parametrize(("use", "frame"), REQUESTS)
async def test_each_is_kept_in_the_outbox_and_repeated_by_the_next_chat(
    use: Callable[[Chat], Awaitable[Any]], frame: Frame, tmp_path: Path
) -> None:
    told: list[Event] = []
    outbox = tmp_path / "a.db"

    async def deaf(_socket: ServerConnection, _frame: Frame) -> None:
        pass

    async with scripted(answering(deaf)) as server:
        port = urlsplit(server.url).port or 0
        async with landline.connect(server.url, username="a", outbox=outbox) as chat:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(use(chat), 0.3)
            [draft] = chat.unanswered
    async with (
        scripted(ACCEPTING, port) as server,
        landline.connect(server.url, username="a", outbox=outbox, on_event=told.append) as chat,
    ):
        await until(lambda: not chat.unanswered, "the kept request is answered")
        [heard] = server.frames
    assert heard == {**frame, "ref": draft.ref, "retry": True}
    [accepted] = [event for event in told if isinstance(event, Accepted)]
    assert (accepted.kind, accepted.to) == (frame["type"], draft.to)
    async with (
        scripted(ACCEPTING, port) as server,
        landline.connect(server.url, username="a", outbox=outbox) as chat,
    ):
        assert chat.unanswered == []


async def test_what_goes_with_a_message_is_as_it_was_when_it_was_sent() -> None:
    data = {"n": 1}
    async with scripted_chat(ACCEPTING) as (server, chat):
        sending = asyncio.create_task(chat.send("b", "hi", data))
        await asyncio.sleep(0)
        data["n"] = 2
        await asyncio.wait_for(sending, WAIT_SECONDS)
        assert server.frames[0]["data"] == {"n": 1}


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("no_such_conversation", NoSuchConversation),
        ("room_full", RoomFull),
        ("forbidden", MessageRejected),
        ("of_a_later_version", MessageRejected),
    ],
)
async def test_a_request_that_is_refused_raises_by_its_code(
    code: str, problem: type[MessageRejected]
) -> None:
    script = saying(type="error", code=code, message="no", outcome="rejected")
    async with scripted_chat(script) as (_server, chat):
        with pytest.raises(MessageRejected) as caught:
            await asyncio.wait_for(chat.add(ROOM, "c"), WAIT_SECONDS)
        assert (type(caught.value), caught.value.code) == (problem, code)
        assert chat.unanswered == []


async def test_a_request_that_nobody_waits_for_says_what_it_was_when_it_is_refused() -> None:
    told: list[Event] = []
    is_free = asyncio.Event()

    async def refuse(socket: ServerConnection, frame: Frame) -> None:
        await is_free.wait()
        error = {"type": "error", "code": "forbidden", "message": "no", "outcome": "rejected"}
        await tell(socket, **error, ref=frame["ref"])

    async with scripted_chat(answering(refuse), on_event=told.append) as (_server, chat):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat.set_title(ROOM, "Lunch"), 0.1)
        is_free.set()
        await until(lambda: not chat.unanswered, "it is answered")
    assert Rejected(ROOM, "", "forbidden", "no", kind="room") in told


@pytest.mark.parametrize(
    ("use", "problem", "code"),
    [
        (lambda chat: chat.send("room:x", "hi"), MessageRejected, "bad_frame"),
        (
            lambda chat: chat.send("b", "hi", {"x": "y" * 5_000}),
            MessageRejected,
            "content_too_large",
        ),
        (lambda chat: chat.send("b", "hi", {"x": object()}), MessageRejected, "bad_frame"),
        (lambda chat: chat.create_room("x" * 257), MessageRejected, "bad_frame"),
        (lambda chat: chat.create_room(members=["not a name"]), MessageRejected, "bad_recipient"),
        (lambda chat: chat.add("dm:a:b", "c"), MessageRejected, "bad_frame"),
        (lambda chat: chat.set_role(ROOM, "c", "king"), MessageRejected, "bad_frame"),
        (lambda chat: chat.conversations(limit=101), QuestionRefused, "bad_frame"),
        (lambda chat: chat.history(ROOM, before=1, after=1), QuestionRefused, "bad_frame"),
        (lambda chat: chat.deliveries(["none"]), QuestionRefused, "bad_frame"),
        (lambda chat: chat.read(ROOM, -1), QuestionRefused, "bad_frame"),
    ],
)
async def test_what_no_server_takes_is_refused_before_it_is_sent(
    use: Callable[[Chat], Awaitable[Any]], problem: type[MessageRejected], code: str
) -> None:
    async with scripted_chat(ACCEPTING) as (server, chat):
        with pytest.raises(problem) as caught:
            await asyncio.wait_for(use(chat), WAIT_SECONDS)
        assert caught.value.code == code
        assert server.frames == []


@pytest.mark.parametrize(
    "use",
    [
        lambda chat: chat.send("b", "hi", data=[1]),
        lambda chat: chat.create_room(members="bob"),
        lambda chat: chat.add(7, "c"),
    ],
)
async def test_a_wrong_type_is_told_at_once(use: Callable[[Chat], Awaitable[Any]]) -> None:
    async with scripted_chat(ACCEPTING) as (_server, chat):
        with pytest.raises(TypeError, match=r"^`(data|members|room)` must be"):
            await asyncio.wait_for(use(chat), WAIT_SECONDS)


# --- questions -----------------------------------------------------------------------------------


async def test_a_list_of_conversations() -> None:
    item = {
        "conversation": "dm:a:b", "kind": "direct", "offset": 7, "time": TIME, "preview": "hi",
        "read_offset": 3, "unread": 2,
    }  # fmt: skip
    room = {**item, "conversation": ROOM, "kind": "room", "title": "Lunch", "role": "admin"}
    script = saying(type="conversations", items=[item, room], next="1.x")
    async with scripted_chat(script) as (server, chat):
        page = await asyncio.wait_for(chat.conversations("0.x", limit=2), WAIT_SECONDS)
    asked = server.frames[0]
    assert (asked["type"], asked["after"], asked["limit"]) == ("list", "0.x", 2)
    assert page.next == "1.x"
    assert [(each.conversation, each.title, each.role) for each in page.items] == [
        ("dm:a:b", None, None),
        (ROOM, "Lunch", "admin"),
    ]
    assert [(each.read_offset, each.unread, each.preview) for each in page.items] == [
        (3, 2, "hi")
    ] * 2


async def test_a_page_of_history_with_its_events() -> None:
    frames = [
        {"type": "room", **OF_ROOM, "title": "Lunch"},
        {"type": "member", **OF_ROOM, "user": "c", "change": "add", "role": "member"},
        {"type": "message", **OF_ROOM, "sender": "a", "content": "hi"},
        {"type": "of a later version", **OF_ROOM},
    ]
    script = saying(
        type="page", conversation=ROOM, messages=frames, **{"from": 1, "to": 9}, complete=True
    )
    async with scripted_chat(script) as (server, chat):
        page = await asyncio.wait_for(chat.history(ROOM, before=10, limit=3), WAIT_SECONDS)
    asked = server.frames[0]
    assert (asked["conversation"], asked["before"], asked["limit"]) == (ROOM, 10, 3)
    assert "after" not in asked
    assert [type(each) for each in page.messages] == [RoomChanged, MemberChanged, Message]
    assert (page.conversation, page.first, page.last, page.complete) == (ROOM, 1, 9, True)
    assert isinstance(page.messages[2], Message)
    assert page.messages[2].is_own


async def test_members_and_deliveries() -> None:
    members = saying(
        type="member_list",
        conversation=ROOM,
        items=[{"user": "a", "role": "admin", "read_offset": 7}],
    )
    async with scripted_chat(members) as (_server, chat):
        assert await chat.members(ROOM) == (landline.Member("a", "admin", 7),)
    deliveries = saying(
        type="deliveries",
        items=[{"id": ID, "user": user, "status": status} for user, status in
               (("b", "DELIVERED"), ("c", "UNDELIVERED"))],
    )  # fmt: skip
    async with scripted_chat(deliveries) as (server, chat):
        assert await chat.deliveries([ID]) == (
            landline.Delivery(ID, "b", is_delivered=True),
            landline.Delivery(ID, "c", is_delivered=False),
        )
        assert server.frames[0]["ids"] == [ID]


async def test_answers_find_their_questions_in_any_order() -> None:
    asked: list[Frame] = []

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        asked.append(frame)
        if len(asked) == 3:
            for each in reversed(asked):
                items = [{"user": each["conversation"][-1], "role": "member", "read_offset": 0}]
                await tell(
                    socket,
                    type="member_list",
                    request=each["request"],
                    conversation="",
                    items=items,
                )

    async with scripted_chat(answering(answer)) as (_server, chat):
        async with asyncio.timeout(WAIT_SECONDS):
            answers = await asyncio.gather(*(chat.members(f"dm:a:{user}") for user in "bcd"))
    assert [members[0].user for members in answers] == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"code": "no_such_conversation"}, NoSuchConversation),
        ({"code": "forbidden"}, QuestionRefused),
    ],
)
async def test_a_question_that_is_refused(answer: dict[str, str], problem: type[Exception]) -> None:
    script = saying(type="error", message="no", **answer)
    async with scripted_chat(script) as (_server, chat):
        with pytest.raises(problem):
            await asyncio.wait_for(chat.members(ROOM), WAIT_SECONDS)
        with pytest.raises(problem):  # it goes on
            await asyncio.wait_for(chat.history(ROOM), WAIT_SECONDS)


async def test_a_server_that_knows_no_questions_says_so() -> None:
    async def answer(socket: ServerConnection, _frame: Frame) -> None:
        await tell(socket, type="error", code="unknown_type", message="unknown frame type")

    async with scripted_chat(answering(answer)) as (_server, chat):
        for use in (chat.conversations(), chat.read(ROOM, 1)):
            with pytest.raises(QuestionRefused, match="unknown_type"):
                await asyncio.wait_for(use, WAIT_SECONDS)


async def test_a_question_is_asked_again_when_the_server_is_busy_or_gone() -> None:
    async def script(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for frame in server.hear(socket):
            request = frame["request"]
            if len(server.sessions) == 1:
                return
            if len(server.sessions[-1]) == 1:
                await tell(socket, type="error", code="busy", message="wait", request=request)
            else:
                await tell(socket, type="deliveries", request=request, items=[])

    async with scripted_chat(script) as (server, chat):
        assert await asyncio.wait_for(chat.deliveries([ID]), WAIT_SECONDS) == ()
        assert len({frame["request"] for frame in server.frames}) == 1
        assert len(server.frames) == 3


async def test_who_waits_for_an_answer_hears_of_the_end() -> None:
    async with scripted_chat(answering(lambda _socket, _frame: asyncio.sleep(0))) as (_, chat):
        uses = [asyncio.create_task(chat.members(ROOM)), asyncio.create_task(chat.read(ROOM, 1))]
        await asyncio.sleep(0.1)
        await chat.close()
        for use in uses:
            with pytest.raises(ChatClosed):
                await asyncio.wait_for(use, WAIT_SECONDS)


# --- marks ---------------------------------------------------------------------------------------


async def echo(socket: ServerConnection, frame: Frame) -> None:
    entries = [["zoe", 1], ["a", frame["offset"]]]
    await tell(socket, type="read", conversation=frame["conversation"], entries=entries)


async def test_a_mark_is_said_until_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MARK_AGAIN_SECONDS", 0.05)
    told: list[Event] = []
    heard: list[Frame] = []

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        heard.append(frame)
        if len(heard) == 2:
            await tell(socket, type="read", conversation=ROOM, entries=[["a", 6], ["b", 9]])
        elif len(heard) > 2:
            await echo(socket, frame)

    async with scripted_chat(answering(answer), on_event=told.append) as (_server, chat):
        await asyncio.wait_for(chat.read(ROOM, 7), WAIT_SECONDS)
        await asyncio.wait_for(chat.read(ROOM, 7), WAIT_SECONDS)
    assert heard == [{"type": "read", "conversation": ROOM, "offset": 7}] * len(heard)
    assert len(heard) >= 4
    assert Read(ROOM, (("a", 6), ("b", 9))) in told


async def test_marks_of_a_conversation_go_together_and_others_one_by_one() -> None:
    async with scripted_chat(answering(echo)) as (server, chat):
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(
                chat.read(ROOM, 3), chat.read(ROOM, 9), chat.read("dm:a:b", 4), chat.read(ROOM, 5)
            )
    assert [(frame["conversation"], frame["offset"]) for frame in server.frames] == [
        (ROOM, 9),
        ("dm:a:b", 4),
    ]


async def test_a_mark_that_comes_while_another_is_on_its_way_goes_next() -> None:
    is_heard, is_free = asyncio.Event(), asyncio.Event()

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        is_heard.set()
        await is_free.wait()
        await echo(socket, frame)

    async with scripted_chat(answering(answer)) as (server, chat):
        first = asyncio.create_task(chat.read(ROOM, 3))
        await asyncio.wait_for(is_heard.wait(), WAIT_SECONDS)
        second = asyncio.create_task(chat.read(ROOM, 9))
        await asyncio.sleep(0)
        is_free.set()
        await asyncio.wait_for(asyncio.gather(first, second), reading.MARK_AGAIN_SECONDS / 2)
    assert [frame["offset"] for frame in server.frames] == [3, 9]


async def test_a_mark_that_is_refused_is_the_one_on_its_way() -> None:
    async def answer(socket: ServerConnection, frame: Frame) -> None:
        if frame["conversation"] == ROOM:
            await tell(
                socket, type="error", code="no_such_conversation", message="no", outcome="rejected"
            )
        else:
            await echo(socket, frame)

    async with scripted_chat(answering(answer)) as (_server, chat):
        results = await asyncio.gather(
            chat.read(ROOM, 3), chat.read("dm:a:b", 4), return_exceptions=True
        )
        assert isinstance(results[0], NoSuchConversation)
        assert results[1] is None


async def test_a_send_into_a_room_gives_up_like_others() -> None:
    async with scripted_chat(answering(lambda _socket, _frame: asyncio.sleep(0))) as (_, chat):
        with pytest.raises(SendTimeout):
            await chat.send(ROOM, "hi", timeout=0.1)
        assert [draft.to for draft in chat.unanswered] == [ROOM]
