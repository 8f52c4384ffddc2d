"""A server of the version before: it knows no rooms and no questions, and its error has no `ref`.

It ends a session after some bad frames in a row, and that is final.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import (
    Chat,
    Event,
    MessageRejected,
    MessageUncertain,
    QuestionRefused,
    Rejected,
    link,
)
from landline.client.marks import MARKS_IN_FLIGHT
from landline.client.reading import QUESTIONS_IN_FLIGHT
from landline.protocol.codes import CloseCode
from landline.protocol.limits import BAD_FRAMES_IN_A_ROW
from support.peer import Frame
from support.scripted import ID, Scripted, accept, answering, scripted, scripted_chat, tell, welcome
from support.waiting import until

WAIT_SECONDS = 20.0
ROOM = f"room:{ID}"


async def before(server: Scripted, socket: ServerConnection) -> None:
    """Answer as a server of that version does."""
    await welcome(socket)
    bad_frames = 0
    async for frame in server.hear(socket):
        if frame["type"] in {"send", "ack"}:
            bad_frames = 0
            if frame["type"] == "send":
                await accept(socket, frame)
            continue
        bad_frames += 1
        await tell(socket, type="error", code="unknown_type", message="unknown frame type")
        if bad_frames == BAD_FRAMES_IN_A_ROW:
            await socket.close(CloseCode.POLICY, "20 bad frames in a row")
            return


REQUESTS: list[Callable[[Chat], Awaitable[Any]]] = [
    lambda chat: chat.create_room("Lunch"),
    lambda chat: chat.add(ROOM, "c"),
    lambda chat: chat.set_title(ROOM, "Lunch"),
]
QUESTIONS: list[Callable[[Chat], Awaitable[Any]]] = [
    lambda chat: chat.conversations(),
    lambda chat: chat.history(ROOM),
    lambda chat: chat.read(ROOM, 1),
]


@pytest.mark.parametrize("use", QUESTIONS)
async def test_it_answers_no_question_and_takes_no_mark(
    use: Callable[[Chat], Awaitable[Any]],
) -> None:
    async with scripted_chat(before) as (server, chat):
        for _ in range(3):
            with pytest.raises(QuestionRefused, match="the server is of an earlier version"):
                await asyncio.wait_for(use(chat), WAIT_SECONDS)
        assert len(server.frames) == 1


@pytest.mark.parametrize("use", REQUESTS)
async def test_it_takes_no_request_for_a_room(use: Callable[[Chat], Awaitable[Any]]) -> None:
    async with scripted_chat(before) as (server, chat):
        for _ in range(3):
            with pytest.raises(MessageRejected, match="knows no rooms") as caught:
                await asyncio.wait_for(use(chat), WAIT_SECONDS)
            assert caught.value.code == "unknown_type"
        assert len(server.frames) == 1
        assert chat.unanswered == []


async def test_however_many_come_at_once_the_session_goes_on() -> None:
    async with scripted_chat(before) as (server, chat):
        many = range(30)
        uses = [
            *(chat.history(ROOM) for _ in many),
            *(chat.read(f"dm:a:b{number}", 1) for number in many),
            *(chat.create_room() for _ in many),
            chat.send("b", "hi"),
        ]
        async with asyncio.timeout(WAIT_SECONDS):
            results = await asyncio.gather(*uses, return_exceptions=True)
        expected = [QuestionRefused] * 60 + [MessageRejected] * 30
        assert [type(result) for result in results[:-1]] == expected
        assert isinstance(results[-1], landline.Acceptance)
        assert len(server.sessions) == 1
        assert chat.problem is None


def test_what_it_does_not_know_is_less_than_what_it_ends_a_session_for() -> None:
    assert QUESTIONS_IN_FLIGHT + MARKS_IN_FLIGHT + 1 < BAD_FRAMES_IN_A_ROW


async def test_sends_are_accepted_before_and_after() -> None:
    async with scripted_chat(before) as (server, chat):
        async with asyncio.timeout(WAIT_SECONDS):
            results = await asyncio.gather(
                chat.send("b", "1"),
                chat.create_room(),
                chat.send("b", "2"),
                return_exceptions=True,
            )
            await chat.send("b", "3")
        assert isinstance(results[1], MessageRejected)
        said = [frame["content"] for frame in server.frames if frame["type"] == "send"]
        assert said == ["1", "2", "3"]


@pytest.mark.parametrize("was_heard", [True, False])
async def test_a_kept_request_is_told_and_forgotten(
    was_heard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier try may be in the log: a server of a later version may have taken it."""
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.1)
    told: list[Event] = []
    outbox = tmp_path / "a.db"

    async def hang_up(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        async for _frame in server.hear(socket):
            break

    async def deaf(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.wait_closed()

    async with scripted(hang_up if was_heard else deaf) as server:
        port = urlsplit(server.url).port or 0
        async with landline.connect(server.url, username="a", outbox=outbox) as chat:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(chat.create_room("Lunch"), 0.3)
    async with (
        scripted(before, port) as server,
        landline.connect(server.url, username="a", outbox=outbox, on_event=told.append) as chat,
    ):
        await until(lambda: not chat.unanswered, "it is answered")
        await asyncio.sleep(1.2)
        assert len(server.sessions) == 1
    [rejected] = [event for event in told if isinstance(event, Rejected)]
    assert (rejected.kind, rejected.code, rejected.is_certain) == ("create", "unknown_type", False)
    async with (
        scripted(before, port) as server,
        landline.connect(server.url, username="a", outbox=outbox) as chat,
    ):
        assert chat.unanswered == []


async def test_a_request_that_another_server_may_have_taken_is_uncertain() -> None:
    async def script(server: Scripted, socket: ServerConnection) -> None:
        if len(server.sessions) > 1:
            await before(server, socket)
            return
        await welcome(socket)
        async for _frame in server.hear(socket):
            return

    async with scripted_chat(script) as (_server, chat):
        with pytest.raises(MessageUncertain, match="unknown_type"):
            await asyncio.wait_for(chat.create_room(), WAIT_SECONDS)


async def test_a_later_session_may_be_with_a_server_that_knows_them() -> None:
    is_upgraded = asyncio.Event()

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        if "ref" in frame:
            await accept(socket, frame)
        elif frame["type"] == "read":
            await tell(socket, type="read", conversation=ROOM, entries=[["a", frame["offset"]]])
        else:
            await tell(socket, type="deliveries", request=frame["request"], items=[])

    async def script(server: Scripted, socket: ServerConnection) -> None:
        if len(server.sessions) > 1:
            await answering(answer)(server, socket)
            return
        serving = asyncio.create_task(before(server, socket))
        await is_upgraded.wait()
        await socket.close(CloseCode.RESTARTING, "retry_after_ms=0")
        await serving

    async with scripted_chat(script) as (server, chat):
        async with asyncio.timeout(WAIT_SECONDS):
            with pytest.raises(QuestionRefused):
                await chat.deliveries([ID])
            with pytest.raises(MessageRejected):
                await chat.create_room()
            is_upgraded.set()
            await until(lambda: len(server.sessions) == 2, "there is another session")
            assert await chat.deliveries([ID]) == ()
            await chat.read(ROOM, 1)
            results = await asyncio.gather(*(chat.create_room() for _ in range(5)))
        assert [result.id for result in results] == [ID] * 5


async def test_the_first_request_of_a_session_goes_alone_and_the_others_after_it() -> None:
    first: list[tuple[ServerConnection, Frame]] = []

    async def answer(socket: ServerConnection, frame: Frame) -> None:
        if first:
            await accept(socket, frame)
        else:
            first.append((socket, frame))

    async with scripted_chat(answering(answer)) as (server, chat):
        creating = asyncio.gather(*(chat.create_room(str(number)) for number in range(5)))
        await asyncio.sleep(0.2)
        assert [frame["title"] for frame in server.frames] == ["0"]
        await accept(*first[0])
        await asyncio.wait_for(creating, WAIT_SECONDS)
        assert [frame["title"] for frame in server.frames] == ["0", "1", "2", "3", "4"]
