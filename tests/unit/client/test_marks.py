"""Marks of what was read: said until they come back, each conversation's for itself."""

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection

from landline.client import (
    Event,
    NoSuchConversation,
    Read,
    marks,
)
from support.peer import Frame
from support.scripted import ID, Scripted, answering, scripted_chat, tell, welcome
from support.waiting import until

WAIT_SECONDS = 20.0
ROOM = f"room:{ID}"


async def echo(socket: ServerConnection, frame: Frame) -> None:
    entries = [["zoe", 1], ["a", frame["offset"]]]
    await tell(socket, type="read", conversation=frame["conversation"], entries=entries)


async def test_a_mark_is_said_until_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MARK_AGAIN_SECONDS", 0.05)
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


async def test_marks_of_a_conversation_go_together_and_those_of_others_beside_them() -> None:
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
        await asyncio.wait_for(asyncio.gather(first, second), marks.MARK_AGAIN_SECONDS / 2)
    assert [frame["offset"] for frame in server.frames] == [3, 9]


async def refuse(socket: ServerConnection, code: str, **more: str) -> None:
    await tell(socket, type="error", code=code, message="no", outcome="rejected", **more)


async def test_a_refusal_is_about_the_mark_of_its_conversation_however_late_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks, "MARK_AGAIN_SECONDS", 0.1)
    heard: list[str] = []

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        heard.append(frame["conversation"])
        if frame["conversation"] == "dm:a:b" and heard.count(ROOM) > 2:
            await refuse(socket, "no_such_conversation", conversation=ROOM)
            await echo(socket, frame)

    async with scripted_chat(answering(answer)) as (_server, chat):
        async with asyncio.timeout(WAIT_SECONDS):
            results = await asyncio.gather(
                chat.read("dm:a:b", 4), chat.read(ROOM, 3), return_exceptions=True
            )
    assert results[0] is None
    assert isinstance(results[1], NoSuchConversation)


async def test_a_mark_that_cannot_be_taken_now_is_said_again_and_others_go_on() -> None:
    async def answer(socket: ServerConnection, frame: Frame) -> None:
        if frame["conversation"] == ROOM and not refused:
            refused.append(frame)
            await refuse(socket, "unavailable", conversation=ROOM)
        else:
            await echo(socket, frame)

    refused: list[Frame] = []
    async with scripted_chat(answering(answer)) as (server, chat):
        async with asyncio.timeout(marks.MARK_AGAIN_SECONDS / 2):
            await asyncio.gather(chat.read(ROOM, 3), chat.read("dm:a:b", 4))
    conversations = [frame["conversation"] for frame in server.frames]
    assert conversations == [ROOM, "dm:a:b", ROOM]


async def test_marks_of_several_conversations_are_on_their_way_at_once() -> None:
    waiting: list[Frame] = []

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        waiting.append(frame)
        if len(waiting) >= marks.MARKS_IN_FLIGHT:
            await echo(socket, waiting.pop(0))

    count = 3 * marks.MARKS_IN_FLIGHT
    async with scripted_chat(answering(answer)) as (server, chat):
        marking = [asyncio.create_task(chat.read(f"dm:a:b{n}", n)) for n in range(count)]
        await until(lambda: len(server.frames) == count, "all but the last are said")
        done, _ = await asyncio.wait(marking, timeout=0.1)
        assert len(done) == count - marks.MARKS_IN_FLIGHT + 1
        for each in marking:
            each.cancel()


async def test_no_more_of_them_than_that() -> None:
    async with scripted_chat(answering(lambda _socket, _frame: asyncio.sleep(0))) as (server, chat):
        marking = [asyncio.create_task(chat.read(f"dm:a:b{n}", n)) for n in range(20)]
        await asyncio.sleep(0.2)
        assert len(server.frames) == marks.MARKS_IN_FLIGHT
        for each in marking:
            each.cancel()


async def test_where_a_refusal_does_not_say_which_mark_they_are_said_again_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks, "MARK_AGAIN_SECONDS", 0.2)

    heard: list[Frame] = []

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        heard.append(frame)
        if frame["conversation"] == ROOM:
            await refuse(socket, "no_such_conversation")
        elif len(heard) > 3:
            await echo(socket, frame)

    async with scripted_chat(answering(answer)) as (_server, chat):
        async with asyncio.timeout(WAIT_SECONDS):
            results = await asyncio.gather(
                chat.read("dm:a:b", 4),
                chat.read(ROOM, 3),
                chat.read("dm:a:c", 5),
                return_exceptions=True,
            )
    assert [type(result) for result in results] == [type(None), NoSuchConversation, type(None)]
    assert len(heard) == 6


@pytest.mark.parametrize("others", [[], [["b", 9]]])
async def test_a_mark_beyond_the_end_is_durable_as_far_as_there_is_anything(
    others: list[list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "MARK_AGAIN_SECONDS", 0.1)
    ends: list[int] = []

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        ends.append(40 + len(ends))
        entries = [*others, ["a", min(frame["offset"], ends[-1])]]
        await tell(socket, type="read", conversation=ROOM, entries=entries)

    async with scripted_chat(answering(answer)) as (server, chat):
        await asyncio.wait_for(chat.read(ROOM, 2**53 - 1), WAIT_SECONDS)
        assert [frame["offset"] for frame in server.frames] == [2**53 - 1] * 2
        await asyncio.wait_for(chat.read(ROOM, 41), WAIT_SECONDS)
        assert len(server.frames) == 3


async def test_an_echo_of_another_session_that_says_less_is_not_ones_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where there is one for every other try."""
    monkeypatch.setattr(marks, "MARK_AGAIN_SECONDS", 0.1)
    heard: list[Frame] = []

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        heard.append(frame)
        if len(heard) % 2:
            await tell(socket, type="read", conversation=ROOM, entries=[["a", 6]])
        if len(heard) == 6:
            await echo(socket, frame)

    async with scripted_chat(answering(answer)) as (_server, chat):
        await asyncio.wait_for(chat.read(ROOM, 7), WAIT_SECONDS)
    assert len(heard) == 6


async def test_marks_go_out_again_in_the_next_session() -> None:
    async def script(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for frame in server.hear(socket):
            if len(server.sessions) > 1:
                await echo(socket, frame)
            elif len(server.frames) == 2:
                return

    async with scripted_chat(script) as (server, chat):
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(chat.read(ROOM, 3), chat.read("dm:a:b", 4))
    assert server.sessions[0] == server.sessions[1]


async def test_a_mark_that_nobody_waits_for_any_more_takes_no_memory() -> None:
    has_work = asyncio.Event()
    each = marks.Marks(has_work)
    for conversation in (ROOM, "dm:a:b"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(each.set(conversation, 1), 0.001)
    assert not each._conversations
