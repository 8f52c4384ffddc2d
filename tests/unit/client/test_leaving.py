"""A chat that is left lets go of everything, also where whoever leaves it is told to hurry."""

import asyncio
import json
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

import landline
from landline.client import Chat, ChatClosed, Message, OutboxInUse
from landline.client.outbox import Draft, FileOutbox
from support.scripted import ID, Scripted, scripted, tell, welcome
from support.waiting import until

WAIT_SECONDS = 20.0
LINES = 5
MESSAGE = Message("m", "dm:a:b", "b", "a", "hi", datetime(2026, 1, 2, tzinfo=UTC), 1, replay=False)


async def answers_nothing(seen: Scripted, socket: ServerConnection) -> None:
    """Push one message, and answer none."""
    await welcome(socket)
    await tell(
        socket, type="message", id=ID, conversation="dm:a:b", sender="b", to="a",
        content="hi", time="2026-01-02T03:04:05.678Z", offset=1,
    )  # fmt: skip
    async for text in socket:
        seen.sessions[-1].append(json.loads(text))


def tasks_of_chats() -> set[str]:
    return {name for t in asyncio.all_tasks() if (name := t.get_name()).startswith("landline-")}


def threads_of_outboxes() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("outbox")}


async def drafts_in(path: Path, url: str) -> list[Draft]:
    """Return the drafts of a file as soon as it is free."""
    again = FileOutbox(path, "a", url)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            with suppress(OutboxInUse):
                drafts, _handed = await again.open()
                await again.close()
                return list(drafts)
            await asyncio.sleep(0.01)


async def leave(chat: Chat, turns: int, times: int) -> None:
    """Leave a chat, and be cancelled so often after so many turns of the loop."""
    leaving = asyncio.create_task(chat.close())
    await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(times):
        leaving.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.wait({leaving})


@pytest.mark.parametrize("is_busy", [False, True], ids=["free disk", "busy disk"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 100, 1000])
async def test_one_that_is_left_in_a_hurry_lets_go_of_everything(
    turns: int, times: int, tmp_path: Path, *, is_busy: bool
) -> None:
    is_free = threading.Event()
    others = threads_of_outboxes()
    path = tmp_path / "a.db"
    async with scripted(answers_nothing) as server:
        chat = landline.connect(server.url, username="a", outbox=path)
        await chat.__aenter__()
        sends = [chat.begin("b", str(number)) for number in range(LINES)]
        await until(lambda: len(server.frames) == LINES, "they are under way")
        chat.acknowledge(await asyncio.wait_for(anext(chat), WAIT_SECONDS))
        if is_busy:
            assert isinstance(chat._outbox, FileOutbox)
            chat._outbox._thread.submit(is_free.wait, WAIT_SECONDS)
            sends.append(chat.begin("b", str(LINES)))
            await asyncio.sleep(0)  # it is on its way into the file
        await leave(chat, turns, times)
        chat.acknowledge(MESSAGE)  # what a loop does that goes on
        leaving = asyncio.create_task(chat.close())  # as the end of an `async with` does
        is_free.set()
        await asyncio.wait_for(leaving, WAIT_SECONDS)
        await until(lambda: not tasks_of_chats(), "nothing goes on")
        assert [draft.content for draft in await drafts_in(path, server.url)] == [
            str(number) for number in range(len(sends))
        ]
        await until(lambda: threads_of_outboxes() <= others, "no thread is left")
        assert all(isinstance(send.answer.exception(), ChatClosed) for send in sends)
