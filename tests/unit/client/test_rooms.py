"""Rooms in the client: what is owed of them is told in its order, and acknowledged."""

import asyncio
from collections.abc import Sequence

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import ClientError, Event, MemberChanged, Message, RoomChanged
from support.peer import Frame
from support.scripted import Scripted, scripted, scripted_chat, tell, welcome
from support.waiting import until

WAIT_SECONDS = 20.0
ROOM = "room:2214be8f-d5fb-8ff7-adf5-4aa071e17d43"
TIME = "2026-01-02T03:04:05.678Z"


def owed(kind: str, id: str, **more: object) -> Frame:
    return {
        "type": kind, "id": id, "conversation": ROOM, "sender": "b", "time": TIME, "offset": 1,
        **more,
    }  # fmt: skip


def said(id: str) -> Frame:
    return owed("message", id, content=id)


def added(id: str) -> Frame:
    return owed("member", id, user="c", change="add", role="member")


def called(id: str) -> Frame:
    return owed("room", id, title="Lunch")


def acknowledged(server: Scripted) -> list[str]:
    return [id for frame in server.frames if frame["type"] == "ack" for id in frame["ids"]]


def pushing(*frames: Frame):  # type: ignore[no-untyped-def]
    """Return a script that pushes these frames in each session."""

    async def script(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        for frame in frames:
            await tell(socket, **frame)
        async for _frame in server.hear(socket):
            pass

    return script


async def take(chat: landline.Chat, seen: list[str], count: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        for rest in reversed(range(count)):
            message = await anext(chat)
            assert isinstance(message, Message)
            seen.append(message.id)
            if not rest:
                chat.acknowledge(message)


async def test_a_program_that_does_not_listen_acknowledges_events_all_the_same() -> None:
    async with scripted_chat(pushing(added("1"), called("2"), added("1"))) as (server, _chat):
        await until(lambda: acknowledged(server) == ["1", "2", "1"], "they are acknowledged")


async def test_messages_and_events_come_in_their_order() -> None:
    seen: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, MemberChanged | RoomChanged):
            seen.append(event.id)

    frames = [called("1"), said("2"), added("3"), said("4"), added("5"), said("6"), called("7")]
    async with scripted_chat(pushing(*frames), on_event=listen) as (server, chat):
        await until(lambda: acknowledged(server) == ["1"], "what nothing is before is told at once")
        await take(chat, seen, 3)
        await until(lambda: len(acknowledged(server)) == 7, "all is acknowledged")
        assert acknowledged(server) == seen == ["1", "2", "3", "4", "5", "6", "7"]


async def test_an_event_that_comes_again_is_told_once() -> None:
    told: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, MemberChanged):
            told.append(event.id)

    async def script(server: Scripted, socket: ServerConnection) -> None:
        await welcome(socket)
        await tell(socket, **added("1"))
        async for _frame in server.hear(socket):
            if len(server.sessions) == 1:
                return  # the connection is gone with the acknowledgement

    async with scripted_chat(script, on_event=listen) as (server, _chat):
        await until(lambda: acknowledged(server) == ["1", "1"], "it is acknowledged again")
    assert told == ["1"]


@pytest.mark.parametrize("frames", [[added("1")], [said("0"), added("1")]])
async def test_an_event_that_a_program_fails_at_is_not_acknowledged(
    frames: Sequence[Frame],
) -> None:
    def listen(event: Event) -> None:
        assert not isinstance(event, MemberChanged), "this program knows no rooms"

    async with scripted(pushing(*frames)) as server:
        async with landline.connect(server.url, username="a", on_event=listen) as chat:
            with pytest.raises(ClientError, match="cannot go on: AssertionError"):
                await take(chat, [], 2)
        assert "1" not in acknowledged(server)
